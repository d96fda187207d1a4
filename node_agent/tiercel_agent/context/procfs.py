"""The facts of processes that ran before the agent, from /proc (proc(5)).

A process may end or execute a program while it is read. All files are read through one descriptor of its directory, so
the facts are those of one process, though not of one moment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from tiercel_agent.context.rootfs import namespace, process_directory

MAX_ARGUMENTS = 4096
"""Bytes of the command line that are kept; as many as for processes whose start was observed."""
MAX_ENVIRONMENT = 4096
_DELETED = " (deleted)"
_NO_LOGIN = 0xFFFFFFFF


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
    ``argv``. ``environ`` is None unless asked for.
    """

    pid: int
    ppid: int
    pgid: int
    sid: int
    tty: int
    start_ticks: int
    comm: str
    argv: tuple[str, ...]
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
    environ: tuple[str, ...] | None = None


def scan(*, environ: bool = False) -> Iterator[ProcessFacts]:
    """Every process that can be read, one after the other. Processes that end meanwhile are left out."""
    with os.scandir("/proc") as entries:
        pids = sorted(int(entry.name) for entry in entries if entry.name.isascii() and entry.name.isdecimal())
    for pid in pids:
        facts = read_process(pid, environ=environ)
        if facts is not None:
            yield facts


def read_process(pid: int, *, environ: bool = False) -> ProcessFacts | None:
    """The facts of a process, or None if there is no such process (any more)."""
    try:
        with process_directory(pid) as process_fd:
            return _facts(process_fd, pid, environ)
    except (OSError, ValueError, IndexError, KeyError):
        return None


def _facts(process_fd: int, pid: int, environ: bool) -> ProcessFacts:
    comm, stat = parse_stat(_read(process_fd, "stat"))
    status = parse_status(_read(process_fd, "status"))
    return ProcessFacts(
        pid=pid,
        ppid=int(stat[1]),
        pgid=int(stat[2]),
        sid=int(stat[3]),
        tty=int(stat[4]),
        start_ticks=int(stat[19]),
        comm=comm,
        argv=_words(_read(process_fd, "cmdline", MAX_ARGUMENTS)),
        exe=_executable(process_fd),
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
        environ=_words(_optional(process_fd, "environ", MAX_ENVIRONMENT)) if environ else None,
    )


def parse_stat(content: bytes) -> tuple[str, list[bytes]]:
    """The name, and what follows it from the state on, of ``/proc/PID/stat``.

    The name is in parentheses and may itself contain parentheses, blanks and line ends. Raises ValueError.
    """
    first, last = content.index(b"("), content.rindex(b")")
    return content[first + 1 : last].decode("utf-8", "surrogateescape"), content[last + 1 :].split()


def parse_status(content: bytes) -> dict[str, list[str]]:
    """The words of each line of ``/proc/PID/status`` by the line's name. The process's name is escaped there."""
    lines = (line.partition(b":") for line in content.split(b"\n"))
    return {name.decode("ascii", "replace"): words.decode("ascii", "replace").split() for name, _, words in lines}


def _words(content: bytes) -> tuple[str, ...]:
    """Words that end with NUL. If a process has overwritten its command line, the last NUL may be missing."""
    if not content:
        return ()
    return tuple(word.decode("utf-8", "surrogateescape") for word in content.removesuffix(b"\0").split(b"\0"))


def _executable(process_fd: int) -> Executable | None:
    path = _link(process_fd, "exe")
    if path is None:
        return None
    try:
        status = os.stat("exe", dir_fd=process_fd)
    except OSError:
        deleted = path.endswith(_DELETED)
        return Executable(path.removesuffix(_DELETED), deleted, None, None, None)
    # A file may really be called "x (deleted)". It is deleted only if it has lost its last name, or that name.
    deleted = path.endswith(_DELETED) and (status.st_nlink == 0 or not _is_at(path, status))
    path = path.removesuffix(_DELETED) if deleted else path
    return Executable(path, deleted, status.st_ino, status.st_ctime_ns, status.st_mtime_ns)


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
