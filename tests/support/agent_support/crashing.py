"""A system on which the process is killed, or fails, in one of its calls."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


class Crash(BaseException):
    """The process is killed here."""


class System:
    """The module ``os``, of which one call that changes something ends with ``error``: the one ``left`` calls from now.
    Of a write, the ``part`` was done then."""

    CHANGING = ("open", "pwrite", "ftruncate", "unlink", "mkdir", "rmdir")

    def __init__(self) -> None:
        self.left = -1
        self.part = 0.0
        self.error: BaseException = Crash()
        self.failures = 0
        self.descriptors: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name == "close":
            return self._close
        return (lambda *args: self._change(name, real, *args)) if name in self.CHANGING else real

    def _close(self, descriptor: int) -> None:
        self.descriptors.discard(descriptor)
        os.close(descriptor)

    def _change(self, name: str, real: Callable[..., Any], *args: Any) -> Any:
        if name == "open" and not args[1] & os.O_CREAT:
            result = real(*args)
            self.descriptors.add(result)
            return result
        self.left -= 1
        if self.left == 0:
            self.failures += 1
            if name == "pwrite":
                real(args[0], bytes(args[1])[: int(len(args[1]) * self.part)], args[2])
            elif self.part >= 0.5 and isinstance(self.error, Crash):
                result = real(*args)
                if name == "open":
                    os.close(result)
            raise self.error
        result = real(*args)
        if name == "open":
            self.descriptors.add(result)
        return result

    def end(self) -> None:
        """As the kernel does for a process that is gone."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()
        self.left, self.failures = -1, 0
