"""Answers of HTTP that `requests` reads, held to a length: by itself, it reads all of a body into memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LONGEST = 1 << 20
"""Bytes of a body, unpacked."""


@contextmanager
def short_answers() -> Iterator[None]:
    """Within this thread, a longer answer is an error of requests, as a connection that breaks is."""
    _install()
    before, _here.held = _here.held, True
    try:
        yield
    finally:
        _here.held = before


class _Here(threading.local):
    held = False


_here = _Here()
_installing = threading.Lock()
_installed = False


def _install() -> None:
    global _installed  # noqa: PLW0603
    import requests  # noqa: PLC0415

    with _installing:
        if _installed:
            return
        _installed = True
        send = requests.Session.send

        def held(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
            if not _here.held or options.get("stream"):  # who asks for a stream reads as much as it wants
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
