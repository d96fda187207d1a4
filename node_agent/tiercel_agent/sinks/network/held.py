"""What holds within a thread for a time, where libraries call back and can't be handed it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Held(threading.local, Generic[T]):
    """``value`` is this thread's; what it is made with holds in each thread to begin with."""

    def __init__(self, value: T) -> None:
        self.value = value

    @contextmanager
    def within(self, value: T) -> Iterator[None]:
        before, self.value = self.value, value
        try:
            yield
        finally:
            self.value = before


def once(act: Callable[[], None]) -> Callable[[], None]:
    """Acts at its first call alone, whatever the thread; all return when that is done."""
    lock = threading.Lock()
    done = False

    def acted() -> None:
        nonlocal done
        with lock:
            if not done:
                act()
                done = True

    return acted
