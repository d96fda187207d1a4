"""A sink as one URL: for the command line, and for hosts without a cluster."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from tiercel_agent.sinks.model import BadSink, SinkSettings
from tiercel_engine.resources import destinations as to
from tiercel_engine.resources.alert_sink import AlertSinkSpec, Format
from tiercel_engine.resources.destinations import SecretRef, SecretSource

FORMS = """\
http://HOST/PATH https://…          Falco's JSON by POST (cloudevents+https://… as CloudEvents)
otlp+http://HOST:4318/v1/logs       OpenTelemetry logs; otlp+https, otlp+grpc, otlp+grpcs, otlp://HOST:4317 (gRPC)
syslog+udp://HOST:PORT              RFC 5424; syslog+tcp, syslog+tls, syslog://HOST (UDP), syslog:///dev/log
alertmanager+http://HOST:9093       Prometheus' Alertmanager; alertmanager+https, alertmanager://HOST:9093
slack+https://HOOK                  an incoming webhook of Slack
smtp://USER:PASSWORD@HOST:587/?from=ADDRESS&to=ADDRESS    mail; smtps for port 465
file:///PATH  stdout:  events:      a file; standard output; Kubernetes Events
program:COMMAND ARGUMENTS           a program that reads alerts, one a line
notify+SERVICE://…                  what Apprise knows, by its URL
"""
"""For people: what can be written."""

_SECRET = SecretSource(SecretRef("url", "url"))


def sink_of_url(url: str, name: str) -> SinkSettings:
    """Raises BadSink, with nothing of the URL in the message but its scheme."""
    scheme, colon, rest = url.partition(":")
    scheme = scheme.lower()
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadSink(f"what follows {scheme[:30]}: can't be read as an address") from None
    if not colon:
        raise BadSink(f"it has no scheme; what can be written:\n{FORMS}")
    kind, plus, below = scheme.partition("+")
    if plus and (kind, below) in _BELOW:
        return _BELOW[kind, below](f"{below}:{rest}", name)
    if kind == "notify" and plus:
        return _secret(name, f"{below}:{rest}", AlertSinkSpec(notify=to.NotifySink(url_from=_SECRET)))
    if plus or scheme not in _PLAIN:
        raise BadSink(f"{scheme[:30]!r} is no kind of sink; what can be written:\n{FORMS}")
    return _PLAIN[scheme](parts, rest, name)


def _secret(name: str, url: str, spec: AlertSinkSpec) -> SinkSettings:
    return SinkSettings(name, spec, secrets={"url/url": url})


def _http(url: str, name: str, form: Format = Format.JSON) -> SinkSettings:
    return _secret(name, url, AlertSinkSpec(http=to.HttpSink(url_from=_SECRET), format=form))


def _otlp(url: str, name: str, protocol: to.OtlpProtocol) -> SinkSettings:
    return _secret(name, url, AlertSinkSpec(otlp=to.OtlpSink(url_from=_SECRET, protocol=protocol)))


def _grpc(scheme: str) -> Callable[[str, str], SinkSettings]:
    return lambda url, name: _otlp(f"{scheme}:{url.partition(':')[2]}", name, to.OtlpProtocol.GRPC)


def _syslog(url: str, name: str) -> SinkSettings:
    return SinkSettings(name, AlertSinkSpec(syslog=to.SyslogSink(url)))


def _cloudevents(url: str, name: str) -> SinkSettings:
    return _http(url, name, Format.CLOUDEVENTS)


def _slack(url: str, name: str) -> SinkSettings:
    return _secret(name, url, AlertSinkSpec(slack=to.SlackSink(url_from=_SECRET)))


def _alertmanager(url: str, name: str) -> SinkSettings:
    return _secret(name, url, AlertSinkSpec(alertmanager=to.AlertmanagerSink(url_from=_SECRET)))


def _file(parts: SplitResult, _rest: str, name: str) -> SinkSettings:
    if parts.netloc or not parts.path.startswith("/"):
        raise BadSink("a file is written with three slashes: file:///var/log/alerts.jsonl")
    return SinkSettings(name, AlertSinkSpec(file=to.FileSink(unquote(parts.path)), format=Format.JSON))


def _program(_parts: SplitResult, rest: str, name: str) -> SinkSettings:
    try:
        command = tuple(shlex.split(rest))
    except ValueError as error:
        raise BadSink(f"the command can't be split into arguments: {error}") from None
    if not command:
        raise BadSink("there is no command: write program:/usr/local/bin/mine argument")
    return SinkSettings(name, AlertSinkSpec(program=to.ProgramSink(command), format=Format.JSON))


def _plain_syslog(parts: SplitResult, rest: str, name: str) -> SinkSettings:
    if parts.netloc:
        return _syslog(f"udp:{rest}", name)
    return SinkSettings(name, AlertSinkSpec(syslog=to.SyslogSink(f"unix://{parts.path or '/dev/log'}")))


def _mail(parts: SplitResult, _rest: str, name: str) -> SinkSettings:
    query = parse_qs(parts.query)
    receivers = tuple(query.get("to", ()))
    try:
        port = parts.port
    except ValueError:
        raise BadSink("the mail server's port must be a number from 1 to 65535") from None
    if not parts.hostname or not receivers:
        raise BadSink("mail needs a server and receivers: smtp://HOST:587/?from=ADDRESS&to=ADDRESS")
    sink = to.EmailSink(
        server=parts.hostname,
        sender=query.get("from", ["tiercel@localhost"])[0],
        to=receivers,
        port=port,
        start_tls=to.StartTls.IMPLICIT if parts.scheme == "smtps" else None,
        username=unquote(parts.username) if parts.username else None,
        password_from=_SECRET if parts.username else None,
    )
    return SinkSettings(name, AlertSinkSpec(email=sink), secrets={"url/url": unquote(parts.password or "")})


_PLAIN: Mapping[str, Callable[[SplitResult, str, str], SinkSettings]] = {
    "http": lambda _, rest, name: _http(f"http:{rest}", name),
    "https": lambda _, rest, name: _http(f"https:{rest}", name),
    "syslog": _plain_syslog,
    "otlp": lambda _, rest, name: _otlp(f"http:{rest}", name, to.OtlpProtocol.GRPC),
    "alertmanager": lambda _, rest, name: _alertmanager(f"http:{rest}", name),
    "smtp": _mail,
    "smtps": _mail,
    "file": _file,
    "program": _program,
    "stdout": lambda _, __, name: SinkSettings(name, AlertSinkSpec(stdout=to.StdoutSink())),
    "events": lambda _, __, name: SinkSettings(name, AlertSinkSpec(events=to.EventsSink())),
}

_BELOW: Mapping[tuple[str, str], Callable[[str, str], SinkSettings]] = {
    ("cloudevents", "http"): _cloudevents,
    ("cloudevents", "https"): _cloudevents,
    ("otlp", "http"): lambda url, name: _otlp(url, name, to.OtlpProtocol.HTTP),
    ("otlp", "https"): lambda url, name: _otlp(url, name, to.OtlpProtocol.HTTP),
    ("otlp", "grpc"): _grpc("http"),
    ("otlp", "grpcs"): _grpc("https"),
    ("syslog", "udp"): _syslog,
    ("syslog", "tcp"): _syslog,
    ("syslog", "tls"): _syslog,
    ("slack", "http"): _slack,
    ("slack", "https"): _slack,
    ("alertmanager", "http"): _alertmanager,
    ("alertmanager", "https"): _alertmanager,
}
