"""The operator's log: one JSON object on each line, as log collectors of clusters expect."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import orjson

from tiercel_engine.printable import printable, printable_json


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": printable(record.getMessage()),
        }
        if record.exc_info:
            line["exception"] = printable(self.formatException(record.exc_info).replace("\n", " | "))
        return printable_json(orjson.dumps(line)).decode()


def set_up() -> None:
    """Sends all log records from INFO on to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # it logs every event that was handled
    # it warns that it takes no signals, and tells of stops; watching.py does both
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
