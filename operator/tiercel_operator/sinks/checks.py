"""Checks of an AlertSink's spec that its schema can't express.

Only the spec itself is checked. To which address a name leads, and what an address in a Secret is, is checked by agents
when they send an alert.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, TypeGuard
from unicodedata import normalize
from urllib.parse import SplitResult, urlsplit

from tiercel_engine.nesting import too_deep
from tiercel_engine.rendering.template import TemplateError, parse_template
from tiercel_engine.resources.alert_sink import DESTINATIONS
from tiercel_engine.resources.destinations import OtlpProtocol
from tiercel_engine.resources.notify_schemes import LOCAL_SERVICES, OTHER_PROTOCOLS
from tiercel_engine.scope import SYSTEM_NAMESPACE
from tiercel_engine.units import parse_duration

Address = IPv4Address | IPv6Address

_OF_THE_NODE = ("file", "program", "stdout")
"""Destinations on the node. The agent's standard output is one: it is the agent's log, which no tenant may fill or
write to in the agent's name."""
_MOST_GLOBS = 200
_MOST_WILDCARDS = 8
"""The most ``?`` and brackets in one glob of a tenant. One thread of a node matches all tenants' globs with texts that
attackers write, and each of these wildcards may double the number of states of a glob."""
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
MOST_SECRETS = 10
"""Secrets that one AlertSink may refer to."""
_REFERENCE = ("name", "key")
_SECRET_NAME = re.compile(r"[a-z0-9][-.a-z0-9]{0,252}")
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DURATIONS = (
    # the path of the key, the most seconds, how these are written, whether zero is allowed
    (("throttle", "window"), 86400.0, "24h", False),
    (("http", "batch", "wait"), 3600.0, "1h", True),
    (("email", "digest"), 86400.0, "24h", False),
    (("file", "maxAge"), 3650 * 86400.0, "3650d", False),
)
_SYSTEM_ONLY = f"an AlertSink of the namespace {SYSTEM_NAMESPACE} may"
_ELSEWHERE = "write an address that is reached from outside of the cluster"


def sink_errors(spec: Mapping[str, Any], namespace: str) -> tuple[str, ...]:
    """What is wrong with an AlertSink of the namespace, and what would be right. The texts contain parts of the spec,
    so they have to be escaped before they are printed."""
    deep = too_deep({"spec": spec})
    if deep:
        return (deep,)
    given = [kind for kind in DESTINATIONS if spec.get(kind) is not None]
    if len(given) != 1:
        what = f"has {', '.join(given)}" if given else "has no destination"
        return (f"spec {what}: exactly one is needed (one of {', '.join(DESTINATIONS)})",)
    (kind,) = given
    sink = spec[kind]
    if not isinstance(sink, Mapping):
        return (f"spec.{kind} must be a mapping (write {kind}: {{}} for a {kind} without settings)",)
    errors = [*_secrets(sink, f"spec.{kind}"), *_durations(spec), *_form(spec), *_silences(spec.get("silences"))]
    if (count := len(set(_names(sink)))) > MOST_SECRETS:
        errors.append(f"spec.{kind} refers to {count} Secrets: {MOST_SECRETS} is the most (put their keys into one)")
    if namespace != SYSTEM_NAMESPACE:
        errors += [*_trespasses(kind, sink), *_costs(spec)]
    return tuple(errors)


def is_reference(value: object) -> TypeGuard[Mapping[str, str]]:
    """Whether a value can be the name and the key of a Secret. A name with a slash in it would lead to another
    object."""
    if not isinstance(value, Mapping) or set(value) != {*_REFERENCE}:
        return False
    name, key = value["name"], value["key"]
    return bool(
        isinstance(name, str) and _SECRET_NAME.fullmatch(name) and isinstance(key, str) and _SECRET_KEY.fullmatch(key)
    )


