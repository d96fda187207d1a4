"""A real mail server on loopback that keeps what it is sent, and answers as a test has scripted.

with SmtpReceiver(data=["450 4.2.0 later"]) as receiver:
    ...  # something sends to 127.0.0.1, receiver.port
    mail = receiver.one()
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from queue import SimpleQueue
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from agent_support.http_receiver import PATIENCE


@dataclass(frozen=True)
class Mail:
    sender: str
    receivers: tuple[str, ...]
    raw: bytes
    secure: bool
    login: str
    greeting: str

    @property
    def message(self) -> EmailMessage:
        parsed = message_from_bytes(self.raw, policy=default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    def part(self, kind: str) -> str:
        body = self.message.get_body((kind,))
        assert body is not None
        text: str = body.get_content()
        return text.replace("\r\n", "\n")


class _Controller(Controller):
    """Listens at a port that the system chooses."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()  # type: ignore[no-untyped-call]


class SmtpReceiver:
    """``data`` and ``rcpt`` (by address) are answers in place of 250. ``accounts`` are passwords by name; with some,
    a login is needed. ``tls`` is for STARTTLS, or from the first byte if ``implicit``."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        data: Iterable[str] = (),
        rcpt: Mapping[str, str] | None = None,
        sender: str = "",
        accounts: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        self.got: SimpleQueue[Mail] = SimpleQueue()
        self._data = deque(data)
        self._rcpt = rcpt or {}
        self._sender = sender
        self._accounts = accounts or {}
        self._controller = _Controller(
            self,
            hostname="127.0.0.1",
            port=0,
            ssl_context=tls if implicit else None,
            tls_context=None if implicit else tls,
            authenticator=self._authenticate,
            auth_required=bool(accounts),
            auth_require_tls=False,
            ready_timeout=PATIENCE,
            **more,
        )
        self._controller.start()
        self.port = self._controller.port

    def one(self) -> Mail:
        """The next mail, which is waited for."""
        return self.got.get(timeout=PATIENCE)

    def __enter__(self) -> SmtpReceiver:
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def _authenticate(self, server: Any, session: Session, envelope: Envelope, how: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        name = given.login.decode()
        right = self._accounts.get(name) == given.password.decode()
        return AuthResult(success=right, handled=False, auth_data=name)

    async def handle_MAIL(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._sender:
            return self._sender
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self._rcpt.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        answer = self._data.popleft() if self._data else "250 OK"
        if answer.startswith("250"):
            raw = envelope.content
            assert isinstance(raw, bytes)
            login = str(session.auth_data or "")
            receivers = tuple(envelope.rcpt_tos)
            secure = server.transport.get_extra_info("ssl_object") is not None
            mail = Mail(str(envelope.mail_from), receivers, raw, secure, login, str(session.host_name))
            self.got.put(mail)
        return answer


class Script:
    """A server that writes its lines one after the other, each but the first after a line of the client, and hangs up
    then."""

    def __init__(self, *lines: bytes) -> None:
        self._lines = lines
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError), self._listening.accept()[0] as client, client.makefile("rb") as file:
            for number, line in enumerate(self._lines):
                if number:
                    file.readline()
                client.sendall(line)

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
