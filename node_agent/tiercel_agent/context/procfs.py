"""The facts of processes that ran before the agent, from /proc (proc(5)).

A process may end or execute a program while it is read. All files are read through one descriptor of its directory, so
the facts are those of one process; and where its memory's layout isn't the same before and after, or isn't complete,
it was executing a program meanwhile, and what it executes is unknown.

Most of /proc is the kernel's alone, and is read at once. But a process's memory, with its arguments and environment,
can't be read while one of its threads waits for a file server and holds it, and the file that it executes may itself be
on such a server. These are looked up by another process (``tiercel_agent.lookups``), and are missing if there is no
answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from tiercel_agent.context.container import concerned_by_member
from tiercel_agent.context.rootfs import START, namespace, parse_stat, process_directory, start_of
from tiercel_agent.context.words import NO_WORDS, Words
from tiercel_agent.lookups.ask import Ask

TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds of one clock tick, the unit of times in /proc."""
MAX_TEXT = 4096
"""Bytes of the command line, and of the environment, that are kept; as many as for processes whose start was
observed."""
_DELETED = " (deleted)"
_NO_LOGIN = 0xFFFFFFFF
_FLAGS = 6  # among what follows the name in /proc/PID/stat
_LAYOUT = (23, 24, 25, 42, 43, 44, 45, 46, 47, 48)
"""There: where code, stack, data, heap, arguments and environment begin and end, which differs from one program to the
next, and for the same program each time. It is complete once the end of the environment is known."""
_TURNS = 3
_COUNTED = 8 << 20
"""Bytes of a command line in which arguments are counted: as long as it may be."""
_KERNEL_THREAD = 0x00200000  # has no memory


@dataclass(frozen=True, slots=True)
class Ids:
    """Users or groups of a process, as the host counts."""

    real: int
    effective: int
    saved: int
    filesystem: int


@dataclass(frozen=True, slots=True)
class Executable:
    """The file that a process runs.

    ``deleted``: the file no longer has its name; then ``path`` is without the kernel's " (deleted)". ``inode`` and the
    times (nanoseconds since the epoch) are None where the file can't be examined.
    """

    path: str
    deleted: bool
    inode: int | None
    ctime: int | None
    mtime: int | None

    @property
    def from_memfd(self) -> bool:
        return self.deleted and self.path.startswith("/memfd:")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Capability sets as bit masks."""

    inheritable: int
    permitted: int
    effective: int


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One process. Text keeps invalid UTF-8 as surrogate escapes.

    ``start_ticks`` is its start in clock ticks (``os.sysconf("SC_CLK_TCK")`` a second) since boot; ``tty`` the
    device number of its terminal or 0; ``loginuid`` -1 without a login; ``ns_pids`` its ids from the outermost
    PID namespace to its own, likewise ``ns_pgids`` and ``ns_sids``. A kernel thread has no ``exe`` and no
    ``arguments``. ``environment`` is None unless asked for. ``executing``: it was executing another program while it
    was read, so that it isn't known what ``comm``, ``arguments``, ``environment`` and ``exe`` belong to. ``whose`` says
    for people whose process it is. ``read_at`` is when reading ended, in nanoseconds since boot.
    """

    pid: int
    ppid: int
    pgid: int
    sid: int
    tty: int
    start_ticks: int
    comm: str
    arguments: Words
    exe: Executable | None
    cwd: str | None
    uids: Ids
    gids: Ids
    loginuid: int
    capabilities: Capabilities
    ns_pids: tuple[int, ...]
    ns_pgids: tuple[int, ...]
    ns_sids: tuple[int, ...]
    mount_ns: int | None
    pid_ns: int | None
    environment: Words | None = None
    executing: bool = False
    whose: str = ""
    read_at: int = 0


def scan(ask: Ask, *, environ: bool = False) -> Iterator[ProcessFacts]:
    """Every process that can be read, one after the other. Processes that end meanwhile are left out; those that
    begin meanwhile come last."""
    read: set[int] = set()
    for _ in range(_TURNS):
        with os.scandir("/proc") as entries:
            pids = {int(entry.name) for entry in entries if entry.name.isascii() and entry.name.isdecimal()}
        for pid in sorted(pids - read):
            facts = read_process(ask, pid, environ=environ)
            if facts is not None:
                yield facts
        read |= pids


def read_process(ask: Ask, pid: int, *, environ: bool = False) -> ProcessFacts | None:
    """The facts of a process, or None if there is no such process (any more). ``ask`` makes the look-ups that may never
    end."""
    try:
        with process_directory(pid) as process_fd:
            return _facts(ask, process_fd, pid, environ)
    except (OSError, ValueError, IndexError, KeyError):
        return None


def texts_in_memory(pid: int, start_ticks: int, environ: bool) -> tuple[Words, Words] | None:
    """Arguments and environment (empty unless asked for) of the process that has started then; None if it is gone."""
    try:
        with process_directory(pid) as process_fd:
            if start_of(process_fd) != start_ticks:
                return None
            return _words(process_fd, "cmdline"), _words(process_fd, "environ") if environ else NO_WORDS
    except (OSError, ValueError, IndexError):
        return None


