"""The system calls of Linux, and their numbers on each architecture.

The table is made from the kernel's headers by scripts/system-call-numbers. Numbers from 512 on stand for i386's
socketcall(2): 512 plus the number of the operation (include/uapi/linux/net.h).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a call on each architecture; several if there are variants that differ in width only. 32-bit
    programs on machines of ``x86_64`` and ``arm64`` use those of ``i386`` and ``arm`` (EABI)."""

    x86_64: tuple[int, ...] = ()
    arm64: tuple[int, ...] = ()
    i386: tuple[int, ...] = ()
    arm: tuple[int, ...] = ()


def _read() -> dict[str, Numbers]:
    """Each line has a name and four columns, such as ``268,452``. ``-`` stands for no number."""
    _, *lines = files("tiercel_engine").joinpath("system_calls.tsv").read_text("ascii").splitlines()
    calls = {}
    for line in lines:
        name, *columns = line.split("\t")
        calls[name] = Numbers(*(tuple(map(int, column.split(","))) if column != "-" else () for column in columns))
    return calls


SYSTEM_CALLS: Mapping[str, Numbers] = _read()
"""By name, as rules and alerts call them. 32-bit variants of a call are reported under its name."""

REPORTED_AS: Mapping[str, str] = {
    **{"send": "sendto", "recv": "recvfrom", "mmap2": "mmap", "llseek": "lseek", "fchmodat2": "fchmodat"},
    **{"stat64": "stat", "lstat64": "lstat", "fstat64": "fstat", "fstatat64": "newfstatat"},
    **{"pread64": "pread", "pwrite64": "pwrite", "prlimit64": "prlimit"},
}
"""Names that rules may use for calls that are reported under another one."""
