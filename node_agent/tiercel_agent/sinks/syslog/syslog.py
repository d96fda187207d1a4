"""Alerts as syslog messages: RFC 5424 over UDP (RFC 5426), TCP (RFC 6587) or TLS (RFC 5425), and local sockets.

Syslog has no receipts: what a receiver's kernel has taken counts as delivered. When a connection breaks, the messages
that couldn't be written are written again, and those before them may be lost or reach the receiver twice; they
have the alert's id, by which that is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from tiercel_agent.sinks.model import BadSink, Sink, SinkSettings
from tiercel_agent.sinks.syslog import connection
from tiercel_agent.sinks.syslog.message import FACILITIES, Writer
from tiercel_engine.alert import Alert
from tiercel_engine.resources.destinations import SyslogSink, Tls

LONGEST_DATAGRAM: Final = 2048
"""Bytes of a message over UDP: what receivers should take (RFC 5426, 3.2). A JSON document may be longer, and is cut:
TCP is for those."""
LONGEST: Final = 65536
"""Bytes of any other message."""

_APP_NAME = "tiercel"
_FACILITY = "authpriv"
_PORTS = {"udp": 514, "tcp": 514, "tls": 6514}
_HOST = re.compile(r"[0-9A-Za-z_.:%-]+")
_WAYS = "udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:///dev/log"
_LONGEST_PATH = 107  # bytes of a socket's (unix(7))


@dataclass(frozen=True, slots=True)
class Address:
    """``host`` is the path if the scheme is unix."""

    scheme: str
    host: str
    port: int = 0


def open_syslog(sink: SyslogSink, settings: SinkSettings, hostname: str, line: Callable[[Alert], bytes]) -> Sink:
    """``hostname`` is what messages say they are from; ``line`` gives an alert's form. Raises BadSink.

    Local sockets get the form of syslog(3), since what reads them (journald, rsyslog) knows no other there.
    """
    address = parse_address(sink.address)
    if address.scheme == "unix" and not settings.trusted:
        raise BadSink("a sink of this namespace can't have a socket of the node: udp, tcp and tls are possible")
    if sink.tls is not None and address.scheme != "tls":
        raise BadSink("tls is for addresses that begin with tls://")
    app_name = sink.app_name or _APP_NAME
    if not re.fullmatch(r"[!-~]{1,48}", app_name):
        raise BadSink("appName must be 1 to 48 printable characters of ASCII without spaces")
    writer = Writer(
        facility=_facility(sink.facility or _FACILITY),
        hostname=hostname,
        app_name=app_name,
        line=line,
        longest=LONGEST_DATAGRAM if address.scheme == "udp" else LONGEST,
    )
    write = writer.traditional if address.scheme == "unix" else writer.rfc5424
    link = connection.Connection(_connector(address, sink.tls, settings))
    return Sink(
        send=lambda alerts: link.send([write(alert) for alert in alerts]),
        reopen=link.close,
        close=link.close,
        batch=256,
    )


def parse_address(text: str) -> Address:
    """Raises BadSink, with nothing of the text in the message."""
    if text.startswith("unix://"):
        path = text.removeprefix("unix://")
        if not path.startswith("/") or "\0" in path or len(path.encode("utf-8", "replace")) > _LONGEST_PATH:
            raise BadSink(f"a socket's path must be absolute and at most {_LONGEST_PATH} bytes: unix:///dev/log")
        return Address("unix", path)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadSink("the address can't be read; a port is a number from 1 to 65535") from None
    if parts.scheme not in _PORTS:
        raise BadSink(f"the address must be {_WAYS}")
    if "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        raise BadSink(f"the address has more than host and port: write {_WAYS}")
    if port == 0:
        raise BadSink("the port must be a number from 1 to 65535")
    host = parts.hostname or ""
    if not _HOST.fullmatch(host) or not _nameable(host):
        raise BadSink("the host must be a name or an address, one of IPv6 in brackets: tcp://[2001:db8::1]:514")
    return Address(parts.scheme, host, port or _PORTS[parts.scheme])


def _nameable(host: str) -> bool:
    """Whether it can be looked up: a label isn't empty, nor too long."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _facility(name: str) -> int:
    try:
        return FACILITIES.index(name)
    except ValueError:
        raise BadSink(f"{name[:20]!r} is no facility of syslog; known are {', '.join(FACILITIES)}") from None


def _connector(address: Address, tls: Tls | None, settings: SinkSettings) -> Callable[[], connection.Connected]:
    if address.scheme == "unix":
        return lambda: connection.local(address.host)
    if address.scheme == "udp":
        return lambda: connection.datagrams(address.host, address.port)
    if address.scheme == "tcp":
        return lambda: connection.stream(address.host, address.port)
    # Imported here: few agents use TLS for syslog.
    from tiercel_agent.sinks.network.tls import server_name, tls_context  # noqa: PLC0415

    context = tls_context(tls, settings)
    name = server_name(tls) or address.host
    if not _HOST.fullmatch(name) or not _nameable(name):
        raise BadSink("tls.serverName must be a host's name or address")
    return lambda: connection.secured(address.host, address.port, context, name)