def time_of(text: object) -> datetime | None:
    """The moment of a text in RFC 3339; None for another value."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _durations(spec: Mapping[str, Any]) -> Iterator[str]:
    """Errors of durations that the schema accepts but that make no sense."""
    for path, most, most_text, may_be_zero in _DURATIONS:
        value: Any = spec
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if not isinstance(value, str):
            continue
        where = f"spec.{'.'.join(path)}"
        try:
            length = parse_duration(value)
        except ValueError as error:
            yield f"{where}: {error}"
            continue
        if not length and not may_be_zero:
            yield f"{where} is zero (write such as 10m, or remove it)"
        elif length > most:
            yield f"{where} is {value[:40]} (write {most_text} at most)"


def _form(spec: Mapping[str, Any]) -> Iterator[str]:
    template = spec.get("template")
    if (spec.get("format") == "template") != (template is not None):
        yield "spec.template is given if spec.format is template, and only then (add or remove one of them)"
    elif isinstance(template, str):
        try:
            parse_template(template)
        except TemplateError as error:
            yield f"spec.template: {error}"


def _silences(silences: object) -> Iterator[str]:
    for number, each in enumerate(silences if isinstance(silences, list) else ()):
        until = each.get("until") if isinstance(each, Mapping) else None
        if time_of(until) is None:
            yield f"spec.silences[{number}].until is no time (write such as 2026-01-31T12:00:00Z)"


def _trespasses(kind: str, sink: Mapping[str, Any]) -> Iterator[str]:
    """Errors of tenants' sinks that do what only sinks of the system's namespace may do."""
    if kind in _OF_THE_NODE:
        yield f"spec.{kind}: a sink of this namespace can't touch the node (take another destination; {_SYSTEM_ONLY})"
    if kind == "otlp":
        yield from _otlp(sink)
    for key in ("url", "address", "server"):
        value = sink.get(key)
        if not isinstance(value, str):
            continue
        where = f"spec.{kind}.{key}"
        parts = _split(value if "://" in value else f"//{value}")
        if parts is None or (not parts.netloc and parts.scheme in ("http", "https")):
            yield f"{where}: {value[:200]!r} is no address (write such as https://host:port/path)"
        elif parts.scheme == "unix" or (kind == "notify" and parts.scheme in LOCAL_SERVICES):
            yield f"{where}: a sink of this namespace can't touch the node (write a server's address; {_SYSTEM_ONLY})"
        elif kind == "notify" and parts.scheme in OTHER_PROTOCOLS:
            yield f"{where}: a sink of this namespace can't have {parts.scheme}:// (take a service that speaks HTTP)"
        elif what := _cluster_address(parts.hostname or ""):
            yield f"{where}: {parts.hostname} is {what}, which a sink of this namespace can't reach ({_ELSEWHERE})"


def _costs(spec: Mapping[str, Any]) -> Iterator[str]:
    """Errors of globs that would take long."""
    globs = list(_globs(spec))
    if len(globs) > _MOST_GLOBS:
        yield f"spec.match and spec.silences have {len(globs)} globs: {_MOST_GLOBS} is the most (remove some)"
    for glob in globs:
        if glob.count("?") + glob.count("[") > _MOST_WILDCARDS:
            yield f"the glob {glob[:60]!r} has more than {_MOST_WILDCARDS} of ? and [ (write * where several follow)"
            return


def _globs(spec: Mapping[str, Any]) -> Iterator[str]:
    silenced = [each.get("matcher") for each in _listed(spec.get("silences")) if isinstance(each, Mapping)]
    for matcher in (spec.get("match"), *silenced):
        if not isinstance(matcher, Mapping):
            continue
        fields = matcher.get("fields")
        globs = [*_listed(matcher.get("rules")), *_listed(matcher.get("namespaces"))]
        globs += fields.values() if isinstance(fields, Mapping) else ()
        yield from (each for each in globs if isinstance(each, str))


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _otlp(sink: Mapping[str, Any]) -> Iterator[str]:
    if sink.get("url") is None and sink.get("urlFrom") is None:
        yield f"spec.otlp has no address, and this namespace can't use the agent's (add url or urlFrom; {_SYSTEM_ONLY})"
    if sink.get("protocol") == OtlpProtocol.GRPC.value:
        yield (
            "spec.otlp.protocol: a sink of this namespace can't use grpc, whose connections can't be kept off addresses"
            f" inside of the cluster (write {OtlpProtocol.HTTP.value}; {_SYSTEM_ONLY})"
        )


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _cluster_address(host: str) -> str:
    """What a host is that tenants must not reach; "" for other hosts."""
    name = normalize("NFKC", host).lower().rstrip(".")
    address = _address(name)
    if name == "localhost" or name.endswith(".localhost") or (address and (address.is_loopback or not int(address))):
        return "the node itself"
    if address and address.is_link_local:
        return "a link-local address"
    if name == "metadata.google.internal":
        return "the cloud's metadata server"
    if name == "kubernetes.default" or name.startswith("kubernetes.default."):
        return "the cluster's API server"
    return ""


def _address(name: str) -> Address | None:
    """The address that a host is, also in other forms that the C library knows: 127.1, 0x7f000001."""
    with suppress(ValueError):
        address = ip_address(name.partition("%")[0])
        return getattr(address, "ipv4_mapped", None) or address
    with suppress(OSError, ValueError):
        return IPv4Address(socket.inet_aton(name))
    return None


def _names(value: object) -> Iterator[str]:
    """The names of the Secrets that a spec refers to."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key == "secretRef" and is_reference(each):
                yield each["name"]
            else:
                yield from _names(each)
    elif isinstance(value, list):
        for each in value:
            yield from _names(each)


def _secrets(content: Mapping[str, Any], where: str) -> Iterator[str]:
    """Errors of references to Secrets, which must be in the sink's namespace, and of secrets that stand in the spec."""
    url = content.get("url")
    parts = _split(url) if isinstance(url, str) else None
    if parts is not None and parts.password:
        yield f"{where}.url has a password in it (put the address into a Secret and name it in urlFrom)"
    name = content.get("name")
    if content.get("value") is not None and isinstance(name, str) and name.lower() in _SECRET_HEADERS:
        yield f"{where}: the value of {name[:100]} is a secret (put it into a Secret and name it in valueFrom)"
    for key, value in content.items():
        if key == "secretRef":
            if not isinstance(value, Mapping) or not all(isinstance(value.get(each), str) for each in _REFERENCE):
                yield f"{where}.secretRef must be the name and the key of a Secret (secretRef: {{name: …, key: …}})"
            elif not set(value) <= {*_REFERENCE}:
                others = ", ".join(sorted(str(each)[:40] for each in set(value) - {*_REFERENCE}))
                yield f"{where}.secretRef has {others}: the Secret must be in the sink's namespace (remove {others})"
            elif not is_reference(value):
                yield f"{where}.secretRef: no Secret has such a name or key (write small letters, digits, - and .)"
            continue
        entries = {f"[{at}]": each for at, each in enumerate(value)} if isinstance(value, list) else {"": value}
        for at, each in entries.items():
            if isinstance(each, Mapping):
                yield from _secrets(each, f"{where}.{key}{at}")
