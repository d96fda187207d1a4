"""Alerts appended to a file of the node, one a line, with earlier files kept as ``path.1``, ``path.2`` and so on."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tiercel_agent.sinks.local.appended_file import AppendedFile
from tiercel_agent.sinks.model import BadSink, Sink, Unavailable
from tiercel_agent.sinks.text import one_line
from tiercel_engine.alert import Alert
from tiercel_engine.resources.destinations import FileSink
from tiercel_engine.units import MEBIBYTE, parse_duration

KEPT = 5
"""Earlier files that are kept if nothing else is said."""

_PATIENCE = 15.0  # seconds for the reader of a named pipe
_BEGUN = "user.tiercel.begun"


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a new file is begun: at so many bytes, at an age in seconds, or never (None)."""

    size: int | None
    age: float | None
    keep: int


def open_file(sink: FileSink, line: Callable[[Alert], bytes], clock: Callable[[], float] = time.time) -> Sink:
    """``line`` gives an alert's form, which is written as one line; ``clock`` gives seconds since the epoch.

    Raises BadSink. A file that becomes too large with the next alerts, or that has become too old when they come, is
    kept as the first of the earlier ones. Its age is counted from its first line.
    """
    try:
        age = parse_duration(sink.max_age) if sink.max_age is not None else None
    except ValueError as error:
        raise BadSink(f"maxAge: {error}") from None
    path = Path(sink.path)
    if not path.is_absolute() or "\0" in sink.path:
        raise BadSink("the file's path must be absolute: /var/log/alerts.jsonl")
    size = sink.max_mebibytes * MEBIBYTE if sink.max_mebibytes is not None else None
    rotation = Rotation(size, age, KEPT if sink.keep is None else sink.keep)
    file = AppendedFile(path, _PATIENCE)

    def send(alerts: Sequence[Alert]) -> None:
        data = b"".join(one_line(line(alert)) + b"\n" for alert in alerts)
        try:
            if rotation.size is not None or rotation.age is not None:
                _make_way(file, len(data), rotation, clock)
            file.append(data)
        except FileNotFoundError as error:
            raise Unavailable("the folder of the file isn't there: create it, or mount it into the agent") from error

    return Sink(send=send, batch=256, reopen=file.close, close=file.close)


def _make_way(file: AppendedFile, coming: int, rotation: Rotation, clock: Callable[[], float]) -> None:
    """Begins a new file if it is time. Raises OSError."""
    descriptor = file.current()
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return
    if not status.st_size:
        _note_begun(descriptor, clock())
        return
    too_large = rotation.size is not None and status.st_size + coming > rotation.size
    path = file.path.resolve()  # the file itself is renamed: a link goes on to lead to the newest
    if too_large or (rotation.age is not None and clock() - _begun(descriptor, path) >= rotation.age):
        _move_aside(path, rotation.keep)
        file.close()
        _note_begun(file.current(), clock())


def _move_aside(path: Path, keep: int) -> None:
    """``path`` becomes ``path.1``, that ``path.2``, up to the first number that is free; the last one goes."""
    if keep < 1:
        path.unlink()
        return
    kept = [path.with_name(f"{path.name}.{number}") for number in range(1, keep + 1)]
    free = next((at for at, name in enumerate(kept) if not os.path.lexists(name)), keep - 1)
    for at in range(free, 0, -1):
        kept[at - 1].rename(kept[at])
    path.rename(kept[0])


def _note_begun(descriptor: int, now: float) -> None:
    # With the file itself: so it is known after a restart of the agent, and is renamed and removed with it.
    with contextlib.suppress(OSError):  # not all filesystems can
        os.setxattr(descriptor, _BEGUN, b"%d" % now)


def _begun(descriptor: int, path: Path) -> float:
    """When the file got its first line, in seconds since the epoch.

    Where the filesystem hasn't kept that: when the file before it got its last one, or at least this one did.
    """
    try:
        return int(os.getxattr(descriptor, _BEGUN))
    except (OSError, ValueError):
        pass
    try:
        return path.with_name(f"{path.name}.1").stat().st_mtime
    except OSError:
        return os.fstat(descriptor).st_mtime
