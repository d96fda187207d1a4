"""What holds in this thread for a time, where libraries call back and can't be given it as an argument."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Value = TypeVar("Value")


@contextmanager
def scoped(variable: ContextVar[Value], value: Value) -> Iterator[None]:
    """The variable has the value within the block, and afterwards the one that it had before."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def once(act: Callable[[], None]) -> Callable[[], None]:
    """Acts at its first call alone, whatever the thread; all calls return when that is done."""
    lock = threading.Lock()
    done = False

    def acted() -> None:
        nonlocal done
        with lock:
            if not done:
                act()
                done = True

    return acted
