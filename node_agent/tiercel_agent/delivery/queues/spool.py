"""The queue of one sink on the disk: a log for each flow, within one limit."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tiercel_agent.delivery.queues.flows import Flow, first_to_lose
from tiercel_agent.delivery.queues.log import MOST_READ, SEGMENT, Log
from tiercel_agent.delivery.queues.segments import find_segments, hold_folder, make_folder

MOST_LOGS = 512
"""Logs of one sink, at most, besides those of ``_OTHERS``: each is a folder with files."""

_PARTS = 8  # a small spool has smaller segments, for a whole one is dropped when it is full
_LOOK = 1 << 20  # bytes that are written between two looks at what is free
FREE = 0.05
"""Of the file system: what has to stay free, since whoever raises alerts must not fill a node's disk."""

_NAME = re.compile(r"([a-z0-9_][-a-z0-9]{0,62}(?:\.own)?)\.([0-7])", re.ASCII)
_OTHERS = "_others"  # the share of those for which there are too many logs
_EARLIER = Flow("_earlier", 0)


class Spool:
    """A folder of its own, of which one process at a time has the use. Its caller holds a lock.

    ``counts`` is how many records of each flow wait. ``lost`` are those that were dropped at the limit, or were
    garbled. What was appended outlives the process, as ``Log`` says.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Opens what is there; makes the folder if there is none. Raises OSError."""
        self._folder = folder
        self._limit = limit_bytes
        self._lost = 0  # of logs that are gone
        self._unseen = _LOOK  # bytes written since the last look at what is free
        self._holder: int | None = hold_folder(folder)
        try:
            _move_earlier(folder)
            self._logs = {flow: Log(folder / _name(flow)) for flow in _found(folder)}
        except BaseException:
            os.close(self._holder)
            raise
        self._remove_empty()

    @property
    def counts(self) -> Mapping[Flow, int]:
        return {flow: count for flow, log in self._logs.items() if (count := log.count)}

    @property
    def count(self) -> int:
        return sum(log.count for log in self._logs.values())

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(log.size for log in self._logs.values())

    @property
    def lost(self) -> int:
        return self._lost + sum(log.lost for log in self._logs.values())

    @property
    def limit(self) -> int:
        """Bytes of all segments, at most. One batch more is possible for a moment."""
        return self._limit

    @limit.setter
    def limit(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        if self._holder is not None:
            with contextlib.suppress(OSError):
                self._make_room(0)

    def append(self, flow: Flow, payloads: Sequence[bytes]) -> None:
        """Adds all of them in one write, or raises OSError and none is there.

        What is more than the limit is dropped afterwards, and that may be these. Raises ValueError for a payload that
        is empty or longer than ``MOST_RECORD``.
        """
        if self._holder is None:
            raise OSError(errno.EBADF, "the spool is closed")
        self._make_room(1)
        self._look(sum(map(len, payloads)))
        self._log(flow).append(payloads, min(SEGMENT, self._limit // _PARTS))
        with contextlib.suppress(OSError):
            self._make_room(1)

    def read(self, flow: Flow, most: int, most_bytes: int = MOST_READ) -> list[bytes]:
        """The oldest of a flow that aren't done, as ``Log.read``."""
        return self._logs[flow].read(most, most_bytes) if flow in self._logs else []

    def done(self, flow: Flow, count: int) -> None:
        """So many of those of the flow that were read last are done, from the oldest on."""
        if flow in self._logs:
            self._logs[flow].done(count)

    def settle(self) -> None:
        """Takes back what was read and isn't done."""
        for log in self._logs.values():
            log.settle()

    def close(self) -> None:
        if self._holder is None:
            return
        for log in self._logs.values():
            log.close()
        self._remove_empty()
        os.close(self._holder)
        self._holder = None

    def remove(self) -> None:
        """Closes it and deletes all of it. What others have put into the folder stays, and then the folder too."""
        self.close()
        for log in self._logs.values():
            log.remove()
        with contextlib.suppress(OSError):
            os.rmdir(self._folder)  # noqa: PTH106

    def _log(self, flow: Flow) -> Log:
        """Raises OSError."""
        if flow not in self._logs and len(self._logs) >= MOST_LOGS:
            self._remove_empty()
            if len(self._logs) >= MOST_LOGS:
                flow = Flow(_OTHERS, flow.priority)
        if flow not in self._logs:
            self._logs[flow] = Log(self._folder / _name(flow))
        return self._logs[flow]

    def _remove_empty(self) -> None:
        for flow in [flow for flow, log in self._logs.items() if not log.count]:
            log = self._logs.pop(flow)
            log.remove()
            self._lost += log.lost

    def _make_room(self, keep: int) -> None:
        """Deletes segments until the rest is within the limit, or ``keep`` are left: what is done, then the oldest of
        the flow that is to lose first. Raises OSError."""
        while self.size > self._limit and sum(log.segments for log in self._logs.values()) > keep:
            done = [flow for flow, log in self._logs.items() if log.segments and not log.count]
            waiting = {flow: log.waiting_size for flow, log in self._logs.items() if log.count}
            self._logs[done[0] if done else first_to_lose(waiting)].drop_segment()

    def _look(self, size: int) -> None:
        """Raises OSError if too little of the disk is free."""
        self._unseen += size
        if self._unseen < _LOOK:
            return
        try:
            system = os.statvfs(self._folder)
        except FileNotFoundError:
            return  # it is made anew
        if system.f_blocks and system.f_bavail - size // system.f_frsize < FREE * system.f_blocks:
            self._unseen = _LOOK  # so the next append looks again
            raise OSError(errno.ENOSPC, f"less than {FREE:.0%} of the disk is free")
        self._unseen = 0


def _name(flow: Flow) -> str:
    """The name of the log's folder: ``shop.4``."""
    return f"{flow.share}.{flow.priority}"


def _found(folder: Path) -> list[Flow]:
    """The flows that have a log in the folder. Raises OSError."""
    with os.scandir(folder) as entries:
        names = [_NAME.fullmatch(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return [Flow(name[1], int(name[2])) for name in names if name is not None]


def _move_earlier(folder: Path) -> None:
    """Gives a log of their own to the segments of version 0.1, which had but one log in this folder. Raises OSError."""
    if earlier := find_segments(folder):
        log = folder / _name(_EARLIER)
        make_folder(log)
        for segment in earlier:
            segment.path.rename(log / segment.path.name)
