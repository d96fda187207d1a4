"""The queue of one sink on the disk: records in segments of a few MiB, which outlive the process."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from tiercel_agent.delivery.segments import (
    CHUNK,
    Checkpoint,
    Segment,
    begin,
    find_segments,
    framed,
    hold_folder,
    make_folder,
    open_reading,
    records,
    recover,
    segment_path,
)

_SEGMENT = 4 << 20  # bytes from which on another segment is begun
_PARTS = 8  # a small spool has smaller segments, for a whole one is dropped when it is full
_MOST_READ = 4 << 20  # bytes
_EXPECTED = 2048  # bytes of a record, to begin with
_LOOK = 1 << 20  # bytes that are written between two looks at what is free
_KEPT = 256 << 10  # bytes of a segment that is done and may be written further
FREE = 0.05
"""Of the file system: what has to stay free, since whoever raises alerts must not fill a node's disk."""

# These errors say nothing of the file itself: it can be read later.
_FOR_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Spool:
    """A folder of its own, of which one process at a time has the use.

    ``count`` records wait. ``lost`` are those that were dropped at the limit, or were garbled. One thread appends and
    one reads. It outlives the process, however that ends, but not the machine's power: nothing waits for the disk
    (no fsync).
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Opens what is there; makes the folder if there is none. Raises OSError."""
        self._folder = folder
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._checkpoint = Checkpoint(folder)
        self._checkpoint_written = True
        self._lost = 0
        self._closed = False
        self._writer: int | None = None  # of the last segment
        self._unseen = 0
        self._reader: int | None = None
        self._holder: int | None = hold_folder(folder)
        try:
            self._segments = find_segments(folder)
            self._next = self._recovered()
        except BaseException:
            os.close(self._holder)
            raise
        checkpoint = self._checkpoint.read() or 0
        self._next = max(self._next, checkpoint)
        self._done = max(checkpoint, self._floor)
        self._hand = self._done  # up to where it was read: the reader may say of these that they are done
        self._ends: list[int] = []  # where the records in hand end in the first segment
        self._rewind()
        self._tidy()

    @property
    def count(self) -> int:
        with self._lock:
            return self._next - max(self._done, self._floor)

    @property
    def size(self) -> int:
        """Bytes of the segments."""
        with self._lock:
            return self._size

    @property
    def lost(self) -> int:
        with self._lock:
            return self._lost

    @property
    def limit(self) -> int:
        """Bytes of all segments, at most. One batch more is possible for a moment."""
        return self._limit

    @limit.setter
    def limit(self, limit_bytes: int) -> None:
        with self._lock:
            self._limit = limit_bytes
            if not self._closed:
                with contextlib.suppress(OSError):
                    self._drop(0)

    def append(self, payloads: Sequence[bytes]) -> None:
        """Adds all of them in one write, or raises OSError and none is there.

        Raises ValueError for a payload that is empty or longer than ``MOST_RECORD``.
        """
        data = framed(payloads)
        if not data:
            return
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "the spool is closed")
            self._drop(1)
            self._look(len(data))
            self._write(data)
            self._next += len(payloads)
            with contextlib.suppress(OSError):
                self._drop(1)

    def read(self, most: int) -> list[bytes]:
        """The oldest that aren't done, at most so many and about 4 MiB; fewer do not mean that there are no more.

        Empty if there are none. Garbled ones are skipped. Raises OSError if they can't be read for now.
        """
        with self._lock:
            self._settle()
            payloads: list[bytes] = []
            while not payloads and self._done < self._next and not self._closed:
                payloads = self._read(most)
                if not payloads:
                    self._skip()
            self._hand = self._done + len(payloads)
            return payloads

    def hold(self, count: int) -> None:
        """As if ``count`` records had been read, for a caller who knows their content."""
        with self._lock:
            if self._hand <= self._done:
                self._settle()
            self._hand = min(max(self._hand, self._done + count), self._next)

    def done(self, count: int) -> None:
        """So many of those that were read last are done, from the oldest on. Without effect once it is closed."""
        with self._lock:
            count = min(count, self._hand - self._done)
            if count <= 0 or self._closed:
                return
            self._done += count
            if len(self._ends) >= count:
                self._offset, self._at = self._ends[count - 1], self._done
            del self._ends[:count]
            self._tell_done()

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._settle()
            if not self._checkpoint_written:
                self._tell_done()
            if self._done >= self._next and self._checkpoint_written:
                while self._segments:
                    self._forget_first()
            self._closed = True
            self._close_reader()
            self._close_writer()
            if self._holder is not None:
                os.close(self._holder)
                self._holder = None

    def remove(self) -> None:
        """Closes it and deletes all of it. What others have put into the folder stays, and then the folder too."""
        self.close()
        with self._lock:
            for segment in self._segments:
                with contextlib.suppress(OSError):
                    os.unlink(segment.path)  # noqa: PTH108
            self._segments = []
            self._done = self._hand = self._next
            self._checkpoint.remove()
            with contextlib.suppress(OSError):
                os.rmdir(self._folder)  # noqa: PTH106

    # All below are called under the lock.

    @property
    def _floor(self) -> int:
        """The sequence number of the oldest record."""
        return self._segments[0].first if self._segments else self._next

    @property
    def _size(self) -> int:
        return sum(segment.size for segment in self._segments)

    @property
    def _first_end(self) -> int:
        """The sequence number after the last record of the first segment."""
        return self._segments[1].first if len(self._segments) > 1 else self._next

    def _recovered(self) -> int:
        """The sequence number after the last record there is. New ones get a segment of their own."""
        if not self._segments:
            return 0
        last = self._segments[-1]
        count = recover(last)
        if not last.size:
            os.unlink(last.path)  # noqa: PTH108
            self._segments.pop()
        return last.first + count

    def _settle(self) -> None:
        """Takes back the records that were read and aren't done. Those that were dropped meanwhile are lost."""
        floor = self._floor
        if floor > self._done:
            self._lost += max(0, min(floor, self._hand) - self._done)
            self._done = floor
        self._hand = self._done
        self._ends = []

    def _rewind(self) -> None:
        """Lets reading go on at the start of the first segment."""
        self._offset, self._at = 0, self._floor
        self._ends = []

    def _read(self, most: int) -> list[bytes]:
        """Of the first segment, which holds the first that isn't done; empty if that can't be read any more."""
        segment = self._segments[0]
        payloads: list[bytes] = []
        try:
            descriptor = self._reading(segment)
            offset, at, wanted, taken = self._offset, self._at, 0, 0
            while len(payloads) < most and at < self._first_end and taken < _MOST_READ:
                skipped = max(0, self._done - at)
                here = min(skipped or most - len(payloads), self._first_end - at)
                size = max(wanted, min(CHUNK, here * _EXPECTED))
                part = records(os.pread(descriptor, min(size, segment.size - offset), offset), here)
                if not part.ends:
                    if not size < part.wanted <= segment.size - offset:
                        break
                    wanted = part.wanted
                    continue
                if not skipped:
                    payloads += part.payloads
                    self._ends += (offset + end for end in part.ends)
                    taken += part.ends[-1]
                at += len(part.ends)
                offset += part.ends[-1]
                wanted = 0
                if skipped:
                    self._offset, self._at = offset, at
        except OSError as error:
            if error.errno in _FOR_NOW:
                raise
        return payloads

    def _skip(self) -> None:
        """Gives up what is left of the first segment, which is lost."""
        end = self._first_end
        self._lost += end - self._done
        self._done = self._hand = end
        self._tell_done(whole=True)

    def _tell_done(self, *, whole: bool = False) -> None:
        self._write_checkpoint()
        self._tidy(whole=whole)
        if not self._checkpoint_written:
            self._write_checkpoint()  # on a full disk, there may be room now

    def _write_checkpoint(self) -> None:
        try:
            self._checkpoint.write(max(self._done, self._floor))
            self._checkpoint_written = True
        except OSError:  # at worst, they come twice
            self._checkpoint_written = False

    def _tidy(self, *, whole: bool = False) -> None:
        """Deletes the segments that are done: the last if it is large (or ``whole``), for it may be written further."""
        while self._segments and self._first_end <= self._done:
            if len(self._segments) == 1 and not whole and (self._size < _KEPT or not self._checkpoint_written):
                return
            self._forget_first()

    def _forget_first(self) -> None:
        """Deletes the first segment, which is done; if that fails, the next one to open the spool does."""
        with contextlib.suppress(OSError):
            os.unlink(self._segments[0].path)  # noqa: PTH108
        self._let_go_first()

    def _let_go_first(self) -> None:
        self._close_reader()
        if len(self._segments) == 1:
            self._close_writer()
        del self._segments[0]
        self._rewind()

    def _drop(self, keep: int) -> None:
        """Deletes the oldest segments until the rest is within the limit, or ``keep`` are left. Raises OSError."""
        while self._size > self._limit and len(self._segments) > keep:
            end = self._first_end
            lost = max(0, end - max(self._done, self._hand, self._floor))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._segments[0].path)  # noqa: PTH108
            self._let_go_first()
            self._lost += lost
        if not self._segments and self._done < self._next:
            self._tell_done()  # no segment's name tells any more where to go on

    def _look(self, size: int) -> None:
        """Raises OSError if too little is free."""
        self._unseen += size
        if self._writer is not None and self._unseen < _LOOK:
            return
        try:
            system = os.statvfs(self._folder)
        except FileNotFoundError:
            return  # it is made anew
        if system.f_blocks and system.f_bavail - size // system.f_frsize < FREE * system.f_blocks:
            self._unseen = _LOOK  # so the next append looks again
            raise OSError(errno.ENOSPC, f"less than {FREE:.0%} of the disk is free")
        self._unseen = 0

    def _write(self, data: bytes) -> None:
        """Raises OSError."""
        if self._writer is not None and self._segments[-1].size >= min(_SEGMENT, self._limit // _PARTS):
            self._close_writer()
        writer = self._begin() if self._writer is None else self._writer
        segment = self._segments[-1]
        try:
            _write_all(writer, data, segment.size)
        except OSError:
            self._undo(writer, segment)
            raise
        segment.size += len(data)

    def _begin(self) -> int:
        """Another segment, open to be written. Raises OSError."""
        path = segment_path(self._folder, self._next)
        try:
            writer = begin(path)
        except FileNotFoundError:
            make_folder(self._folder)
            writer = begin(path)
        self._writer = writer
        self._segments.append(Segment(path, self._next, 0))
        if len(self._segments) == 1:
            self._rewind()
        self._tidy()
        return writer

    def _undo(self, writer: int, segment: Segment) -> None:
        """Removes what a failed write has left. If that fails too, begins a new segment, which hides the rest."""
        with contextlib.suppress(OSError):
            if segment.size:
                os.ftruncate(writer, segment.size)
                return
            os.unlink(segment.path)  # noqa: PTH108
        self._close_writer()
        if not segment.size:
            self._segments.pop()

    def _reading(self, segment: Segment) -> int:
        """Raises OSError."""
        if self._reader is None:
            self._reader = open_reading(segment.path)
        return self._reader

    def _close_reader(self) -> None:
        descriptor, self._reader = self._reader, None
        if descriptor is not None:
            os.close(descriptor)

    def _close_writer(self) -> None:
        descriptor, self._writer = self._writer, None
        if descriptor is not None:
            os.close(descriptor)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    """In one write, unless the system takes only a part of it. Raises OSError."""
    written = os.pwrite(descriptor, data, offset)
    while written < len(data):
        written += os.pwrite(descriptor, memoryview(data)[written:], offset + written)
