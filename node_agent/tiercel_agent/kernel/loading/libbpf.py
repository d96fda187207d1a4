"""The part of libbpf that the agent calls, through ctypes.

libbpf comes with bcc (Debian: libbpf1). The agent uses it directly and not through bcc, which loads LLVM: that takes
more memory than all of the agent.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from tiercel_agent.kernel.unreadable import UnreadableRecords

RingCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_ENOTSUPP = 524
_ENOUGH = -1000
_POSITION = mmap.PAGESIZE  # one page has the position of who reads, the next one that of who writes
_RECORD_HEAD = 8  # bytes
_BATCH = 4096  # entries of a map that are read at once


class LibbpfError(OSError):
    """libbpf is missing, or one of its calls failed."""


class Thing(StrEnum):
    """Kinds of objects that the kernel may refuse."""

    PROGRAM = "program"
    MAP = "map"
    TRACEPOINT = "raw tracepoint"
    TRACE_EVENT = "trace event"
    HOOK = "hook"
    TYPES = "type information"


class Refused(LibbpfError):
    """The kernel has refused one of our objects; ``errno`` is its answer, ``log`` what its verifier wrote about a
    program."""

    def __init__(self, thing: Thing, name: str, code: int, log: str = "") -> None:
        super().__init__(code, f"{thing} {name}: {reason(code)}")
        self.thing = thing
        self.name = name
        self.log = log

    @property
    def by_verifier(self) -> bool:
        """Whether the verifier refuses this program, and says why: other programs may still load."""
        return self.thing is Thing.PROGRAM and bool(self.log)


@cache
def library() -> ctypes.CDLL:
    """The loaded library. Its log is switched off: errors come back as codes.

    Raises LibbpfError if it isn't installed.
    """
    for name in ("libbpf.so.1", "libbpf.so.0"):
        try:
            lib = ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        signatures: dict[str, tuple[Any, list[Any]]] = {
            "libbpf_set_print": (pointer, [pointer]),
            "bpf_raw_tracepoint_open": (integer, [ctypes.c_char_p, integer]),
            "bpf_map_create": (
                integer,
                [integer, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, pointer],
            ),
            "bpf_prog_load": (
                integer,
                [integer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, pointer],
            ),
            "bpf_btf_load": (integer, [ctypes.c_char_p, ctypes.c_size_t, pointer]),
            "bpf_prog_test_run_opts": (integer, [integer, pointer]),
            "bpf_enable_stats": (integer, [integer]),
            "bpf_map_lookup_batch": (integer, [integer, *[pointer] * 6]),
            "bpf_map_freeze": (integer, [integer]),
            "bpf_map_update_elem": (integer, [integer, pointer, pointer, ctypes.c_uint64]),
            "bpf_map_lookup_elem": (integer, [integer, pointer, pointer]),
            "bpf_map_delete_elem": (integer, [integer, pointer]),
            "ring_buffer__new": (pointer, [integer, RingCallback, pointer, pointer]),
            "ring_buffer__consume": (integer, [pointer]),
            "ring_buffer__epoll_fd": (integer, [pointer]),
            "ring_buffer__free": (None, [pointer]),
            "btf__load_vmlinux_btf": (pointer, []),
            "btf__free": (None, [pointer]),
            "btf__find_by_name_kind": (ctypes.c_int32, [pointer, ctypes.c_char_p, ctypes.c_uint32]),
            "btf__type_by_id": (pointer, [pointer, ctypes.c_uint32]),
            "btf__name_by_offset": (ctypes.c_char_p, [pointer, ctypes.c_uint32]),
            "btf__resolve_size": (ctypes.c_int64, [pointer, ctypes.c_uint32]),
        }
        for symbol, (result, arguments) in signatures.items():
            function = getattr(lib, symbol)
            function.restype, function.argtypes = result, arguments
        lib.libbpf_set_print(None)
        return lib
    raise LibbpfError(errno.ENOENT, "libbpf is not installed (Debian and Ubuntu: apt-get install python3-bpfcc)")


def code_of(result: int) -> int:
    """The error number of a libbpf call that failed: such calls return -1, or the number with a minus sign."""
    return ctypes.get_errno() if result == -1 else -result


def reason(code: int) -> str:
    """An error number in words. The C library doesn't know the kernel's own ENOTSUPP."""
    return "Operation not supported" if code == _ENOTSUPP else os.strerror(code)


def check(result: int, what: str) -> int:
    """The result of a libbpf call. Raises LibbpfError if the call failed; ``what`` says in it which call."""
    if result < 0:
        code = code_of(result)
        raise LibbpfError(code, f"{what}: {reason(code)}")
    return result


def _pieces(content: bytes, size: int, count: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, count * size, size)]


class Map:
    """A BPF map by its descriptor; keys and values are bytes of the sizes that the map has."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name

    def update(self, key: bytes, value: bytes) -> None:
        """Sets the value of a key. Raises LibbpfError."""
        check(library().bpf_map_update_elem(self.fd, key, value, 0), f"map {self.name}")

    def freeze(self) -> None:
        """From now on, nobody can change the map from user space. Raises LibbpfError."""
        check(library().bpf_map_freeze(self.fd), f"map {self.name}")

    def find(self, key: bytes, size: int) -> bytes | None:
        """The value of ``size`` bytes, or None if the key isn't there."""
        value = ctypes.create_string_buffer(size)
        return value.raw if library().bpf_map_lookup_elem(self.fd, key, value) == 0 else None

    def delete(self, key: bytes) -> None:
        """Removes the key, if it is there."""
        library().bpf_map_delete_elem(self.fd, key)

    def items(self, key_size: int, value_size: int) -> list[tuple[bytes, bytes]]:
        """All keys and values of a hash map, as far as one pass finds them while others write.

        Where the kernel is short of memory these are fewer, and the next pass finds the others.
        """
        pairs: list[tuple[bytes, bytes]] = []
        keys, values = (ctypes.create_string_buffer(_BATCH * size) for size in (key_size, value_size))
        place = ctypes.create_string_buffer(max(8, key_size))
        begun: Any = None
        while True:
            count = ctypes.c_uint32(_BATCH)
            result = library().bpf_map_lookup_batch(self.fd, begun, place, keys, values, ctypes.byref(count), None)
            if result < 0 and code_of(result) != errno.ENOENT:  # which says that these are the last
                return pairs
            pairs += zip(
                _pieces(keys.raw, key_size, count.value), _pieces(values.raw, value_size, count.value), strict=True
            )
            if result < 0:
                return pairs
            begun = place

    def lookup(self, key: bytes, size: int) -> bytes:
        """The value of ``size`` bytes; for a per-CPU map those of all possible CPUs, one after the other. Raises
        LibbpfError."""
        value = ctypes.create_string_buffer(size)
        check(library().bpf_map_lookup_elem(self.fd, key, value), f"map {self.name}")
        return value.raw


