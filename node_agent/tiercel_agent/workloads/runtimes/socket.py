"""Calls over a Unix socket that speaks gRPC."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# Without these, the library starts its threads again in every child process, although each child executes something
# else at once, and writes to standard error.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from google.protobuf.message import DecodeError, Message

from tiercel_agent.workloads.runtimes.model import NoAnswer

TIMEOUT = 1.0
"""Seconds within which a runtime must answer."""

_LARGEST_ANSWER = 16 << 20  # bytes: what containerd and CRI-O send at most
_OPTIONS = (
    ("grpc.max_receive_message_length", _LARGEST_ANSWER),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
)


class GrpcSocket:
    """A connection to a socket. It must be made, used and closed within one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._channel = grpc.aio.insecure_channel(f"unix:{path}", options=_OPTIONS)

    async def call(
        self, method: str, request: Message, response: type[Any], metadata: tuple[tuple[str, str], ...] = ()
    ) -> Any | None:
        """The answer, or None if the server says that there is no such object. Raises NoAnswer."""
        call = self._channel.unary_unary(method)
        try:
            return response.FromString(await call(request.SerializeToString(), timeout=TIMEOUT, metadata=metadata))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise NoAnswer(f"{self._path}: {error.code().name}: {error.details()}") from error
        except DecodeError as error:
            raise NoAnswer(f"{self._path}: an answer to {method} that makes no sense") from error

    async def close(self) -> None:
        await self._channel.close()
