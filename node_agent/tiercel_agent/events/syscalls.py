"""The system calls that are observed: their numbers, what the kernel adds to each, and their arguments by name.

Numbers come from the kernel's tables (x86: arch/x86/entry/syscalls/*.tbl, arm64: include/uapi/asm-generic/unistd.h,
arm: arch/arm/tools/syscall.tbl). Numbers from 512 on stand for i386's socketcall(2): 512 plus the number of the
operation (include/uapi/linux/net.h). Argument names are those that Falco's rules use in ``evt.arg.<name>``, in the
order of ``evt.args``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

RETURNED = 100  # bpf/maps.h
_PLAN = struct.Struct("=BB2b2bbb3bBH")
_FILTERED = struct.Struct("=2H2x5I")


class Family(IntEnum):
    """The program that completes the record (bpf/maps.h)."""

    PLAIN = 1
    PATHS = 2
    DESCRIPTOR = 3
    MESSAGE = 4
    EXEC = 5


OPEN_HOW, MSGHDR, FREE_TEXT, ONLY_FAILED, MMSGHDR, SUBJECT_PATH, SUBJECT_END = (
    1,
    2,
    4,
    8,
    16,
    32,
    64,
)  # PLAN_… of bpf/maps.h
_SOCKETCALL, _SOCKETCALL_I386 = 512, 102  # in plans (bpf/maps.h), and as i386 programs call it


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument. ``source`` is ``res``, ``0``…``5``, ``path0``, ``path1``, ``address``, ``how0``…``how2``, or
    another name that has an extractor in ``fields.evt``. ``kind`` says how it is printed (see render.KINDS)."""

    name: str
    source: str
    kind: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a call on each architecture; several if there are variants that differ in width only. 32-bit
    programs on machines of ``x86_64`` and ``arm64`` use those of ``i386`` and ``arm`` (EABI)."""

    x86_64: tuple[int, ...]
    arm64: tuple[int, ...]
    i386: tuple[int, ...]
    arm: tuple[int, ...]

    @classmethod
    def parse(cls, columns: str) -> Numbers:
        """Reads columns such as ``"268,452 53 - 333"``. ``-`` stands for no number. Without a fourth column, the
        numbers of arm are those of i386."""
        x86_64, arm64, i386, *arm = (
            tuple(map(int, column.split(","))) if column != "-" else () for column in columns.split()
        )
        return cls(x86_64, arm64, i386, arm[0] if arm else i386)


@dataclass(frozen=True, slots=True)
class Syscall:
    """A system call. ``path``, ``base``, ``descriptor`` and ``address`` are indexes of arguments (-1: none)."""

    name: str
    numbers: Numbers
    parameters: tuple[Parameter, ...]
    family: Family = Family.PLAIN
    path: tuple[int, int] = (-1, -1)
    base: tuple[int, int] = (-1, -1)
    descriptor: int = -1
    address: int = -1
    flags: int = 0


def _parameters(text: str) -> tuple[Parameter, ...]:
    """Reads words such as ``name=source:kind``. Without a kind, the argument is printed as a decimal number."""
    parsed = []
    for word in text.split():
        name, _, rest = word.partition("=")
        source, _, kind = rest.partition(":")
        parsed.append(Parameter(name, source, kind or "int"))
    return tuple(parsed)


def _call(name: str, numbers: str, parameters: str) -> Syscall:
    return Syscall(name, Numbers.parse(numbers), _parameters("res=res:result " + parameters))


def _paths(name: str, numbers: str, parameters: str, path: int = 0, base: int = -1, flags: int = 0) -> Syscall:
    return _two_paths(name, numbers, parameters, (path, -1), (base, -1), flags)


def _two_paths(
    name: str, numbers: str, parameters: str, path: tuple[int, int], base: tuple[int, int] = (-1, -1), flags: int = 0
) -> Syscall:
    words = _parameters("res=res:result " + parameters)
    return Syscall(name, Numbers.parse(numbers), words, Family.PATHS, path, base, flags=flags)


def _open(name: str, numbers: str, parameters: str, path: int = 0, base: int = -1, flags: int = 0) -> Syscall:
    words = _parameters("fd=res:result " + parameters)
    return Syscall(
        name, Numbers.parse(numbers), words, Family.PATHS, (path, -1), (base, -1), descriptor=RETURNED, flags=flags
    )


def _on(descriptor: int, name: str, numbers: str, parameters: str, address: int = -1, flags: int = 0) -> Syscall:
    words = _parameters(parameters if descriptor == RETURNED else "res=res:result " + parameters)
    family = Family.DESCRIPTOR
    return Syscall(name, Numbers.parse(numbers), words, family, descriptor=descriptor, address=address, flags=flags)


def _message(name: str, numbers: str, parameters: str, flags: int = 0) -> Syscall:
    words = _parameters("res=res:result " + parameters)
    address = -1 if flags & MSGHDR else 4
    return Syscall(
        name, Numbers.parse(numbers), words, Family.MESSAGE, descriptor=0, address=address, flags=flags | SUBJECT_END
    )


SYSCALLS: tuple[Syscall, ...] = (
    # opening files
    _open("open", "2 - 5", "name=path0:path flags=1:open mode=2:mode dev=dev:dev ino=ino", flags=SUBJECT_PATH),
    _open(
        "openat",
        "257 56 295 322",
        "dirfd=0:fd name=path0:path flags=2:open mode=3:mode dev=dev:dev ino=ino",
        1,
        0,
        SUBJECT_PATH,
    ),
    _open(
        "openat2",
        "437 437 437",
        "dirfd=0:fd name=path0:path flags=how0:open mode=how1:mode resolve=how2:resolve dev=dev:dev ino=ino",
        1,
        0,
        OPEN_HOW | SUBJECT_PATH,
    ),
    _open("creat", "85 - 8", "name=path0:path mode=1:mode dev=dev:dev ino=ino flags=creat:open", flags=SUBJECT_PATH),
    _on(RETURNED, "open_by_handle_at", "304 265 342 371", "fd=res:result mountfd=0:fd flags=2:open path=file:path"),
    # names
    _paths("unlink", "87 - 10", "path=path0:path"),
    _paths("unlinkat", "263 35 301 328", "dirfd=0:fd name=path0:path path=path0:path flags=2:unlink", 1, 0),
    _paths("rmdir", "84 - 40", "path=path0:path"),
    _paths("mkdir", "83 - 39", "path=path0:path mode=1:mode"),
    _paths("mkdirat", "258 34 296 323", "dirfd=0:fd path=path0:path mode=2:mode", 1, 0),
    _two_paths("rename", "82 - 38", "oldpath=path0:path newpath=path1:path", (0, 1)),
    _two_paths(
        "renameat",
        "264 38 302 329",
        "olddirfd=0:fd oldpath=path0:path newdirfd=2:fd newpath=path1:path",
        (1, 3),
        (0, 2),
    ),
    _two_paths(
        "renameat2",
        "316 276 353 382",
        "olddirfd=0:fd oldpath=path0:path newdirfd=2:fd newpath=path1:path flags=4:rename",
        (1, 3),
        (0, 2),
    ),
    _two_paths("link", "86 - 9", "oldpath=path0:path newpath=path1:path", (0, 1)),
    _two_paths(
        "linkat",
        "265 37 303 330",
        "olddir=0:fd oldpath=path0:path newdir=2:fd newpath=path1:path flags=4:at",
        (1, 3),
        (0, 2),
    ),
    _two_paths("symlink", "88 - 83", "target=text0:text linkpath=path1:path", (0, 1), flags=FREE_TEXT),
    _two_paths(
        "symlinkat",
        "266 36 304 331",
        "target=text0:text linkdirfd=1:fd linkpath=path1:path",
        (0, 2),
        (-1, 1),
        FREE_TEXT,
    ),
    _paths("mknod", "133 - 14", "path=path0:path mode=1:mode dev=2:dev"),
    _paths("mknodat", "259 33 297 324", "dirfd=0:fd path=path0:path mode=2:mode dev=3:dev", 1, 0),
    # attributes
    _paths("chmod", "90 - 15", "filename=path0:path mode=1:mode"),
    _paths("fchmodat", "268,452 53,452 306,452 333,452", "dirfd=0:fd filename=path0:path mode=2:mode", 1, 0),
    _on(0, "fchmod", "91 52 94", "fd=0:fd mode=1:mode"),
    _paths("chown", "92 - 182,212", "path=path0:path uid=1:uid gid=2:gid"),
    _paths("lchown", "94 - 16,198", "path=path0:path uid=1:uid gid=2:gid"),
    _paths("fchownat", "260 54 298 325", "dirfd=0:fd path=path0:path uid=2:uid gid=3:gid flags=4:at", 1, 0),
    _on(0, "fchown", "93 55 95,207", "fd=0:fd uid=1:uid gid=2:gid"),
    _paths("truncate", "76 45 92,193", "path=path0:path length=1:long"),
    _on(0, "ftruncate", "77 46 93,194", "fd=0:fd length=1:long"),
    # the tree of mounts, roots and working folders
    _two_paths("mount", "165 40 21", "dev=text0:text dir=path1:path flags=3:mount", (0, 1), flags=FREE_TEXT),
    _paths("umount2", "166 39 52", "name=path0:path flags=1:umount"),
    _paths("chroot", "161 51 61", "path=path0:path"),
    _two_paths("pivot_root", "155 41 217 218", "new_root=path0:path put_old=path1:path", (0, 1)),
    _paths("chdir", "80 49 12", "path=path0:path"),
    _on(0, "fchdir", "81 50 133", "fd=0:fd"),
    # descriptors; what a dup is about is the new one
    _on(RETURNED, "dup", "32 23 41", "res=res:result oldfd=0:fd"),
    _on(RETURNED, "dup2", "33 - 63", "res=res:result oldfd=0:fd newfd=1:fd"),
    _on(RETURNED, "dup3", "292 24 330 358", "res=res:result oldfd=0:fd newfd=1:fd flags=2:open"),
    _call("close", "3 57 6", "fd=0:fd"),
    # sockets
    _on(RETURNED, "socket", "41 198 359,513 281", "fd=res:result domain=0:domain type=1:socket_type proto=2"),
    _on(0, "bind", "49 200 361,514 282", "addr=address:address fd=0:fd", address=1),
    _on(0, "connect", "42 203 362,515 283", "tuple=tuple:text fd=0:fd addr=address:address", 1, SUBJECT_END),
    _on(0, "listen", "50 201 363,516 284", "fd=0:fd backlog=1"),
    _on(RETURNED, "accept", "43 202 517 285", "fd=res:result tuple=tuple:text", flags=SUBJECT_END),
    _on(
        RETURNED,
        "accept4",
        "288 242 364,530 366",
        "fd=res:result tuple=tuple:text flags=3:socket_flags",
        flags=SUBJECT_END,
    ),
    _message("sendto", "44 206 369,521,523 290,289", "fd=0:fd size=2:size tuple=tuple:text data=data:text"),
    _message("recvfrom", "45 207 371,522,524 292,291", "fd=0:fd size=2:size tuple=tuple:text data=data:text"),
    _message("sendmsg", "46 211 370,528 296", "fd=0:fd tuple=tuple:text data=data:text", MSGHDR),
    _message("recvmsg", "47 212 372,529 297", "fd=0:fd tuple=tuple:text data=data:text", MSGHDR),
    _message("sendmmsg", "307 269 345,532 374", "fd=0:fd size=2 tuple=tuple:text data=data:text", MSGHDR | MMSGHDR),
    _message(
        "recvmmsg", "299 243 337,417,531 365,417", "fd=0:fd size=2 tuple=tuple:text data=data:text", MSGHDR | MMSGHDR
    ),
    # processes: an exec that succeeds is reported as the new image stands (bpf/processes.c)
    Syscall(
        "execve",
        Numbers.parse("59 221 11"),
        _parameters("res=res:result exe=exe:text args=args:text filename=path0:path flags=exe_flags:text"),
        Family.EXEC,
        (0, -1),
        flags=ONLY_FAILED,
    ),
    Syscall(
        "execveat",
        Numbers.parse("322 281 358 387"),
        _parameters("res=res:result exe=exe:text args=args:text filename=path0:path flags=exe_flags:text"),
        Family.EXEC,
        (1, -1),
        (0, -1),
        flags=ONLY_FAILED,
    ),
    _call("clone", "56 220 120", "flags=0:clone"),
    _call("clone3", "435 435 435", ""),
    _call("fork", "57 - 2", ""),
    _call("vfork", "58 - 190", ""),
    Syscall("procexit", Numbers.parse("- - -"), _parameters("status=res:int")),
    # identities
    _call("setuid", "105 146 23,213", "uid=0:uid"),
    _call("setgid", "106 144 46,214", "gid=0:gid"),
    _call("setreuid", "113 145 70,203", "ruid=0:uid euid=1:uid"),
    _call("setregid", "114 143 71,204", "rgid=0:gid egid=1:gid"),
    _call("setresuid", "117 147 164,208", "ruid=0:uid euid=1:uid suid=2:uid"),
    _call("setresgid", "119 149 170,210", "rgid=0:gid egid=1:gid sgid=2:gid"),
    _call("setfsuid", "122 151 138,215", "uid=0:uid"),
    _call("setfsgid", "123 152 139,216", "gid=0:gid"),
    _call("setsid", "112 157 66", ""),
    _call("setpgid", "109 154 57", "pid=0 pgid=1"),
    _call("capset", "126 91 185", ""),
    _call("prctl", "157 167 172", "option=0:prctl arg2_int=1:long"),
    # reaching into other processes and namespaces
    _call("ptrace", "101 117 26", "request=0:ptrace pid=1 addr=2:hex data=3:hex"),
    _call("process_vm_readv", "310 270 347 376", "pid=0"),
    _call("process_vm_writev", "311 271 348 377", "pid=0"),
    _call("kill", "62 129 37", "pid=0 sig=1:signal"),
    _call("tkill", "200 130 238", "tid=0 sig=1:signal"),
    _call("tgkill", "234 131 270 268", "pid=0 tid=1 sig=2:signal"),
    _call("rt_sigqueueinfo", "129 138 178", "pid=0 sig=1:signal"),
    _call("rt_tgsigqueueinfo", "297 240 335 363", "pid=0 tid=1 sig=2:signal"),
    _on(0, "pidfd_send_signal", "424 424 424", "fd=0:fd sig=1:signal"),
    _on(0, "setns", "308 268 346 375", "fd=0:fd nstype=1:clone"),
    _call("unshare", "272 97 310 337", "flags=0:clone"),
    _call("seccomp", "317 277 354 383", "op=0 flags=1"),
    _call("keyctl", "250 219 288 311", "option=0"),
    # the kernel itself
    _paths("init_module", "175 105 128", "length=1:size uargs=text0:text", 2, flags=FREE_TEXT),
    Syscall(
        "finit_module",
        Numbers.parse("313 273 350 379"),
        _parameters("res=res:result fd=0:fd flags=2:module"),
        Family.DESCRIPTOR,
        descriptor=0,
    ),
    _paths("delete_module", "176 106 129", "name=text0:text flags=1:open", flags=FREE_TEXT),
    Syscall(
        "bpf",
        Numbers.parse("321 280 357 386"),
        _parameters("res=res:result cmd=0:bpf id=bpf_id:text"),
        Family.DESCRIPTOR,
        address=1,
    ),
    _call("perf_event_open", "298 241 336 364", "pid=1 cpu=2"),
    _call("userfaultfd", "323 282 374 388", "flags=0:open"),
    _paths("memfd_create", "319 279 356 385", "name=text0:text flags=1:memfd", flags=FREE_TEXT),
    _call("io_uring_setup", "425 425 425", "entries=0"),
)

BY_NAME: dict[str, Syscall] = {call.name: call for call in SYSCALLS}


def native_numbers(call: Syscall, machine: str) -> tuple[int, ...]:
    """The numbers by which the machine's own programs make the call; empty if there are none. ``machine`` is ``x86_64``
    or ``aarch64``."""
    return call.numbers.x86_64 if machine == "x86_64" else call.numbers.arm64


def known_numbers(call: Syscall, machine: str) -> tuple[int, ...]:
    """The numbers that the call has in plans, records and the filter: the machine's own numbers. A call that only
    32-bit programs have (open(2) on arm64) gets a number behind all others."""
    native = native_numbers(call, machine)
    if native or machine == "x86_64" or call.name not in _ARM_ALONE:
        return native
    return (_SOCKETCALL + _ARM_ALONE.index(call.name),)


_ARM_ALONE = [call.name for call in SYSCALLS if call.numbers.arm and not call.numbers.arm64]
"""Their numbers are those of socketcall's operations, which arm doesn't have."""


def plans(calls: Iterable[Syscall], machine: str, filtered: Mapping[int, tuple[int, ...]]) -> dict[int, bytes]:
    """``struct plan`` of bpf/maps.h by index, so that these calls are passed on. ``filtered`` has by index the part of
    the plan that the filter reads (``FilterPlan`` of filter/tables.py)."""
    asked = set(calls)
    native: dict[int, bytes] = {}
    compat: dict[int, int] = {}
    for call in SYSCALLS:
        if call not in asked and call.name not in CHANGES_PROCESS:
            continue
        numbers = known_numbers(call, machine)
        native.update(dict.fromkeys(numbers, _plan(call, call in asked)))
        if numbers:
            of_32_bit = call.numbers.i386 if machine == "x86_64" else call.numbers.arm
            compat.update(dict.fromkeys(of_32_bit, numbers[0]))
    if any(number > _SOCKETCALL for number in compat):
        compat[_SOCKETCALL_I386] = _SOCKETCALL
    nothing = _PLAN.pack(0, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0)
    return {
        index: native.get(index, nothing)[:-2]
        + compat.get(index, 0).to_bytes(2, "little")
        + _FILTERED.pack(*filtered.get(index, (0,) * 7))
        for index in native.keys() | compat.keys()
    }


def _plan(call: Syscall, asked: bool) -> bytes:
    arguments = [int(parameter.source) for parameter in keyed(call)]
    arguments += [-1] * (_MAX_KEYED - len(arguments))
    family, changes = call.family if asked else 0, call.name in CHANGES_PROCESS
    paths = (*call.path, *call.base)
    return _PLAN.pack(family, call.flags, *paths, call.descriptor, call.address, *arguments, changes, 0)


def keyed(call: Syscall) -> tuple[Parameter, ...]:
    """The arguments in the key by which the kernel's filter distinguishes calls: numbers that have few values."""
    few = [parameter for parameter in call.parameters if parameter.kind in _FEW_VALUES and len(parameter.source) == 1]
    return tuple(few[:_MAX_KEYED])


_MAX_KEYED = 3
_FEW_VALUES = frozenset(
    "open mode unlink at rename mount umount domain socket_type socket_flags clone prctl ptrace signal module memfd "
    "bpf uid gid".split()
)
CHANGES_PROCESS = frozenset(
    "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid capset "
    "setns unshare chroot pivot_root".split()
)
"""Calls that may change the result of conditions on the process. Exec and renaming have tracepoints of their own."""
