"""Answers of HTTP that `requests` reads, held to a length: by itself, it reads all of a body into memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tiercel_agent.sinks.network.scoped import once, scoped

LONGEST = 1 << 20
"""Bytes of a body, unpacked."""


@contextmanager
def short_answers() -> Iterator[None]:
    """Within the block, a longer answer raises the same error in requests as a broken connection."""
    _install()
    with scoped(_is_on, True):
        yield


_is_on: ContextVar[bool] = ContextVar("short_answers", default=False)


@once
def _install() -> None:
    import requests  # noqa: PLC0415

    send = requests.Session.send

    def send_bounded(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        if not _is_on.get() or options.get("stream"):  # who asks for a stream reads as much as it wants
            return send(session, request, **options)
        response = send(session, request, **{**options, "stream": True})
        body = bytearray()
        for piece in response.iter_content(1 << 16):
            body += piece
            if len(body) > LONGEST:
                response.close()
                raise requests.exceptions.ConnectionError("the answer is too long")
        response._content = bytes(body)  # as requests has it once all is read
        return response

    requests.Session.send = send_bounded  # type: ignore[method-assign, assignment]
