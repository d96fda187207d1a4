"""What services answer to Apprise, as values: by itself it tells only its log, with addresses and alerts in it.

All its services that speak HTTP send by `requests`, whose sessions are asked here. A body is held to a length, too:
`requests` would read all of it into memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from tiercel_agent.sinks.network.egress_policy import Forbidden, cause_of
from tiercel_agent.sinks.network.scoped import once, scoped

LONGEST = 1 << 20
"""Bytes of a body, unpacked. A longer one raises the same error in `requests` as a broken connection."""

_LOGS = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib")


@dataclass(slots=True)
class Answers:
    """Those of one delivery."""

    status: int | None = None
    """The last status of HTTP that was answered, if it is none of success."""
    forbidden: str = ""
    """Why a tenant's sink was refused a connection; "" if it wasn't."""
    unreachable: bool = False
    """Whether an answer is missing or broken."""


@contextmanager
def answers() -> Iterator[Answers]:
    """What is answered to this thread within the block."""
    _install()
    heard = Answers()
    with scoped(_current, heard):
        yield heard


_current: ContextVar[Answers | None] = ContextVar("answers", default=None)


@once
def _install() -> None:
    import requests  # noqa: PLC0415

    for name in _LOGS:
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.setLevel(logging.CRITICAL + 1)

    send = requests.Session.send

    def heard(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        current = _current.get()
        if current is None:
            return send(session, request, **options)
        try:
            response = send(session, request, **{**options, "stream": True})
            if not options.get("stream"):  # who asks for a stream reads as much as it wants
                response._content = _body(response)  # as requests has it once all is read
        except requests.exceptions.RequestException as error:
            current.unreachable = True
            if (forbidden := cause_of(error, Forbidden)) is not None:
                current.forbidden = str(forbidden)
            raise
        if response.status_code >= 300:
            current.status = response.status_code
        return response

    requests.Session.send = heard  # type: ignore[method-assign, assignment]


def _body(response: Any) -> bytes:
    import requests  # noqa: PLC0415

    body = bytearray()
    for piece in response.iter_content(1 << 16):
        body += piece
        if len(body) > LONGEST:
            response.close()
            raise requests.exceptions.ConnectionError("the answer is too long")
    return bytes(body)