class Ring:
    """The reading end of a BPF ring buffer; ``take`` is called with each record.

    ``unreadable`` are the records for which ``take`` raised an error.
    """

    def __init__(self, fd: int, take: Callable[[bytes], None]) -> None:
        string_at = ctypes.string_at
        self.unreadable = UnreadableRecords()
        self._left = 0

        def callback(_context: int, data: int, size: int) -> int:
            try:
                take(string_at(data, size))
            except Exception as error:  # it must not get into libbpf, which called this
                self.unreadable.note(error)
            self._left -= -(-(size + _RECORD_HEAD) // 8) * 8
            return _ENOUGH if self._left <= 0 else 0

        self._callback = RingCallback(callback)  # kept here: the only other reference is in C
        self._ring = library().ring_buffer__new(fd, self._callback, None, None)
        if not self._ring:
            raise LibbpfError(ctypes.get_errno(), "ring buffer: " + os.strerror(ctypes.get_errno()))
        self.fileno = library().ring_buffer__epoll_fd(self._ring)
        self._read, self._written = (
            memoryview(mmap.mmap(fd, _POSITION, mmap.MAP_SHARED, mmap.PROT_READ, offset=page * _POSITION)).cast("Q")
            for page in range(2)
        )

    def unread(self) -> int:
        """The bytes of the records that are there now."""
        return self._written[0] - self._read[0]

    def consume(self, size: int) -> None:
        """Takes the records in the first ``size`` bytes that are unread. Raises LibbpfError.

        Without a limit, a writer that is faster than the reader would keep the reader here.
        """
        if size <= 0:
            return
        self._left = size
        result = library().ring_buffer__consume(self._ring)
        if result != _ENOUGH:
            check(result, "ring buffer")

    def close(self) -> None:
        if self._ring:
            self._read.release()
            self._written.release()
            library().ring_buffer__free(self._ring)
            self._ring = None


def attach_raw_tracepoint(name: str, program_fd: int) -> int:
    """Attaches a loaded program; closing the returned descriptor detaches it. Raises Refused."""
    opened = library().bpf_raw_tracepoint_open(name.encode(), program_fd)
    if opened < 0:
        raise Refused(Thing.TRACEPOINT, name, code_of(opened))
    return int(opened)


def enable_run_time_stats() -> int:
    """The kernel accounts the run time of all programs until the returned descriptor is closed. Raises LibbpfError."""
    return check(library().bpf_enable_stats(0), "run time statistics")  # BPF_STATS_RUN_TIME


@dataclass(frozen=True, slots=True)
class ProgramStatistics:
    """What the kernel has counted of a program since it was loaded."""

    run_time: int
    """Nanoseconds that it has run while run time was accounted."""
    runs: int
    """How often it has run while run time was accounted."""
    skipped: int
    """How often it was not run. At a raw tracepoint: because it ran on the same CPU already, where another task had
    interrupted it. At a trace event: because another program was at work on the CPU, or one of its maps was changed.
    Kernels before 6.7 don't count this for tracepoints, and don't let it happen."""


def program_statistics(program_fd: int) -> ProgramStatistics:
    """Read from the descriptor's fdinfo (kernel/bpf/syscall.c, bpf_prog_show_fdinfo)."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{program_fd}").read_text("ascii").splitlines())
    return ProgramStatistics(*(int(lines.get(name, 0)) for name in ("run_time_ns", "run_cnt", "recursion_misses")))


def possible_cpus() -> int:
    """The number of CPUs that the kernel may ever use: so many values an entry of a per-CPU map has."""
    last = Path("/sys/devices/system/cpu/possible").read_text("ascii").strip().split(",")[-1]
    return int(last.split("-")[-1]) + 1
