"""The agent's own log: one safe line a record, to stderr (the journal's level in front of it) and to syslog.

Modules write to ``logging.getLogger(__name__)``; what is nobody's in particular goes to the logger ``tiercel``. Errors
that are handled without being shown are logged with ``located``: their type and place.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from tiercel_agent.config.model import LogConfig
from tiercel_engine.located import located
from tiercel_engine.printable import printable

__all__ = ["LOGGER", "hush_libraries", "located", "send_warnings_to", "set_up"]

LOGGER = logging.getLogger("tiercel")
_OWN = (LOGGER, *map(logging.getLogger, ("tiercel_agent", "tiercel_cli", "tiercel_engine")))

# sd-daemon(3): the syslog severity in angle brackets.
_SEVERITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))


class _SafeFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _JournalFormatter(_SafeFormatter):
    def format(self, record: logging.LogRecord) -> str:
        severity = next((number for level, number in _SEVERITIES if record.levelno >= level), 7)
        return f"<{severity}>{super().format(record)}"


class _CallHandler(logging.Handler):
    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):  # where nobody listens, the thread that logs goes on all the same
            self._take(self.format(record))


def hush_libraries() -> None:
    """Keeps from stderr what libraries log and nobody handles: texts of others, with addresses in them."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.NullHandler())


def set_up(config: LogConfig, environment: Mapping[str, str] = os.environ) -> None:
    """Directs the log to the configured targets, in place of what was set up before.

    Where syslog can't be reached, a line on stderr says so, and the log goes to stderr.
    """
    handlers: list[logging.Handler] = []
    problem = ""
    if "syslog" in config.targets:
        try:
            syslog = logging.handlers.SysLogHandler("/dev/log", logging.handlers.SysLogHandler.LOG_DAEMON)
            syslog.ident = f"tiercel[{os.getpid()}]: "
            syslog.setFormatter(_SafeFormatter("%(message)s"))
            handlers.append(syslog)
        except OSError as error:
            problem = f"syslog can't be reached at /dev/log: {error.strerror}"
    if "stderr" in config.targets or problem:
        stderr = logging.StreamHandler(sys.stderr)
        if "JOURNAL_STREAM" in environment:
            stderr.setFormatter(_JournalFormatter("%(message)s"))
        else:
            stderr.setFormatter(_SafeFormatter("%(asctime)s %(levelname)s %(message)s"))
        handlers.append(stderr)
    _use(handlers, config.level.upper())
    if problem:
        LOGGER.warning("%s", problem)


def send_warnings_to(take: Callable[[str], None]) -> None:
    """Gives each warning and error to ``take`` as one safe line, in place of what was set up before."""
    handler = _CallHandler(take)
    handler.setFormatter(_SafeFormatter("%(message)s"))
    _use([handler], "WARNING")


def _use(handlers: Iterable[logging.Handler], level: str) -> None:
    hush_libraries()
    for handler in {handler for logger in _OWN for handler in logger.handlers}:
        for logger in _OWN:
            logger.removeHandler(handler)
        handler.close()
    for logger in _OWN:
        logger.setLevel(level)
        logger.propagate = False
        for handler in handlers:
            logger.addHandler(handler)
