"""What the agent logs while a test runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = tuple(map(logging.getLogger, ("tiercel", "tiercel_agent", "tiercel_cli", "tiercel_engine")))


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def logged(level: int = logging.WARNING) -> Iterator[list[str]]:
    """The list of messages at ``level`` and above, which grows. Afterwards the log is set up as it was before."""
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in _LOGGERS]
    handler = _Lines()
    handler.setLevel(level)
    for logger in _LOGGERS:
        logger.addHandler(handler)
        logger.setLevel(level)
    try:
        yield handler.lines
    finally:
        for logger, handlers, level_before, propagate in before:
            logger.handlers[:] = handlers
            logger.setLevel(level_before)
            logger.propagate = propagate
