"""The files of a log: segments of records, and the file that tells how far they are done.

A record is its length and a checksum (both 32 bits, little-endian) and the payload. A segment's name is the sequence
number of its first record. Whatever isn't a regular file of such a name belongs to somebody else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_RECORD = 16 << 20
"""Bytes of a payload, at most."""
CHUNK = 256 << 10
"""Bytes that are read at once."""

_HEADER = struct.Struct("<II")
_NAME = re.compile(r"(\d{20})\.spool", re.ASCII)
_CHECKPOINT = "checkpoint"
_SLOT = struct.Struct("<QII")  # sequence number, zero, checksum of both
# Non-blocking, since somebody may have put a pipe in the place of a file.
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(slots=True)
class Segment:
    """``first`` is the sequence number of its first record, ``size`` its bytes that count."""

    path: Path
    first: int
    size: int


@dataclass(frozen=True, slots=True)
class Records:
    """The whole records at the start of some bytes. ``ends`` is where each ends.

    ``wanted`` is how many bytes the one after them has, as far as is known, and 0 if that one is garbled.
    """

    payloads: list[bytes]
    ends: list[int]
    wanted: int


def framed(payloads: Sequence[bytes]) -> bytes:
    """The payloads as records. Raises ValueError for an empty one, or one of more than ``MOST_RECORD`` bytes."""
    parts: list[bytes] = []
    for payload in payloads:
        if not 0 < len(payload) <= MOST_RECORD:
            raise ValueError(f"a record of {len(payload)} bytes: 1 to {MOST_RECORD} are possible")
        parts += _HEADER.pack(len(payload), _checksum(payload)), payload
    return b"".join(parts)


def records(data: bytes, most: int) -> Records:
    """The first ``most`` records."""
    payloads: list[bytes] = []
    ends: list[int] = []
    at, size, wanted = 0, len(data), _HEADER.size
    while len(payloads) < most:
        start = at + _HEADER.size
        if start > size:
            wanted = _HEADER.size
            break
        length, checksum = _HEADER.unpack_from(data, at)
        wanted = _HEADER.size + length if 0 < length <= MOST_RECORD else 0
        if not wanted or start + length > size:
            break
        payload = data[start : start + length]
        if _checksum(payload) != checksum:
            wanted = 0
            break
        at = start + length
        payloads.append(payload)
        ends.append(at)
    return Records(payloads, ends, wanted)


def _checksum(payload: bytes) -> int:
    """The checksum of a record, its length included. It isn't 0 for zeros, which a power cut may leave in a file."""
    return zlib.crc32(payload, ~len(payload) & 0xFFFFFFFF)


def open_folder(folder: Path) -> int:
    """A descriptor of the folder, which is made if there is none. Raises OSError, for a link too."""
    make_folder(folder)
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def hold_folder(folder: Path) -> int:
    """A descriptor of the folder, with a lock on it that ends with the process. Raises OSError."""
    descriptor = open_folder(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise OSError(errno.EBUSY, "another process has the use of this spool") from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def make_folder(folder: Path) -> None:
    for part in (*reversed(folder.parents), folder):
        if not part.is_dir():
            with contextlib.suppress(FileExistsError):  # another sink of the namespace may be at it
                os.mkdir(part, 0o700)  # noqa: PTH102


def segment_path(folder: Path, first: int) -> Path:
    return folder / f"{first:020d}.spool"


def find_segments(folder: Path) -> list[Segment]:
    """The segments in the folder, in the order of their records. Raises OSError."""
    segments = []
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match and int(match[1]) < 1 << 63 and entry.is_file(follow_symlinks=False):
                size = entry.stat(follow_symlinks=False).st_size
                segments.append(Segment(folder / entry.name, int(match[1]), size))
    return sorted(segments, key=lambda segment: segment.first)


def open_reading(path: Path) -> int:
    return os.open(path, os.O_RDONLY | _FLAGS)


def begin(path: Path) -> int:
    """Opens an empty segment to be written. Raises OSError."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600)


def go_on(path: Path) -> int:
    """Opens a segment to be written further. Raises OSError."""
    return os.open(path, os.O_WRONLY | _FLAGS)


def recover(segment: Segment) -> int:
    """How many records a segment has that nobody is writing any more. Raises OSError.

    What a write had begun when its process was killed is cut off. Garbled records count, as far as their lengths tell
    how many they are: they were there, and are lost.
    """
    descriptor = os.open(segment.path, os.O_RDWR | _FLAGS)
    try:
        segment.size = os.fstat(descriptor).st_size
        count, at = _sound_records(descriptor, segment.size)
        more, end = _lengths(descriptor, at, segment.size)
        if more == 0 and end < segment.size:
            os.ftruncate(descriptor, end)
            segment.size = end
        return count + more
    finally:
        os.close(descriptor)


def _sound_records(descriptor: int, size: int) -> tuple[int, int]:
    """How many records from the start are sound, and the offset where these end."""
    count, at, chunk = 0, 0, CHUNK
    while True:
        part = records(os.pread(descriptor, min(chunk, size - at), at), size)
        if part.ends:
            count += len(part.ends)
            at += part.ends[-1]
            chunk = CHUNK
        elif part.wanted and at + part.wanted <= size and chunk < part.wanted:
            chunk = part.wanted
        else:
            return count, at


def _lengths(descriptor: int, at: int, size: int) -> tuple[int, int]:
    """How many garbled records follow, as their lengths say; the first one that can't be a length ends it."""
    count = 0
    while at + _HEADER.size <= size:
        length, _ = _HEADER.unpack(os.pread(descriptor, _HEADER.size, at))
        if not 0 < length <= MOST_RECORD:
            return count + 1, size
        if at + _HEADER.size + length > size:
            break  # a write that was begun
        at += _HEADER.size + length
        count += 1
    return count, at


class Checkpoint:
    """The file that holds the sequence number up to which all is done.

    It has two places, written in turn: the other one still holds the number before if a write is torn.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _CHECKPOINT
        self._turn = 0

    def read(self) -> int | None:
        """The number; None if there is no such file, or if its content isn't valid."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | _FLAGS)
        except OSError:
            return None
        try:
            data = os.pread(descriptor, 2 * _SLOT.size, 0)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        turns: dict[int, int] = {}
        for turn in range(len(data) // _SLOT.size):
            sequence, zero, checksum = _SLOT.unpack_from(data, turn * _SLOT.size)
            if (zero, checksum) == (0, self._checksum(sequence)) and sequence < 1 << 63:
                turns[sequence] = turn
        if not turns:
            return None
        self._turn = 1 - turns[max(turns)]
        return max(turns)

    def write(self, sequence: int) -> None:
        """Raises OSError."""
        descriptor = self._open()
        try:
            data = _SLOT.pack(sequence, 0, self._checksum(sequence))
            if os.pwrite(descriptor, data, self._turn * _SLOT.size) != len(data):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        finally:
            os.close(descriptor)
        self._turn = 1 - self._turn

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._path)  # noqa: PTH108

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_WRONLY | os.O_CREAT | _FLAGS, 0o600)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO):
                raise
        self.remove()  # a link or a pipe in its place
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | _FLAGS, 0o600)

    @staticmethod
    def _checksum(sequence: int) -> int:
        return zlib.crc32(sequence.to_bytes(8, "little"), 1)
