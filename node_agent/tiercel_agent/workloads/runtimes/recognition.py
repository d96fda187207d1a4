"""Which runtime listens on a socket: it is asked, since a file may be called anything."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from tiercel_agent.workloads.runtimes.model import CONTAINERD, CRI, DOCKER, NoAnswer, Socket
from tiercel_agent.workloads.runtimes.packets import LONGEST_NAME
from tiercel_engine.located import located
from tiercel_engine.printable import printable

_LOG = logging.getLogger(__name__)
_LARGEST = 4096  # bytes of an answer to a ping
_PING = b"GET /_ping HTTP/1.0\r\nHost: localhost\r\n\r\n"
_TIMEOUT = 1.0  # seconds


async def recognise(path: Path) -> Socket:
    """The runtime behind a socket, with the interface that it speaks. Raises NoAnswer if none answers."""
    for ask in (_by_http, _by_cri, _by_containerd):
        try:
            socket = await ask(path)
        except (NoAnswer, OSError, TimeoutError) as error:
            _LOG.debug("%s: %s", path, located(error))
            continue
        if socket is not None:
            return socket
    raise NoAnswer(f"{path}: no container runtime answers there")


async def _by_http(path: Path) -> Socket | None:
    """Docker and podman answer a ping with a header of their own."""
    async with asyncio.timeout(_TIMEOUT):
        reader, writer = await asyncio.open_unix_connection(path, limit=_LARGEST)
        try:
            writer.write(_PING)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise NoAnswer(f"{path}: not HTTP") from error
        finally:
            writer.close()
    if not head.startswith(b"http/1."):
        return None
    for header, name in ((b"\r\nlibpod-api-version:", "podman"), (b"\r\napi-version:", "docker")):
        if header in head:
            return Socket(path, DOCKER, frozenset({name}))
    return None


async def _by_cri(path: Path) -> Socket | None:
    # The libraries of gRPC need much memory, and aren't imported where all runtimes speak HTTP.
    from tiercel_agent.workloads.runtimes.cri import runtime_name  # noqa: PLC0415

    name = await runtime_name(path)
    if name == "containerd":
        return Socket(path, CONTAINERD, frozenset({name}))
    return Socket(path, CRI, frozenset({printable(name)[:LONGEST_NAME]})) if name else None


async def _by_containerd(path: Path) -> Socket | None:
    """A containerd may have its CRI switched off."""
    from tiercel_agent.workloads.runtimes.containerd import answers  # noqa: PLC0415

    return Socket(path, CONTAINERD, frozenset({"containerd"})) if await answers(path) else None
