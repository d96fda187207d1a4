"""An end to each delivery: a destination that says a byte now and then keeps every library waiting for ever, whose
timeouts are for each byte.

The interpreter tells of each socket that is made; those of a delivery that takes too long are shut down, which ends
whatever waits for them. Libraries in C with sockets of their own (gRPC) aren't seen.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from tiercel_agent.sinks.model import Unavailable
from tiercel_agent.sinks.network.scoped import once, scoped

LONGEST = 120.0
"""Seconds that one delivery may take: more than all timeouts of one that makes progress."""

_LOOK_EVERY = 0.2  # seconds, while a delivery is late


class Deadline:
    """For the deliveries of one sink, one at a time: ``seconds`` for each."""

    def __init__(self, seconds: float = LONGEST) -> None:
        self._seconds = seconds
        self._sockets: WeakSet[socket.socket] = WeakSet()  # connections are kept from one delivery to the next
        self._until = float("inf")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raises Unavailable if it was too late: what came of a connection that was shut down proves nothing."""
        _install()
        with _changed:
            self._until = time.monotonic() + self._seconds
            _held.add(self)
            if self._until < _watch_wakes:  # hardly ever: each delivery would wake it otherwise
                _changed.notify()
        try:
            with scoped(_current, self):
                yield
        except Exception:
            if not self.is_late:
                raise
        finally:
            late = self.is_late
            with _changed:
                _held.discard(self)
                self._until = float("inf")
        if late:
            raise Unavailable(f"it wasn't done within {self._seconds:g} s")

    @property
    def is_late(self) -> bool:
        return time.monotonic() >= self._until

    @property
    def left(self) -> float:
        """Seconds."""
        return self._until - time.monotonic()

    def note(self, made: socket.socket) -> None:
        """A socket of this sink's. Raises TimeoutError if it is too late for one."""
        if self.is_late:
            raise TimeoutError
        self._sockets.add(made)

    def end(self) -> None:
        """Shuts its sockets down; called from another thread."""
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                # Not the one of TLS, which is in the hands of the other thread.
                socket.socket.shutdown(each, socket.SHUT_RDWR)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)
_changed = threading.Condition()
_held: set[Deadline] = set()
_watch_wakes = float("inf")
"""When the thread that watches looks again, in monotonic seconds."""


@once
def _install() -> None:
    sys.addaudithook(_hook)
    threading.Thread(target=_watch, name="deadlines", daemon=True).start()


def _hook(event: str, arguments: tuple[Any, ...], current: ContextVar[Deadline | None] = _current) -> None:
    if event == "socket.__new__" and (deadline := current.get()) is not None:
        deadline.note(arguments[0])


def _watch() -> None:
    global _watch_wakes  # noqa: PLW0603
    while True:
        with _changed:
            soonest = min((each.left for each in _held), default=None)
            pause = max(soonest, _LOOK_EVERY) if soonest is not None else None
            _watch_wakes = time.monotonic() + pause if pause is not None else float("inf")
            _changed.wait(pause)
            late = [each for each in _held if each.is_late]
        for each in late:
            each.end()
