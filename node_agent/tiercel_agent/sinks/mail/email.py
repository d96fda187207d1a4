"""Alerts as mail, by SMTP: one connection for each mail.

A mail counts as delivered when the server has taken it for one receiver at least.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tiercel_agent.sinks.mail.address import mail_address
from tiercel_agent.sinks.mail.message import MOST, Envelope, alert_mail, digest_mail, domain_of
from tiercel_agent.sinks.mail.server import MailServer
from tiercel_agent.sinks.model import BadSink, Sink, SinkSettings
from tiercel_agent.sinks.network.tls import server_name, tls_context
from tiercel_engine.alert import Alert
from tiercel_engine.resources.destinations import EmailSink, StartTls
from tiercel_engine.units import parse_duration

_TIMEOUT = 15.0
_PORT, _IMPLICIT_PORT = 587, 465
_HOST = re.compile(r"[0-9A-Za-z_.:%-]{1,253}")


def open_email(sink: EmailSink, settings: SinkSettings, hostname: str, *, timeout: float = _TIMEOUT) -> Sink:
    """``hostname`` is what this side calls itself; ``timeout`` is seconds for each answer. Raises BadSink."""
    envelope = Envelope(
        sender=mail_address(sink.sender, "from"),
        receivers=tuple(mail_address(text, "to") for text in sink.to),
        domain=domain_of(hostname),
    )
    if not envelope.receivers:
        raise BadSink("to needs at least one address")
    server = _server(sink, settings, envelope.domain, timeout)
    sender = envelope.sender.addr_spec
    receivers = tuple(address.addr_spec for address in envelope.receivers)

    def send(alerts: Sequence[Alert]) -> None:
        mail = alert_mail(alerts[0], envelope) if len(alerts) == 1 else digest_mail(alerts, envelope)
        server.deliver(mail, sender, receivers)

    if sink.digest is None:
        return Sink(send=send)
    try:
        return Sink(send=send, batch=MOST, wait=parse_duration(sink.digest))
    except ValueError as error:
        raise BadSink(f"digest: {error}") from None


def _server(sink: EmailSink, settings: SinkSettings, own_name: str, timeout: float) -> MailServer:
    way = sink.start_tls or StartTls.REQUIRED
    secure = way is not StartTls.NEVER
    username, password = _login(sink, settings)
    if username and not secure:
        raise BadSink("a password isn't sent without TLS: set startTls to required or implicit")
    if sink.tls is not None and not secure:
        raise BadSink("tls is for startTls required or implicit")
    host = _host(sink.server, "server")
    return MailServer(
        host=host,
        port=sink.port or (_IMPLICIT_PORT if way is StartTls.IMPLICIT else _PORT),
        own_name=own_name,
        context=tls_context(sink.tls, settings) if secure else None,
        name=_host(server_name(sink.tls) or host, "tls.serverName"),
        implicit=way is StartTls.IMPLICIT,
        username=username,
        password=password,
        timeout=timeout,
    )


def _login(sink: EmailSink, settings: SinkSettings) -> tuple[str, str]:
    if sink.username is None and sink.password_from is None:
        return "", ""
    if not sink.username or sink.password_from is None:
        raise BadSink("username and passwordFrom are given together, or neither")
    password = settings.secret(sink.password_from).rstrip("\r\n")  # Secrets often end with a newline
    for text, setting in ((sink.username, "username"), (password, "passwordFrom")):
        if not text or not text.isascii() or not text.isprintable():
            raise BadSink(f"{setting} is empty, or has a line break or another character than ASCII in it")
    return sink.username, password


def _host(text: str, setting: str) -> str:
    """The name as the DNS has it."""
    try:
        host = text.strip().strip("[]").encode("idna").decode()
    except UnicodeError:
        host = ""
    if not _HOST.fullmatch(host):
        raise BadSink(f"{setting} must be a host's name or address, such as smtp.example.org")
    return host
