"""Answers of HTTP that `requests` reads, held to a length: by itself, it reads all of a body into memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tiercel_agent.sinks.network.held import Held, once

LONGEST = 1 << 20
"""Bytes of a body, unpacked."""


@contextmanager
def short_answers() -> Iterator[None]:
    """Within this thread, a longer answer is an error of requests, as a connection that breaks is."""
    _install()
    with _here.within(True):
        yield


_here = Held(False)


@once
def _install() -> None:
    import requests  # noqa: PLC0415

    send = requests.Session.send

    def held(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        if not _here.value or options.get("stream"):  # who asks for a stream reads as much as it wants
            return send(session, request, **options)
        response = send(session, request, **{**options, "stream": True})
        found = bytearray()
        for piece in response.iter_content(1 << 16):
            found += piece
            if len(found) > LONGEST:
                response.close()
                raise requests.exceptions.ConnectionError("the answer is too long")
        response._content = bytes(found)  # as requests has it once all is read
        return response

    requests.Session.send = held  # type: ignore[method-assign, assignment]
