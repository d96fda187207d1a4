"""Who gets in: connections to the webhook's port, which any pod may open, and the callers that are answered.

The API server is known by the path that it asks, which has a secret in it that stands in the webhook's configuration
and in the operator's Secret alone. API servers present no client certificate unless they were configured to. Where
they were, it can be asked for too.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

LOGGER = logging.getLogger(__name__)

MOST_STRANGERS: Final = 32
"""Connections on which no caller has shown the secret yet. Each takes some hundred kilobytes."""
MOST_CALLERS: Final = 64
"""Connections on which one has."""
HANDSHAKE: Final = 5.0
"""Seconds."""
_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class ClientCertificates:
    """Which client certificates are asked for: those of the authority, in PEM, that have one of the names as their
    common name or as a DNS name. Without names, all of the authority's."""

    authority: str
    names: tuple[str, ...] = ()

    def admits(self, certificate: dict[str, Any] | None) -> bool:
        """Whether a certificate that the TLS library has verified has one of the names."""
        subject = (certificate or {}).get("subject", ())
        found = {value for parts in subject for key, value in parts if key == "commonName"}
        found |= {value for kind, value in (certificate or {}).get("subjectAltName", ()) if kind == "DNS"}
        return not self.names or not found.isdisjoint(self.names)


def new_token() -> str:
    """A secret that can stand in a path."""
    return secrets.token_urlsafe(32)


def is_one_of(token: str, tokens: Sequence[str]) -> bool:
    """Whether a token is one of the secret ones. The time that it takes says nothing about them."""
    given = token.encode("utf-8", "surrogateescape")
    return any(secrets.compare_digest(given, each.encode()) for each in tokens)


class Door:
    """Takes connections, and hands them to ``protocol``. All methods belong to one event loop.

    Where strangers hold as many connections as they may, a new one takes the place of the oldest of them, so that
    nobody who opens connections and says nothing keeps the API server from its turn.
    """

    def __init__(self, protocol: Callable[[], asyncio.BaseProtocol], context: ssl.SSLContext) -> None:
        self._protocol = protocol
        self._context = context
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._strangers: list[_Connection] = []
        self._callers: list[asyncio.BaseTransport] = []

    def open(self, host: str, port: int) -> int:
        """Takes connections until ``close``. Returns the port, which the system chooses if it is 0. Raises OSError if
        the port is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._socket.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(self._socket))
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Takes no more connections, and ends those of strangers."""
        if self._accepting is not None and self._socket is not None:
            self._accepting.cancel()
            self._socket.close()
        for each in self._strangers:
            each.end()

    def admit(self, transport: asyncio.BaseTransport | None) -> None:
        """Notes that the caller on a connection has shown the secret."""
        if transport is None or transport in self._callers:
            return
        self._strangers = [each for each in self._strangers if each.transport is not transport]
        self._callers = [each for each in self._callers if not each.is_closing()]
        if len(self._callers) >= MOST_CALLERS:
            self._callers.pop(0).close()
        self._callers.append(transport)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:  # such as too many open files
                LOGGER.warning("the webhook can't take a connection: %s", error.strerror or error)
                await asyncio.sleep(0.1)
                continue
            self._strangers = [each for each in self._strangers if not each.is_over]
            while len(self._strangers) >= MOST_STRANGERS:
                self._strangers.pop(0).end()
            connection = _Connection(accepted)
            connection.handshake = loop.create_task(connection.begin(self._protocol, self._context))
            self._strangers.append(connection)
            await asyncio.sleep(0)  # accepting alone gives nobody else a turn


class _Connection:
    """A connection from its first moment on."""

    def __init__(self, accepted: socket.socket) -> None:
        self._accepted = accepted
        self.handshake: asyncio.Task[None] | None = None
        self.transport: asyncio.WriteTransport | None = None
        self._is_begun = False
        self._is_over = False

    @property
    def is_over(self) -> bool:
        return self._is_over or (self.transport is not None and self.transport.is_closing())

    async def begin(self, protocol: Callable[[], asyncio.BaseProtocol], context: ssl.SSLContext) -> None:
        self._is_begun = True
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.connect_accepted_socket(
                protocol, self._accepted, ssl=context, ssl_handshake_timeout=HANDSHAKE
            )
            assert isinstance(transport, asyncio.WriteTransport)
            self.transport = transport
        except (OSError, asyncio.CancelledError):  # the loop has closed it
            self._is_over = True

    def end(self) -> None:
        if self.handshake is not None and not self.handshake.done():
            self.handshake.cancel()
        if not self._is_begun:
            self._accepted.close()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()
