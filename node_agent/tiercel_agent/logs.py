"""The agent's own log: one safe line a record, to stderr (the journal's level in front of it) and to syslog."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from collections.abc import Mapping

from tiercel_agent.config.model import LogConfig
from tiercel_engine.printable import printable

LOGGER = logging.getLogger("tiercel")

# sd-daemon(3): the syslog severity in angle brackets.
_SEVERITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))


class _SafeFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _JournalFormatter(_SafeFormatter):
    def format(self, record: logging.LogRecord) -> str:
        severity = next((number for level, number in _SEVERITIES if record.levelno >= level), 7)
        return f"<{severity}>{super().format(record)}"


def hush_libraries() -> None:
    """What libraries log unheard would go to stderr as it is: texts of others, with addresses in them."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.NullHandler())


def set_up(config: LogConfig, environment: Mapping[str, str] = os.environ) -> None:
    """Directs the log to the configured targets, in place of what was set up before.

    A syslog that can't be reached is said on stderr, and the log goes there.
    """
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
        handler.close()
    hush_libraries()
    LOGGER.setLevel(config.level.upper())
    LOGGER.propagate = False
    problem = ""
    if "syslog" in config.targets:
        try:
            syslog = logging.handlers.SysLogHandler("/dev/log", logging.handlers.SysLogHandler.LOG_DAEMON)
            syslog.ident = f"tiercel[{os.getpid()}]: "
            syslog.setFormatter(_SafeFormatter("%(message)s"))
            LOGGER.addHandler(syslog)
        except OSError as error:
            problem = f"syslog can't be reached at /dev/log: {error.strerror}"
    if "stderr" in config.targets or problem:
        stderr = logging.StreamHandler(sys.stderr)
        if "JOURNAL_STREAM" in environment:
            stderr.setFormatter(_JournalFormatter("%(message)s"))
        else:
            stderr.setFormatter(_SafeFormatter("%(asctime)s %(levelname)s %(message)s"))
        LOGGER.addHandler(stderr)
    if problem:
        LOGGER.warning("%s", problem)
