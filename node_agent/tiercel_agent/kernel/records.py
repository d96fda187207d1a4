"""The records of the kernel, as bpf/records.h lays them out."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from tiercel_engine.uncertain import UNKNOWN, Ending

_PREFIX = Struct("=IHH")
_EXIT = Struct("=Qq")
_HEADER = Struct("=IHHQq6QQ3Q16I16s")
_PROCESS = Struct("=QII16s")
_CGROUP = Struct("=IHHQII")
_ANCESTORS = 8
_SECTION = Struct("=HHI")
_FILE = Struct("=Qqq8I")
_SOCKET = Struct("=QHHHBBHHI16s16s")

SELF_OFFSET = _HEADER.size
ANCESTORS_OFFSET = SELF_OFFSET + _PROCESS.size
SECTIONS_OFFSET = ANCESTORS_OFFSET + _ANCESTORS * _PROCESS.size

EXEC, FORK, EXIT, CGROUP_MADE, CGROUP_REMOVED = range(0xFF00, 0xFF05)
COMPAT, TRUNCATED, AGAIN, BY_DESCRIPTOR, LINEAGE_ENDS, OTHER_ROOT, NAMESPACES, EXCHANGED, RING = (
    1 << bit for bit in range(9)
)
UPPER_LAYER, LOWER_LAYER, DETACHED, CREATED = 1, 2, 4, 8
ROLE_BOUND, ROLE_ACCEPTED, ROLE_CONNECTED = 1, 2, 4


class Section:
    """Kinds of sections (SECTION_… of bpf/records.h)."""

    PATH_0, PATH_1, BASE_0, BASE_1, FILE, FILE_PATH, SOCKET, ADDRESS, DATA = range(1, 10)
    ARGS, ENV, EXE, EXE_PATH, FILENAME, CWD, UNIX_PATH, OPEN_HOW, FILTER, ARGUMENT_COUNT = range(10, 20)
    REAL_0, REAL_1, DEVICE, ANCESTORS = range(20, 24)


class ProcessRef(NamedTuple):
    """A process as the kernel identifies it: its start in ns since boot, its pid, and how often it has called exec."""

    start: int
    pid: int
    execs: int
    comm: bytes


class Header(NamedTuple):
    """``struct header`` without the processes behind it."""

    length: int
    type: int
    flags: int
    time: int
    result: int
    arg0: int
    arg1: int
    arg2: int
    arg3: int
    arg4: int
    arg5: int
    cgroup: int
    cap_permitted: int
    cap_effective: int
    cap_inheritable: int
    tid: int
    uid: int
    gid: int
    loginuid: int
    session: int
    pgid: int
    sid: int
    tty: int
    vtid: int
    vpid: int
    vpgid: int
    vsid: int
    mount_ns: int
    pid_ns: int
    net_ns: int
    user_ns: int
    comm: bytes


class FileFacts(NamedTuple):
    """``struct file_facts``; times in seconds and nanoseconds, ``traits`` of UPPER_LAYER, LOWER_LAYER, DETACHED,
    CREATED."""

    inode: int
    ctime_s: int
    mtime_s: int
    ctime_ns: int
    mtime_ns: int
    device: int
    mode: int
    flags: int
    links: int
    owner: int
    traits: int


class SocketFacts(NamedTuple):
    """``struct socket_facts``; ports in host order, IPv4 addresses in the first four bytes."""

    inode: int
    family: int
    type: int
    protocol: int
    state: int
    role: int
    local_port: int
    remote_port: int
    padding: int
    local: bytes
    remote: bytes


Sections = dict[int, tuple[int, bytes]]
"""Number and payload by kind. If a kind comes twice (UNIX_PATH), the key of the second is ``-kind``."""


def record_type(record: bytes) -> int:
    """The number of the system call, or EXEC, FORK and so on."""
    return int(_PREFIX.unpack_from(record)[1])


def header(record: bytes) -> Header:
    return Header._make(_HEADER.unpack_from(record))


def process_at(record: bytes, offset: int) -> ProcessRef:
    start, pid, execs, comm = _PROCESS.unpack_from(record, offset)
    return ProcessRef(start, pid, execs, comm.partition(b"\0")[0])


def ancestors(record: bytes, sections: Sections) -> list[ProcessRef]:
    """The ancestors of the record's process, parent first."""
    beyond = sections[Section.ANCESTORS][1] if Section.ANCESTORS in sections else b""
    processes = []
    for start, pid, execs, comm in _PROCESS.iter_unpack(record[ANCESTORS_OFFSET:SECTIONS_OFFSET] + beyond):
        if pid == 0:
            break
        processes.append(ProcessRef(start, pid, execs, comm.partition(b"\0")[0]))
    return processes


def sections(record: bytes) -> Sections:
    """The sections of a record."""
    by_kind: Sections = {}
    at, end = SECTIONS_OFFSET, len(record)
    while at + 8 <= end:
        kind, length, number = _SECTION.unpack_from(record, at)
        at += 8
        by_kind[-kind if kind in by_kind else kind] = (number, record[at : at + length])
        at += (length + 7) & ~7
    return by_kind


def path(section: tuple[int, bytes]) -> str:
    """A path as the kernel knows it. Of one that is too long or too deep the kernel writes only the end, which has no
    slash in front then, so that people don't take it for a path from the root."""
    cut, raw = section
    text = raw.decode("utf-8", "surrogateescape")
    if not cut:
        return text
    return Ending(text.lstrip("/")) if text != "/" else UNKNOWN


def file_facts(payload: bytes) -> FileFacts:
    return FileFacts._make(_FILE.unpack_from(payload))


def socket_facts(payload: bytes) -> SocketFacts:
    return SocketFacts._make(_SOCKET.unpack_from(payload))


class ForkRecord(NamedTuple):
    child: ProcessRef
    parent: ProcessRef


class ExitRecord(NamedTuple):
    time: int
    status: int
    process: ProcessRef


class CgroupRecord(NamedTuple):
    """A control group that was made or removed; ``hierarchy`` is 0 for version 2, whose ids events carry."""

    made: bool
    id: int
    hierarchy: int
    path: str


def cgroup_record(record: bytes) -> CgroupRecord:
    _, type_, _, number, hierarchy, length = _CGROUP.unpack_from(record)
    path = record[_CGROUP.size : _CGROUP.size + length].decode("utf-8", "surrogateescape")
    return CgroupRecord(type_ == CGROUP_MADE, number, hierarchy, path)


def fork_record(record: bytes) -> ForkRecord:
    return ForkRecord(process_at(record, 8), process_at(record, 8 + _PROCESS.size))


def exit_record(record: bytes) -> ExitRecord:
    time, status = _EXIT.unpack_from(record, 8)
    return ExitRecord(time, status, process_at(record, 24))
