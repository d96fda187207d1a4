"""What Apprise logs during a delivery: only its log says why one fails, and has addresses and alerts in it, too."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from tiercel_agent.sinks.network.scoped import scoped

_STATUS = re.compile(r"\berror=([1-5][0-9]{2})\b")
# As `egress_policy.Forbidden` says it, within what libraries make of it.
_FORBIDDEN = re.compile(r"\b((?:the address|it) is [a-zA-Z' -]{1,80}, which a sink of this namespace can't reach)")


class Heard:
    """Records of one delivery."""

    def __init__(self) -> None:
        self._records: list[tuple[int, str]] = []

    def add(self, record: logging.LogRecord) -> None:
        if len(self._records) < 100:
            self._records.append((record.levelno, record.getMessage()))

    @property
    def status(self) -> int | None:
        """The last status of HTTP that was answered, if it is none of success."""
        statuses = [int(match[1]) for text in self._warnings() if (match := _STATUS.search(text))]
        return next((status for status in reversed(statuses) if status >= 300), None)

    @property
    def forbidden(self) -> str:
        """What a tenant's sink tried to reach and can't."""
        return next((match[1] for _, text in self._records if (match := _FORBIDDEN.search(text))), "")

    @property
    def unreachable(self) -> bool:
        return any("onnection error" in text for text in self._warnings())

    def _warnings(self) -> Sequence[str]:
        return [text for level, text in self._records if level >= logging.WARNING]


@contextmanager
def heard() -> Iterator[Heard]:
    """The records that Apprise logs in this thread within the block. They reach no other log."""
    _install()
    said = Heard()
    with scoped(_current, said):
        yield said


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if (said := _current.get()) is not None:
            said.add(record)


_current: ContextVar[Heard | None] = ContextVar("notify_log", default=None)
_handler = _Handler(logging.DEBUG)


def _install() -> None:
    logger = logging.getLogger("apprise")
    if _handler not in logger.handlers:
        logger.addHandler(_handler)
    logger.setLevel(logging.DEBUG)  # why a connection fails is said there
    logger.propagate = False
    # What Apprise sends by: it tells of paths, in which there are tokens.
    for name in ("urllib3", "requests", "requests_oauthlib", "oauthlib"):
        logging.getLogger(name).setLevel(logging.ERROR)
