"""The HTTP session by which kopf lists and watches: it gives kopf no JSON that is nested too deeply.

kopf reads JSON with Python's own reader, which gives up at some 1,000 levels. One such object would end the watch of
all others, and again after each restart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import kopf

from tiercel_engine.nesting import cut_json, read_json

_Login = Callable[..., kopf.ConnectionInfo | None]


def bounded(login: _Login) -> Callable[..., Any]:
    """A login handler of kopf's that logs in as the given one does, and has kopf use such a session."""

    async def log_in(**given: Any) -> kopf.AiohttpSession | None:
        found = login(**given)
        return _session(found) if found is not None else None

    return log_in


@dataclass(frozen=True, eq=False, kw_only=True)
class _Session(kopf.AiohttpSession):
    """Equal to another that has logged in by the same credentials. kopf doesn't try those again that were refused; it
    would without end if each login were another one to it."""

    found: kopf.ConnectionInfo

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Session) and self.found == other.found

    def __hash__(self) -> int:
        return hash(self.found.server)


def _session(found: kopf.ConnectionInfo) -> _Session:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=found.as_ssl_context()),
        headers=found.as_http_headers(),
        proxy=found.proxy_url,
        trust_env=found.trust_env,
        response_class=_Answer,
    )
    return _Session(
        found=found,
        server=found.server,
        aiohttp_session=session,
        priority=found.priority,
        default_namespace=found.default_namespace,
        expiration=found.expiration,
    )


class _Answer(aiohttp.ClientResponse):
    """An answer of the API server: one JSON document, or one in each line."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        await super().start(connection)
        self.content = cast(aiohttp.StreamReader, _Content(self.content))
        return self

    async def json(self, **_: Any) -> Any:
        return read_json(await self.read())


class _Content:
    """The content of an answer, which is as it was apart from the lines that are read one by one."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """The content in chunks that end with a line."""
        begun: list[bytes] = []
        """Parts of a line that hasn't ended."""
        async for chunk in self._content.iter_chunked(size):
            first, *others = chunk.split(b"\n")
            begun.append(first)
            for other in others:
                yield cut_json(b"".join(begun)) + b"\n"
                begun = [other]
        if rest := b"".join(begun):
            yield cut_json(rest)
