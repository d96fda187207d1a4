"""The destinations of AlertSinks: one class for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, ClassVar

from tiercel_engine.resources.resource import Count, Duration
from tiercel_engine.resources.schema import Cel, Says, says

Url = Annotated[str, Says(min_length=1, max_length=2048)]
Size = Annotated[int, Says(minimum=1)]

_ONE_URL = Cel("has(self.url) != has(self.urlFrom)", "either url or urlFrom is needed, and not both")
_ONE_VALUE = Cel("has(self.value) != has(self.valueFrom)", "either value or valueFrom is needed, and not both")
_URL = says("The address, if it isn't secret.")
_URL_FROM = says("The address, if it is secret or has a secret in it.")


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A key of a Secret in the AlertSink's namespace."""

    name: str = field(
        metadata=says("The Secret's name.", pattern="^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)
    )
    key: str = field(metadata=says("The key in it.", pattern="^[-._a-zA-Z0-9]+$", min_length=1, max_length=253))


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret value comes from."""

    secret_ref: SecretRef = field(metadata=says("A key of a Secret in the AlertSink's namespace."))


@dataclass(frozen=True, slots=True)
class Tls:
    """How TLS connections are verified, and with which certificate the agent identifies itself."""

    VALIDATIONS: ClassVar = (
        Cel("has(self.certFrom) == has(self.keyFrom)", "certFrom and keyFrom are given together, or neither"),
    )

    ca_from: SecretSource | None = field(
        default=None, metadata=says("Authorities that are trusted, in PEM. If not given: those of the system.")
    )
    cert_from: SecretSource | None = field(default=None, metadata=says("The agent's own certificate, in PEM."))
    key_from: SecretSource | None = field(
        default=None, metadata=says("The key of the agent's own certificate, in PEM.")
    )
    server_name: str | None = field(
        default=None,
        metadata=says(
            "The name that the server's certificate must have, if it isn't the host name of the address.",
            max_length=253,
        ),
    )
    insecure_skip_verify: bool = field(
        default=False,
        metadata=says("Whether the server's certificate isn't verified. If so, anybody between can read the alerts."),
    )


@dataclass(frozen=True, slots=True)
class Header:
    """A header of HTTP requests."""

    VALIDATIONS: ClassVar = (_ONE_VALUE,)

    name: str = field(
        metadata=says("The header's name.", pattern="^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", min_length=1, max_length=256)
    )
    value: str | None = field(default=None, metadata=says("The header's value, if it isn't secret.", max_length=4096))
    value_from: SecretSource | None = field(default=None, metadata=says("The header's value, if it is secret."))


Headers = Annotated[tuple[Header, ...], Says(max_items=50, map_keys=("name",))]


class OtlpProtocol(Enum):
    GRPC = "grpc"
    HTTP = "http/protobuf"


class Compression(Enum):
    NONE = "none"
    GZIP = "gzip"


class StartTls(Enum):
    REQUIRED = "required"
    IMPLICIT = "implicit"
    """TLS from the first byte, as on port 465."""
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class EventsSink:
    """Kubernetes Events on the pod where it happened, or on the node."""

    per_minute: Size | None = field(
        default=None,
        metadata=says(
            "The most Events that a namespace gets in a minute. One more Event says how many others there were."
        ),
    )


@dataclass(frozen=True, slots=True)
class OtlpSink:
    """OpenTelemetry logs. Without an address, the agents' OTEL_ variables apply. Sinks outside of the namespace
    tiercel-system need an address, and the protocol http/protobuf."""

    VALIDATIONS: ClassVar = (Cel("!has(self.url) || !has(self.urlFrom)", "url and urlFrom can't both be given"),)

    url: Url | None = field(default=None, metadata=_URL)
    url_from: SecretSource | None = field(default=None, metadata=_URL_FROM)
    protocol: OtlpProtocol | None = field(default=None, metadata=says("The transport. If not given: http/protobuf."))
    headers: Headers = field(default=(), metadata=says("Headers of each request."))
    compression: Compression | None = field(default=None, metadata=says("How requests are compressed."))
    tls: Tls | None = field(default=None, metadata=says("How the server is verified."))


@dataclass(frozen=True, slots=True)
class StdoutSink:
    """The agent's standard output."""


@dataclass(frozen=True, slots=True)
class FileSink:
    """A file on the node, below /var/lib/tiercel. In the namespace tiercel-system only."""

    path: str = field(metadata=says("The file's absolute path.", pattern="^/", max_length=4096))
    max_mebibytes: Size | None = field(default=None, metadata=says("The size at which a new file is begun, in MiB."))
    max_age: Duration | None = field(default=None, metadata=says("The age at which a new file is begun, such as 24h."))
    keep: Count | None = field(default=None, metadata=says("How many earlier files are kept."))


@dataclass(frozen=True, slots=True)
class SyslogSink:
    """Syslog, RFC 5424."""

    address: str = field(
        metadata=says(
            "udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT. In the namespace tiercel-system also unix:///PATH: "
            "unix:///proc/1/root/run/systemd/journal/dev-log is the node's journal.",
            pattern=r"^((udp|tcp|tls)://[^/\s]+|unix:///\S+)$",
            max_length=2048,
        )
    )
    facility: str | None = field(
        default=None, metadata=says("The facility, such as local0. If not given: authpriv.", pattern="^[a-z]+[0-7]?$")
    )
    app_name: str | None = field(
        default=None, metadata=says("The name of the application. If not given: tiercel.", pattern="^[!-~]{1,48}$")
    )
    tls: Tls | None = field(default=None, metadata=says("How the server of tls:// is verified."))


@dataclass(frozen=True, slots=True)
class ProgramSink:
    """A program in the agent's container that reads alerts, one on each line. In the namespace tiercel-system only."""

    command: tuple[str, ...] = field(
        metadata=says("The program's path and its arguments. No shell reads them.", min_items=1, max_items=100)
    )


@dataclass(frozen=True, slots=True)
class Batch:
    """How many alerts are sent in one request."""

    size: Size = field(metadata=says("The most alerts in one request."))
    wait: Duration | None = field(default=None, metadata=says("How long a request waits for more alerts."))


@dataclass(frozen=True, slots=True)
class HttpSink:
    """An HTTP server."""

    VALIDATIONS: ClassVar = (_ONE_URL,)

    url: Url | None = field(default=None, metadata=_URL)
    url_from: SecretSource | None = field(default=None, metadata=_URL_FROM)
    method: str | None = field(
        default=None, metadata=says("The method of the requests. If not given: POST.", pattern="^[A-Z]{1,32}$")
    )
    headers: Headers = field(default=(), metadata=says("Headers of each request."))
    batch: Batch | None = field(
        default=None, metadata=says("How many alerts are sent in one request. If not given: one.")
    )
    compression: Compression | None = field(default=None, metadata=says("How requests are compressed."))
    tls: Tls | None = field(default=None, metadata=says("How the server is verified."))


@dataclass(frozen=True, slots=True)
class SlackSink:
    """Slack, by an incoming webhook or by a bot's token. A bot puts messages of one incident into a thread."""

    VALIDATIONS: ClassVar = (
        Cel("has(self.urlFrom) != has(self.tokenFrom)", "either urlFrom or tokenFrom is needed, and not both"),
        Cel("!has(self.tokenFrom) || has(self.channel)", "tokenFrom needs a channel"),
    )

    url_from: SecretSource | None = field(default=None, metadata=says("The address of the incoming webhook."))
    token_from: SecretSource | None = field(default=None, metadata=says("The bot's token."))
    channel: str | None = field(default=None, metadata=says("The channel that a bot writes to.", max_length=256))


@dataclass(frozen=True, slots=True)
class EmailSink:
    """Mail by SMTP."""

    VALIDATIONS: ClassVar = (
        Cel("has(self.username) == has(self.passwordFrom)", "username and passwordFrom are given together, or neither"),
    )

    server: str = field(metadata=says("The mail server's host name.", min_length=1, max_length=253))
    sender: str = field(metadata=says("The sender's address.", name="from", min_length=1, max_length=320))
    to: tuple[Annotated[str, Says(max_length=320)], ...] = field(
        metadata=says("The receivers' addresses.", min_items=1, max_items=100)
    )
    port: int | None = field(default=None, metadata=says("The port. If not given: 587.", minimum=1, maximum=65535))
    start_tls: StartTls | None = field(default=None, metadata=says("When TLS begins. If not given: required."))
    username: str | None = field(default=None, metadata=says("The name to log in with.", max_length=320))
    password_from: SecretSource | None = field(default=None, metadata=says("The password to log in with."))
    digest: Duration | None = field(
        default=None,
        metadata=says("For how long alerts are collected into one mail. If not given: each alert is a mail."),
    )
    tls: Tls | None = field(default=None, metadata=says("How the server is verified."))


@dataclass(frozen=True, slots=True)
class AlertmanagerSink:
    """Prometheus' Alertmanager."""

    VALIDATIONS: ClassVar = (_ONE_URL,)

    url: Url | None = field(default=None, metadata=_URL)
    url_from: SecretSource | None = field(default=None, metadata=_URL_FROM)
    headers: Headers = field(default=(), metadata=says("Headers of each request."))
    labels: Mapping[str, str] | None = field(
        default=None, metadata=says("More labels that each alert gets.", max_properties=50)
    )
    tls: Tls | None = field(default=None, metadata=says("How the server is verified."))


@dataclass(frozen=True, slots=True)
class NotifySink:
    """One of the services that Apprise knows, by its URL."""

    VALIDATIONS: ClassVar = (_ONE_URL,)

    url: Url | None = field(default=None, metadata=_URL)
    url_from: SecretSource | None = field(default=None, metadata=_URL_FROM)