def examine_executable(pid: int, start_ticks: int, path: str) -> Executable | None:
    """The file that the process executes that has started then, by its path as the kernel shows it; None if the process
    is gone, or the file can't be examined."""
    try:
        with process_directory(pid) as process_fd:
            if start_of(process_fd) != start_ticks:
                return None
            status = os.stat("exe", dir_fd=process_fd)
    except (OSError, ValueError, IndexError):
        return None
    # A file may really be called "x (deleted)". It is deleted only if it has lost its last name, or that name.
    deleted = path.endswith(_DELETED) and (status.st_nlink == 0 or not _is_at(path, status))
    path = path.removesuffix(_DELETED) if deleted else path
    return Executable(path, deleted, status.st_ino, status.st_ctime_ns, status.st_mtime_ns)


def _facts(ask: Ask, process_fd: int, pid: int, environ: bool) -> ProcessFacts:
    comm, stat = parse_stat(_read(process_fd, "stat"))
    start = int(stat[START])
    path = _link(process_fd, "exe")
    arguments = environment = NO_WORDS
    exe: Executable | None = None
    executing = False
    whose = concerned_by_member(_optional(process_fd, "cgroup", 65536).decode("utf-8", "surrogateescape"))
    if not int(stat[_FLAGS]) & _KERNEL_THREAD:
        arguments, environment = ask(whose, partial(texts_in_memory, pid, start, environ)) or (NO_WORDS, NO_WORDS)
        if path is not None:
            exe = ask(whose, partial(examine_executable, pid, start, path)) or _unexamined(path)
        executing = _layout(parse_stat(_read(process_fd, "stat"))[1]) != _layout(stat) or not _is_complete(stat)
    status = parse_status(_read(process_fd, "status"))
    return ProcessFacts(
        pid=pid,
        ppid=int(stat[1]),
        pgid=int(stat[2]),
        sid=int(stat[3]),
        tty=int(stat[4]),
        start_ticks=start,
        comm=comm,
        arguments=arguments,
        exe=exe,
        cwd=_link(process_fd, "cwd"),
        uids=Ids(*map(int, status["Uid"])),
        gids=Ids(*map(int, status["Gid"])),
        loginuid=_loginuid(process_fd),
        capabilities=Capabilities(*(int(status[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff"))),
        ns_pids=tuple(map(int, status.get("NSpid", ()))),
        ns_pgids=tuple(map(int, status.get("NSpgid", ()))),
        ns_sids=tuple(map(int, status.get("NSsid", ()))),
        mount_ns=namespace(process_fd, "mnt"),
        pid_ns=namespace(process_fd, "pid"),
        environment=environment if environ else None,
        executing=executing,
        whose=whose,
        read_at=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    )


def parse_status(content: bytes) -> dict[str, list[str]]:
    """The words of each line of ``/proc/PID/status`` by the line's name. The process's name is escaped there."""
    lines = (line.partition(b":") for line in content.split(b"\n"))
    return {name.decode("ascii", "replace"): words.decode("ascii", "replace").split() for name, _, words in lines}


def _layout(stat: list[bytes]) -> list[bytes]:
    return [stat[place] for place in _LAYOUT]


def _is_complete(stat: list[bytes]) -> bool:
    """Whether the layout is that of a program which runs. Who may not see it is shown 1 as the begin of the code."""
    return stat[_LAYOUT[-1]] != b"0" or stat[_LAYOUT[0]] == b"1"


def _words(process_fd: int, name: str) -> Words:
    """The strings of a file with the process's memory: all are counted, and the first bytes are kept."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=process_fd)
    except OSError:
        return NO_WORDS
    try:
        kept, length, count, last = bytearray(), 0, 0, b""
        while length < _COUNTED and (block := os.read(fd, 1 << 16)):
            kept += block[: MAX_TEXT - len(kept)]
            length += len(block)
            count += block.count(b"\0")
            last = block[-1:]
        return Words(bytes(kept), length, count + (last not in (b"", b"\0")))
    except OSError:
        return NO_WORDS
    finally:
        os.close(fd)


def _unexamined(path: str) -> Executable:
    deleted = path.endswith(_DELETED)
    return Executable(path.removesuffix(_DELETED), deleted, None, None, None)


def _is_at(path: str, status: os.stat_result) -> bool:
    try:
        there = os.lstat(path)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino)


def _loginuid(process_fd: int) -> int:
    text = _optional(process_fd, "loginuid", 32).strip()
    number = int(text) if text.isdigit() else _NO_LOGIN  # a kernel without audit has no such file
    return -1 if number == _NO_LOGIN else number


def _link(process_fd: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=process_fd)
    except OSError:
        return None


def _optional(process_fd: int, name: str, limit: int) -> bytes:
    try:
        return _read(process_fd, name, limit)
    except OSError:
        return b""


def _read(process_fd: int, name: str, limit: int = 65536) -> bytes:
    """At most ``limit`` bytes of a file of the process. Raises OSError if it is gone."""
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=process_fd)
    try:
        content = bytearray()
        while len(content) < limit and (block := os.read(fd, limit - len(content))):
            content += block
        return bytes(content)
    finally:
        os.close(fd)
