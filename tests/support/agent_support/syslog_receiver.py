"""A receiver of syslog on loopback that reads strictly what RFC 5424 and octet counting (RFC 6587) allow."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

LIMIT = 20
"""Seconds, for a broken test."""


@dataclass(frozen=True)
class Message:
    pri: int
    timestamp: str
    hostname: str
    app_name: str
    procid: str
    msgid: str
    data: dict[str, str]
    text: str


_HEADER = re.compile(
    r"<(0|[1-9][0-9]{0,2})>1 (-|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{1,6}Z) ([!-~]{1,255}) ([!-~]{1,48})"
    r" ([!-~]{1,128}) ([!-~]{1,32}) "
)
_ELEMENT = re.compile(r'\[tiercel@32473((?: [a-z]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*)\]')
_PARAMETER = re.compile(r' ([a-z]+)="((?:[^"\\\]]|\\["\\\]])*)"')


def parsed(data: bytes) -> Message:
    text = data.decode()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e\ufeff]", text)
    header = _HEADER.match(text)
    assert header, text
    element = _ELEMENT.match(text, header.end())
    assert element, text
    assert text[element.end()] == " "
    values = {name: re.sub(r'\\(["\\\]])', r"\1", value) for name, value in _PARAMETER.findall(element[1])}
    pri, timestamp, hostname, app_name, procid, msgid = header.groups()
    return Message(int(pri), timestamp, hostname, app_name, procid, msgid, values, text[element.end() + 1 :])


def read_frame(stream: Any) -> bytes | None:
    """One message by octet counting (RFC 6587); None at the end."""
    count = b""
    while (byte := stream.read(1)) != b" ":
        if not byte and not count:
            return None
        assert byte.isdigit()
        assert byte != b"0" or count
        count += byte
    data: bytes = stream.read(int(count))
    assert len(data) == int(count)
    return data


def read_until_nul(stream: Any) -> bytes | None:
    data: bytes = b""
    while (byte := stream.read(1)) not in (b"\0", b""):
        data += byte
    return data or None


class Streams:
    """A receiver that takes one connection after the other; ``hang_up`` ends the present one."""

    def __init__(self, listening: socket.socket, context: ssl.SSLContext | None, read: Callable[[Any], bytes | None]):
        self.got: SimpleQueue[bytes] = SimpleQueue()
        self.connections = 0
        self._listening, self._context, self._read = listening, context, read
        self._present: socket.socket | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        port: int = self._listening.getsockname()[1]
        return port

    def message(self) -> Message:
        return parsed(self.got.get(timeout=LIMIT))

    def hang_up(self) -> None:
        assert self._present is not None
        self._done.clear()
        self._present.shutdown(socket.SHUT_RDWR)
        assert self._done.wait(LIMIT)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        if self._present is not None:
            with contextlib.suppress(OSError):
                self._present.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT)
        self._listening.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listening.accept()
                self._serve(plain)

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(self._done.set)
            stack.callback(plain.close)
            if self._context is not None:
                connection = stack.enter_context(self._context.wrap_socket(plain, server_side=True))
            self._present = connection
            self.connections += 1
            stream = stack.enter_context(connection.makefile("rb"))
            while (data := self._read(stream)) is not None:
                self.got.put(data)
