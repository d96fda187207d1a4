"""Outputs to descriptors and files: one line an item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from tiercel_agent.outputs.model import OutputClosed
from tiercel_agent.sinks.local.appended_file import AppendedFile, write_all

Item = TypeVar("Item")


class StreamOutput(Generic[Item]):
    """Lines to an open descriptor, which stays open: standard output."""

    def __init__(self, name: str, descriptor: int, encode: Callable[[Item], bytes]) -> None:
        self.name = name
        self._descriptor = descriptor
        self._encode = encode

    def write(self, items: Sequence[Item]) -> None:
        try:
            write_all(self._descriptor, b"".join(map(self._encode, items)))
        except BrokenPipeError as error:
            raise OutputClosed from error

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


class FileOutput(Generic[Item]):
    """Lines appended to a file. ``keep_alive`` False closes the file after each batch."""

    def __init__(self, name: str, path: Path, encode: Callable[[Item], bytes], *, keep_alive: bool = True) -> None:
        """Raises OSError if the file can't be opened now."""
        self.name = name
        self._encode = encode
        self._keep_alive = keep_alive
        self._file = AppendedFile(path)
        self._file.current()
        if not keep_alive:
            self.reopen()

    def write(self, items: Sequence[Item]) -> None:
        self._file.append(b"".join(map(self._encode, items)))
        if not self._keep_alive:
            self.reopen()

    def reopen(self) -> None:
        self._file.close()

    def close(self) -> None:
        self._file.close()
