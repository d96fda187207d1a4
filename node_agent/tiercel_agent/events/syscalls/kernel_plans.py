"""What the kernel's programs are told of the system calls that rules ask for: plans, by the numbers of calls."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from tiercel_agent.events.syscalls.model import FOR_KERNEL, Parameter, Syscall
from tiercel_agent.events.syscalls.table import SYSCALLS

_PLAN = struct.Struct("=BB2b2bbb3bBHH")
_LAST = struct.Struct("=HH")
"""The two members of it that belong to the index, and not to the call."""
_FILTERED = struct.Struct("=2H5I")
_SOCKETCALL, _SOCKETCALL_I386 = 512, 102  # in plans (bpf/maps.h), and as i386 programs call it


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


def plans(
    calls: Iterable[Syscall],
    machine: str,
    filtered: Mapping[int, tuple[int, ...]],
    captured: Mapping[str, int] | None = None,
) -> dict[int, bytes]:
    """``struct plan`` of bpf/maps.h by index, so that these calls are passed on. ``filtered`` has by index the part of
    the plan that the filter reads (``FilterPlan`` of filter/tables.py), ``captured`` by call what the kernel's hooks
    capture of it (hooks.py)."""
    asked = set(calls)
    native: dict[int, bytes] = {}
    compat: dict[int, int] = {}
    hooks: dict[int, int] = {}
    for call in SYSCALLS:
        if call not in asked and call.name not in CHANGES_PROCESS:
            continue
        numbers = known_numbers(call, machine)
        native.update(dict.fromkeys(numbers, _plan(call, call in asked)))
        if captured and call in asked:
            hooks.update(dict.fromkeys(numbers, captured.get(call.name, 0)))
        if numbers:
            of_32_bit = call.numbers.i386 if machine == "x86_64" else call.numbers.arm
            compat.update(dict.fromkeys(of_32_bit, numbers[0]))
    if any(number > _SOCKETCALL for number in compat):
        compat[_SOCKETCALL_I386] = _SOCKETCALL
        hooks[_SOCKETCALL] = max(hooks.get(number, 0) for index, number in compat.items() if index > _SOCKETCALL)
    nothing = _PLAN.pack(0, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0)
    return {
        index: native.get(index, nothing)[: -_LAST.size]
        + _LAST.pack(compat.get(index, 0), hooks.get(index, 0))
        + _FILTERED.pack(*filtered.get(index, (0,) * 7))
        for index in native.keys() | compat.keys() | hooks.keys()
    }


def _plan(call: Syscall, asked: bool) -> bytes:
    arguments = [int(parameter.source) for parameter in keyed(call)]
    arguments += [-1] * (_MAX_KEYED - len(arguments))
    family, changes = call.family if asked else 0, call.name in CHANGES_PROCESS
    paths = (*call.path, *call.base)
    return _PLAN.pack(family, call.flags & FOR_KERNEL, *paths, call.descriptor, call.address, *arguments, changes, 0, 0)


def keyed(call: Syscall) -> tuple[Parameter, ...]:
    """The arguments in the key by which the kernel's filter distinguishes calls: numbers that have few values."""
    few = [parameter for parameter in call.parameters if parameter.kind in _FEW_VALUES and len(parameter.source) == 1]
    return tuple(few[:_MAX_KEYED])


_MAX_KEYED = 3
_FEW_VALUES = frozenset(
    "open mode unlink at rename mount umount domain socket_type socket_flags clone prctl ptrace signal module memfd "
    "bpf uid gid fcntl request flock fsconfig shutdown prot xattr".split()
)
CHANGES_PROCESS = frozenset(
    "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid capset "
    "setns unshare chroot pivot_root".split()
)
"""Calls that may change the result of conditions on the process. Exec and renaming have tracepoints of their own."""
