"""Lines of the log on their way to whoever takes them.

Detection logs too, and goes on where nobody reads a pipe any more, or a disk doesn't answer: who logs never waits.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import deque
from contextlib import suppress

MOST_WAITING = 1000
"""Lines that wait for one target."""
LONGEST = 8192
"""Characters of a line. What is longer is cut."""
_LAST = 2.0  # seconds for which the lines that wait are written at the end of the process


class QueueHandler(logging.Handler):
    """Hands formatted records to ``target`` in a thread of its own.

    At most ``MOST_WAITING`` wait. Newer ones are left out meanwhile, and a line says how many these were.
    """

    def __init__(self, target: logging.Handler, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._target = target
        target.lock = None  # one thread uses it, and the end of the process must not wait for a thread that hangs
        self._changed = threading.Condition()
        self._waiting: deque[logging.LogRecord] = deque()
        self._left_out = 0
        self._writing = False
        self._ending = False
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._formatted(record)
        except Exception:
            self.handleError(record)
            return
        with self._changed:
            if self._left_out or len(self._waiting) >= MOST_WAITING:
                self._left_out += 1
                return
            self._waiting.append(line)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="log", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Waits until what was logged so far is written, for two seconds at most."""
        end = time.monotonic() + _LAST
        with self._changed:
            while (self._waiting or self._left_out or self._writing) and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)

    def close(self) -> None:
        """Ends it once what waits is written. ``flush`` waits for that."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        super().close()

    def _write(self) -> None:
        while (line := self._next()) is not None:
            with suppress(Exception):  # where nobody listens, the next line is tried all the same
                self._target.emit(line)
        self._target.close()

    def _next(self) -> logging.LogRecord | None:
        """Waits for a line; None at the end."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            while not (self._waiting or self._left_out or self._ending):
                self._changed.wait()
            if not (self._waiting or self._left_out):
                return None
            self._writing = True
            if self._waiting:
                return self._waiting.popleft()
            left_out, self._left_out = self._left_out, 0
            told = f"{left_out} lines of the log were left out here: those before were not taken in time"
            return self._formatted(
                logging.makeLogRecord({"msg": told, "levelno": logging.WARNING, "levelname": "WARNING"})
            )

    def _formatted(self, record: logging.LogRecord) -> logging.LogRecord:
        """A record that holds its line and nothing else that others may change."""
        line = self.format(record)
        formatted = copy.copy(record)
        formatted.msg = line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
        formatted.args = formatted.exc_info = formatted.exc_text = formatted.stack_info = None
        return formatted
