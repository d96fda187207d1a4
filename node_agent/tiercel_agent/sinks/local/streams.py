"""Items as lines on an open descriptor or in a file: what `tiercel detect` and a standalone agent write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tiercel_agent.sinks.local.appended_file import AppendedFile, write_all
from tiercel_agent.sinks.model import ItemSink, ReaderGone

BATCH = 256
"""Items that are written at once, at most."""

Item = TypeVar("Item")


def stream_sink(descriptor: int, encode: Callable[[Item], bytes]) -> ItemSink[Item]:
    """Writes to an open descriptor, which stays open. ``encode`` gives an item's line with its end.

    The sink raises ReaderGone once nobody reads a pipe any more.
    """

    def send(items: Sequence[Item]) -> None:
        try:
            write_all(descriptor, b"".join(map(encode, items)))
        except BrokenPipeError as error:
            raise ReaderGone from error

    return ItemSink(send=send, batch=BATCH)


def file_sink(path: Path, encode: Callable[[Item], bytes], *, keep_alive: bool = True) -> ItemSink[Item]:
    """Appends to a file. ``encode`` gives an item's line with its end; ``keep_alive`` False closes the file after each
    batch. Raises OSError if the file can't be opened now."""
    file = AppendedFile(path)
    file.current()
    if not keep_alive:
        file.close()

    def send(items: Sequence[Item]) -> None:
        file.append(b"".join(map(encode, items)))
        if not keep_alive:
            file.close()

    return ItemSink(send=send, batch=BATCH, reopen=file.close, close=file.close)
