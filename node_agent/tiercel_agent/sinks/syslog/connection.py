"""Connections to receivers of syslog: datagrams, or streams in which messages are framed."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tiercel_agent.sinks.model import Unavailable
from tiercel_agent.sinks.network.failures import connection_failure

CONNECT_TIMEOUT = 5.0
SEND_TIMEOUT = 15.0

_LOOKED_UP_FOR = 300.0  # seconds for which datagrams go to one address: nothing tells that it isn't the name's any more
_REFUSAL = 1.0  # seconds in which a receiver says that it doesn't want this side's certificate
_MOST_READ = 16  # pieces of what a receiver says, which is of no interest

Socket = TypeVar("Socket", bound=socket.socket)

Frame = Callable[[Sequence[bytes]], list[bytes]]
"""From messages to what is written, each by itself."""


@dataclass(frozen=True, slots=True)
class Connected:
    """``until`` is when, in monotonic seconds, the receiver is to be looked up again."""

    socket: socket.socket
    frame: Frame
    until: float = float("inf")


class Connection:
    """Connects when there is something to send, and anew when the connection has ended."""

    def __init__(self, connect: Callable[[], Connected], clock: Callable[[], float] = time.monotonic) -> None:
        self._connect = connect
        self._clock = clock
        self._connected: Connected | None = None

    def send(self, messages: Sequence[bytes]) -> None:
        """Writes all messages. Raises Unavailable; all are to be given again then."""
        if self._connected is not None and (self._clock() >= self._connected.until or _ended(self._connected.socket)):
            self.close()
        try:
            if self._connected is None:
                self._connected = self._connect()
            for data in self._connected.frame(messages):
                _write(self._connected.socket, data)
        except OSError as error:
            self.close()
            raise Unavailable(f"the syslog receiver: {_reason(error)}") from error

    def close(self) -> None:
        connected, self._connected = self._connected, None
        if connected is None:
            return
        with contextlib.suppress(OSError, ValueError):
            if isinstance(connected.socket, ssl.SSLSocket):
                connected.socket.settimeout(0)  # says goodbye (RFC 5425, 4.4), and doesn't wait for an answer
                connected.socket.unwrap()
        connected.socket.close()


def datagrams(host: str, port: int) -> Connected:
    """A connected socket: so the kernel reports it when the other side answers that nobody receives there."""
    failure = OSError(errno.EADDRNOTAVAIL, "its name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
        try:
            with _closed_on_failure(socket.socket(family, kind, protocol)) as opened:
                opened.settimeout(SEND_TIMEOUT)
                opened.connect(address)
        except OSError as error:
            failure = error
        else:
            return Connected(opened, list, time.monotonic() + _LOOKED_UP_FOR)
    raise failure


def stream(host: str, port: int) -> Connected:
    return Connected(_tcp(host, port), _counted)


def secured(host: str, port: int, context: ssl.SSLContext, name: str) -> Connected:
    """``name`` is what the receiver's certificate must be for."""
    with _closed_on_failure(_tcp(host, port)) as plain:
        plain.settimeout(CONNECT_TIMEOUT)
        wrapped = context.wrap_socket(plain, server_hostname=name)
    with _closed_on_failure(wrapped):
        # In TLS 1.3 this side is done before the other one has seen its certificate: without a look at what comes
        # first (tickets, or a refusal), messages would be written to somebody who doesn't want them.
        if wrapped.version() == "TLSv1.3" and _speaks(wrapped, _REFUSAL) and _ended(wrapped):
            raise ConnectionAbortedError(
                errno.ECONNABORTED, "it ends connections: it may want a certificate (certFrom)"
            )
        wrapped.settimeout(SEND_TIMEOUT)
    return Connected(wrapped, _counted)


def local(path: str) -> Connected:
    """Connects to a local socket, which may be one of datagrams or a stream."""
    try:
        return Connected(_unix(path, socket.SOCK_DGRAM), list)
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:
            raise
    return Connected(_unix(path, socket.SOCK_STREAM), _ended_by_nul)


def _unix(path: str, kind: socket.SocketKind) -> socket.socket:
    with _closed_on_failure(socket.socket(socket.AF_UNIX, kind)) as opened:
        opened.settimeout(SEND_TIMEOUT)
        opened.connect(path)
    return opened


def _tcp(host: str, port: int) -> socket.socket:
    with _closed_on_failure(socket.create_connection((host, port), CONNECT_TIMEOUT)) as opened:
        opened.settimeout(SEND_TIMEOUT)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # A receiver that is silently gone is known by what it doesn't acknowledge, in seconds rather than in minutes.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SEND_TIMEOUT * 1000))
    return opened


def _counted(messages: Sequence[bytes]) -> list[bytes]:
    """Octet counting (RFC 6587, 3.4.1), all in one piece."""
    return [b"".join(b"%d %b" % (len(message), message) for message in messages)]


def _ended_by_nul(messages: Sequence[bytes]) -> list[bytes]:
    """As syslog(3) does it."""
    return [b"".join(message + b"\0" for message in messages)]


def _write(to: socket.socket, data: bytes) -> None:
    rest = memoryview(data)
    if to.type == socket.SOCK_DGRAM:
        to.send(rest)
        # On this machine a refusal is there at once, otherwise it comes with one of the next messages.
        refusal = to.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if refusal:
            raise OSError(refusal, os.strerror(refusal))
        return
    while rest:
        rest = rest[to.send(rest) :]


def _ended(connected: socket.socket) -> bool:
    """Whether the other side of a stream has gone: what is written then is lost without an error."""
    if connected.type == socket.SOCK_DGRAM:
        return False
    connected.settimeout(0)
    try:
        for _ in range(_MOST_READ):
            if not connected.recv(4096):
                return True
    except (BlockingIOError, ssl.SSLWantReadError):
        pass
    except OSError:
        return True
    connected.settimeout(SEND_TIMEOUT)
    return False


def _speaks(connected: socket.socket, seconds: float) -> bool:
    """Whether there is something to read within so many seconds."""
    poll = select.poll()
    poll.register(connected, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


@contextlib.contextmanager
def _closed_on_failure(opened: Socket) -> Iterator[Socket]:
    try:
        yield opened
    except BaseException:
        opened.close()
        raise


def _reason(error: OSError) -> str:
    """In words of this side alone: no address, and nothing of what the other side wrote."""
    if (why := connection_failure(error)) is not None:
        return why
    if isinstance(error, TimeoutError):
        return "it doesn't answer, or takes nothing, in time"
    return error.strerror or type(error).__name__
