"""A mail server, and what its answers mean. Of what it writes, only the codes are shown."""

from __future__ import annotations

import binascii
import contextlib
import smtplib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from tiercel_agent.sinks.model import Refused, Unavailable
from tiercel_agent.sinks.network.egress_policy import Forbidden, cause_of
from tiercel_agent.sinks.network.failures import NO_TLS
from tiercel_agent.sinks.network.http_client import Timeouts, trouble

_GREETS = 220
_MOST_LINES = 100  # of a reply
# The mailbox isn't there or can't take it. Other codes from 500 are about the settings of one side.
_NO_MAILBOX = frozenset({550, 551, 552, 553})
_TOO_LARGE = 552
# To DATA and what follows: no such command, or another login than the server wants.
_NOT_THE_MESSAGE = frozenset({500, 501, 502, 503, 521, 530, 534, 535, 538})


@dataclass(frozen=True, slots=True)
class MailServer:
    """``context`` None: no TLS; ``implicit``: TLS from the first byte. ``name`` is whom the certificate is for,
    ``own_name`` what this side calls itself, ``timeout`` seconds for each answer. ``username`` "": no login."""

    host: str
    port: int
    own_name: str
    context: ssl.SSLContext | None
    name: str
    implicit: bool
    username: str
    password: str
    timeout: float

    def __repr__(self) -> str:
        return f"MailServer({self.host!r}, {self.port})"

    def deliver(self, mail: EmailMessage, sender: str, receivers: Sequence[str]) -> None:
        """Delivers to all receivers that the server takes, if it is one at least. Raises Refused, Unavailable."""
        connection = _Connection(self)
        try:
            self._begin(connection)
            connection.send_message(mail, sender, receivers)
        except smtplib.SMTPRecipientsRefused as error:
            raise _receivers_refused([code for code, _ in error.recipients.values()]) from None
        except smtplib.SMTPResponseException as error:
            raise _answered(error) from None
        except binascii.Error:
            raise Unavailable("what the mail server asks for at the login isn't SMTP") from None
        except (OSError, UnicodeError) as error:  # those of smtplib too
            raise Unavailable(self._trouble(error)) from None
        finally:
            with contextlib.suppress(OSError):
                connection.quit()
            connection.close()

    def _begin(self, connection: _Connection) -> None:
        code, _ = connection.connect(self.host, self.port)
        if code != _GREETS:
            raise Unavailable(f"the mail server greets with {_code(code)}: it takes no mail from here now")
        connection.ehlo_or_helo_if_needed()
        if self.context is not None and not self.implicit:
            if not connection.has_extn("starttls"):
                raise Unavailable("the mail server doesn't offer STARTTLS: startTls implicit is for ports such as 465")
            connection.starttls(context=self.context)
            connection.ehlo()
        if self.username:
            connection.login(self.username, self.password)

    def _trouble(self, error: BaseException) -> str:
        """In words, why there is no answer."""
        if isinstance(error, smtplib.SMTPNotSupportedError):
            return "the mail server doesn't offer what is needed: a login, or addresses with other letters than ASCII"
        if isinstance(error, smtplib.SMTPException) and not isinstance(error, smtplib.SMTPServerDisconnected):
            return "the mail server offers no way to log in that is known here"
        secure = cause_of(error, ssl.SSLError)
        if secure is not None and secure.reason in NO_TLS:
            return "the mail server doesn't begin with TLS at this port: is it startTls required?"
        known = (OSError, Forbidden, TimeoutError, ssl.SSLError, ConnectionError)
        if isinstance(error, smtplib.SMTPServerDisconnected):
            inner = error.__context__
            if not isinstance(inner, known):
                return "the mail server ended the connection before it took the mail"
            error = inner
        return trouble(error, Timeouts(self.timeout, self.timeout))


class _Connection(smtplib.SMTP):
    """Replies have an end, and the certificate may be for another name than the address's."""

    def __init__(self, server: MailServer) -> None:
        super().__init__(local_hostname=server.own_name, timeout=server.timeout)
        self._server = server
        self._host = server.name  # what starttls asks the certificate for

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = socket.create_connection((host, port), timeout)
        context = self._server.context
        if context is None or not self._server.implicit:
            return plain
        try:
            return context.wrap_socket(plain, server_hostname=self._host)
        except BaseException:
            plain.close()
            raise

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None:
            assert self.sock is not None
            self.file = _Lines(self.sock.makefile("rb"))
        self.file.left = _MOST_LINES
        return super().getreply()


class _Lines:
    """A file of which not more than so many lines are read."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.left = 0

    def readline(self, size: int = -1) -> bytes:
        if self.left <= 0:
            raise ConnectionError
        self.left -= 1
        line: bytes = self._file.readline(size)
        return line

    def close(self) -> None:
        self._file.close()


def _answered(error: smtplib.SMTPResponseException) -> Refused | Unavailable:
    code = error.smtp_code
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return Unavailable(f"the mail server refuses the login ({_code(code)}): are username and passwordFrom right?")
    if isinstance(error, smtplib.SMTPSenderRefused):
        if code == _TOO_LARGE:
            return Refused(f"the mail server finds the mail too large ({code})")
        return Unavailable(f"the mail server refuses the sender ({_code(code)}): is from right, and is a login needed?")
    if isinstance(error, smtplib.SMTPDataError) and 500 <= code < 600 and code not in _NOT_THE_MESSAGE:
        return Refused(f"the mail server refuses the mail ({code})")
    return Unavailable(f"the mail server answers {_code(code)}")


def _receivers_refused(codes: Sequence[int]) -> Refused | Unavailable:
    shown = ", ".join(sorted({_code(code) for code in codes}))
    message = f"the mail server refuses all receivers ({shown})"
    return Refused(message) if all(code in _NO_MAILBOX for code in codes) else Unavailable(message)


def _code(code: int) -> str:
    return str(code) if 200 <= code < 600 else "what isn't SMTP"
