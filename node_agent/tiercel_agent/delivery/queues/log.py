"""The records of one flow on the disk, in order: in segments of a few MiB, which outlive the process."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from tiercel_agent.delivery.queues.segments import (
    CHUNK,
    Checkpoint,
    Segment,
    begin,
    find_segments,
    framed,
    go_on,
    make_folder,
    open_folder,
    open_reading,
    records,
    recover,
    segment_path,
)

SEGMENT = 4 << 20
"""Bytes from which on another segment is begun."""
MOST_READ = 4 << 20
"""Bytes that are read at once, about."""

_EXPECTED = 2048  # bytes of a record, to begin with
_KEPT = 64 << 10  # bytes of a segment that is done and may be written further

# These errors say nothing of the file itself: it can be used later.
_FOR_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Log:
    """A folder of its own.

    ``count`` records wait. ``lost`` are those that were dropped, or were garbled. ``size`` is bytes of the segments. It
    has no file open between two calls, and its caller holds a lock. It outlives the process, however that ends, but not
    the machine's power: nothing waits for the disk (no fsync).
    """

    def __init__(self, folder: Path) -> None:
        """Opens what is there; makes the folder if there is none. Raises OSError."""
        self._folder = folder
        self._checkpoint = Checkpoint(folder)
        self._checkpoint_written = True
        self.lost = 0
        self._closed = False
        self._growing = False  # whether the last segment is written further: one that was found isn't
        os.close(open_folder(folder))
        self._segments = find_segments(folder)
        self._next = self._recovered()
        self.size = sum(segment.size for segment in self._segments)
        checkpoint = self._checkpoint.read() or 0
        self._next = max(self._next, checkpoint)
        self._done = max(checkpoint, self._floor)
        self._hand = self._done  # up to where it was read: the reader may say of these that they are done
        self._ends: list[int] = []  # where the records in hand end in the first segment
        self._rewind()
        self._tidy()

    @property
    def count(self) -> int:
        return self._next - max(self._done, self._floor)

    @property
    def segments(self) -> int:
        """How many there are."""
        return len(self._segments)

    @property
    def waiting_size(self) -> int:
        """Bytes of the records that wait, about."""
        return self.size - self._offset if self.count else 0

    def append(self, payloads: Sequence[bytes], segment: int = SEGMENT) -> None:
        """Adds all of them in one write, or raises OSError and none is there. Where the last segment has ``segment``
        bytes, another one is begun.

        Raises ValueError for a payload that is empty or longer than ``MOST_RECORD``.
        """
        data = framed(payloads)
        if self._closed:
            raise OSError(errno.EBADF, "the log is closed")
        if data:
            self._write(data, segment)
            self._next += len(payloads)

    def read(self, most: int, most_bytes: int = MOST_READ) -> list[bytes]:
        """The oldest that aren't done, at most so many and about so many bytes; fewer do not mean that there are no
        more.

        Empty if there are none. Garbled ones are skipped. Raises OSError if they can't be read for now.
        """
        self.settle()
        payloads: list[bytes] = []
        while not payloads and self._done < self._next and not self._closed:
            payloads = self._read(most, most_bytes)
            if not payloads:
                self._skip()
        self._hand = self._done + len(payloads)
        return payloads

    def done(self, count: int) -> None:
        """So many of those that were read last are done, from the oldest on. Without effect once it is closed."""
        count = min(count, self._hand - self._done)
        if count <= 0 or self._closed:
            return
        self._done += count
        if len(self._ends) >= count:
            self._offset, self._at = self._ends[count - 1], self._done
        del self._ends[:count]
        self._tell_done()

    def settle(self) -> None:
        """Takes back the records that were read and aren't done. Those that were dropped meanwhile are lost."""
        floor = self._floor
        if floor > self._done:
            self.lost += max(0, min(floor, self._hand) - self._done)
            self._done = floor
        self._hand = self._done
        self._ends = []

    def drop_segment(self) -> None:
        """Deletes the oldest segment, with what waits in it. Raises OSError."""
        end = self._first_end
        lost = max(0, end - max(self._done, self._hand, self._floor))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._segments[0].path)  # noqa: PTH108
        self._let_go_first()
        self.lost += lost
        if not self._segments and self._done < self._next:
            self._tell_done()  # no segment's name tells any more where to go on

    def close(self) -> None:
        if self._closed:
            return
        self.settle()
        if not self._checkpoint_written:
            self._tell_done()
        if self._done >= self._next and self._checkpoint_written:
            while self._segments:
                self._forget_first()
        self._closed = True

    def remove(self) -> None:
        """Closes it and deletes all of it. What others have put into the folder stays, and then the folder too."""
        self.close()
        self._done = self._hand = self._next
        with contextlib.suppress(OSError):
            for segment in self._segments:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(segment.path)  # noqa: PTH108
            self._segments, self.size = [], 0
            self._checkpoint.remove()  # at last: without it, a segment that is left would come again
            os.rmdir(self._folder)  # noqa: PTH106

    @property
    def _floor(self) -> int:
        """The sequence number of the oldest record."""
        return self._segments[0].first if self._segments else self._next

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

    def _rewind(self) -> None:
        """Lets reading go on at the start of the first segment."""
        self._offset, self._at = 0, self._floor
        self._ends = []

    def _read(self, most: int, most_bytes: int) -> list[bytes]:
        """Of the first segment, which holds the first that isn't done; empty if that can't be read any more."""
        payloads: list[bytes] = []
        try:
            descriptor = open_reading(self._segments[0].path)
            try:
                self._read_from(descriptor, payloads, most, most_bytes)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno in _FOR_NOW:
                raise
        return payloads

    def _read_from(self, descriptor: int, payloads: list[bytes], most: int, most_bytes: int) -> None:
        """Adds to ``payloads``. Raises OSError."""
        segment = self._segments[0]
        offset, at, wanted, taken = self._offset, self._at, 0, 0
        while len(payloads) < most and at < self._first_end and taken < most_bytes:
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

    def _skip(self) -> None:
        """Gives up what is left of the first segment, which is lost."""
        end = self._first_end
        self.lost += end - self._done
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
            if len(self._segments) == 1 and not whole and (self.size < _KEPT or not self._checkpoint_written):
                return
            self._forget_first()

    def _forget_first(self) -> None:
        """Deletes the first segment, which is done; if that fails, the next one to open the log does."""
        with contextlib.suppress(OSError):
            os.unlink(self._segments[0].path)  # noqa: PTH108
        self._let_go_first()

    def _let_go_first(self) -> None:
        if len(self._segments) == 1:
            self._growing = False
        self.size -= self._segments[0].size
        del self._segments[0]
        self._rewind()

    def _write(self, data: bytes, segment_bytes: int) -> None:
        """Raises OSError."""
        writer = self._writer(segment_bytes)
        segment = self._segments[-1]
        try:
            _write_all(writer, data, segment.size)
        except OSError:
            self._undo(writer, segment)
            raise
        finally:
            os.close(writer)
        segment.size += len(data)
        self.size += len(data)

    def _writer(self, segment_bytes: int) -> int:
        """The last segment, open to be written: a new one where that is full, or isn't there any more.

        Raises OSError.
        """
        if self._growing and self._segments[-1].size < segment_bytes:
            try:
                return go_on(self._segments[-1].path)
            except OSError as error:
                if error.errno in _FOR_NOW:
                    raise
        return self._begin()

    def _begin(self) -> int:
        """Another segment, open to be written. Raises OSError."""
        path = segment_path(self._folder, self._next)
        try:
            writer = begin(path)
        except FileNotFoundError:
            make_folder(self._folder)
            writer = begin(path)
        self._growing = True
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
        self._growing = False
        if not segment.size:
            self._segments.pop()


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    """In one write, unless the system takes only a part of it. Raises OSError."""
    written = os.pwrite(descriptor, data, offset)
    while written < len(data):
        written += os.pwrite(descriptor, memoryview(data)[written:], offset + written)
