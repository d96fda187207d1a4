"""The agent's own log: one safe line a record, to stderr (the journal's level in front of it) and to syslog.

Modules write to ``logging.getLogger(__name__)``; what is nobody's in particular goes to the logger ``tiercel``. Errors
that are handled without being shown are logged with ``located``: their type and place.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
from collections.abc import Callable, Iterable, Mapping

from tiercel_agent.config.model import LogConfig
from tiercel_agent.log_queue import QueueHandler
from tiercel_engine.located import located
from tiercel_engine.printable import printable

__all__ = ["LOGGER", "hush_libraries", "located", "send_warnings_to", "set_up"]

LOGGER = logging.getLogger("tiercel")
_OWN = (LOGGER, *map(logging.getLogger, ("tiercel_agent", "tiercel_cli", "tiercel_engine")))

_STDERR = 2
_ON_TERMINALS = "%(asctime)s %(levelname)s %(message)s"
# sd-daemon(3): the syslog severity in angle brackets.
_SEVERITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))


class _SafeFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _JournalFormatter(_SafeFormatter):
    def format(self, record: logging.LogRecord) -> str:
        severity = next((number for level, number in _SEVERITIES if record.levelno >= level), 7)
        return f"<{severity}>{super().format(record)}"


class _StderrHandler(logging.Handler):
    """Writes to the descriptor: Python's own stream has a lock, for which the end of the process would wait."""

    def emit(self, record: logging.LogRecord) -> None:
        left = f"{self.format(record)}\n".encode("utf-8", "replace")
        while left:
            left = left[os.write(_STDERR, left) :]


class _CallHandler(logging.Handler):
    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        self._take(self.format(record))


def hush_libraries() -> None:
    """Keeps from stderr what libraries log and nobody handles: texts of others, with addresses in them."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.NullHandler())


def set_up(config: LogConfig, environment: Mapping[str, str] = os.environ) -> None:
    """Directs the log to the configured targets, in place of what was set up before. Who logs never waits for them.

    Where syslog can't be reached, a line on stderr says so, and the log goes to stderr.
    """
    handlers: list[logging.Handler] = []
    problem = ""
    if "syslog" in config.targets:
        try:
            syslog = logging.handlers.SysLogHandler("/dev/log", logging.handlers.SysLogHandler.LOG_DAEMON)
            syslog.ident = f"tiercel[{os.getpid()}]: "
            handlers.append(QueueHandler(syslog, _SafeFormatter("%(message)s")))
        except OSError as error:
            problem = f"syslog can't be reached at /dev/log: {error.strerror}"
    if "stderr" in config.targets or problem:
        in_journal = "JOURNAL_STREAM" in environment
        formatter = _JournalFormatter("%(message)s") if in_journal else _SafeFormatter(_ON_TERMINALS)
        handlers.append(QueueHandler(_StderrHandler(), formatter))
    _use(handlers, config.level.upper())
    if problem:
        LOGGER.warning("%s", problem)


def send_warnings_to(take: Callable[[str], None]) -> None:
    """Gives each warning and error to ``take`` as one safe line, in place of what was set up before.

    ``take`` is called in a thread of its own.
    """
    _use([QueueHandler(_CallHandler(take), _SafeFormatter("%(message)s"))], "WARNING")


def _use(handlers: Iterable[logging.Handler], level: str) -> None:
    hush_libraries()
    for handler in {handler for logger in _OWN for handler in logger.handlers}:
        for logger in _OWN:
            logger.removeHandler(handler)
        handler.flush()
        handler.close()
    for logger in _OWN:
        logger.setLevel(level)
        logger.propagate = False
        for handler in handlers:
            logger.addHandler(handler)
