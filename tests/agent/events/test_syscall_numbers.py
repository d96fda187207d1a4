"""The numbers of calls, on each architecture and for its 32-bit programs."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from struct import unpack_from

import pytest

from tiercel_agent.events.syscalls import (
    BY_NAME,
    SYSCALLS,
    Family,
    Syscall,
    known_numbers,
    native_numbers,
    plans,
)
from tiercel_engine.event_types import OBSERVABLE, SYSCALL_EVENT_TYPES
from tiercel_engine.system_calls import REPORTED_AS, SYSTEM_CALLS, Numbers

ARM_ALONE = "open creat unlink rmdir mkdir rename link symlink mknod chmod chown lchown dup2 fork vfork".split()
I386_ALONE = frozenset({"iopl", "ioperm", "kexec_file_load", "memfd_secret"})
_SOCKETCALL, _PLACES = 512, 576  # bpf/maps.h


def meant_by(number: int, machine: str) -> Syscall | None:
    """The call that a 32-bit program makes by the number, as the kernel's programs look it up."""
    table = plans(SYSCALLS, machine, {})
    (known,) = unpack_from("<H", table[number], 12) if number in table else (0,)
    if not known:
        return None
    assert table[known][0], "what is meant is a call that nobody reports"
    (call,) = [call for call in SYSCALLS if known in known_numbers(call, machine)]
    return call


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (5, "open"),
        (322, "openat"),
        (10, "unlink"),
        (38, "rename"),
        (193, "truncate"),
        (281, "socket"),
        (283, "connect"),
        (289, "sendto"),
        (11, "execve"),
        (387, "execveat"),
        (23, "setuid"),
        (213, "setuid"),
        (337, "unshare"),
    ],
)
def test_a_32_bit_program_on_arm64_makes_its_own_calls(number: int, name: str) -> None:
    assert meant_by(number, "aarch64") is BY_NAME[name]


@pytest.mark.parametrize("number", [56, 221, 203, 102, 295, 362])
def test_numbers_of_arm64_and_of_i386_mean_nothing_to_arm(number: int) -> None:
    """56 is openat of arm64, 102 socketcall and 295 openat of i386."""
    call = meant_by(number, "aarch64")
    assert call is None or number in call.numbers.arm


@pytest.mark.parametrize(("number", "name"), [(5, "open"), (295, "openat"), (359, "socket"), (417, "recvmmsg")])
def test_a_32_bit_program_on_x86_64_makes_its_own_calls(number: int, name: str) -> None:
    assert meant_by(number, "x86_64") is BY_NAME[name]


def test_calls_that_arm64_has_not_got_stand_behind_all_numbers() -> None:
    table = plans(SYSCALLS, "aarch64", {})
    places = [place for name in ARM_ALONE for place in known_numbers(BY_NAME[name], "aarch64")]
    assert set(ARM_ALONE) <= {call.name for call in SYSCALLS if call.numbers.arm and not call.numbers.arm64}
    assert len(set(places)) == len(ARM_ALONE)
    assert all(_SOCKETCALL <= place < _PLACES for place in places)
    assert all(native_numbers(BY_NAME[name], "aarch64") == () for name in ARM_ALONE)
    assert table[known_numbers(BY_NAME["open"], "aarch64")[0]][0] == Family.PATHS


@pytest.mark.parametrize("column", Numbers.__slots__)
def test_a_number_is_one_call(column: str) -> None:
    counts = Counter(number for call in SYSCALLS for number in getattr(call.numbers, column))
    assert [number for number, times in counts.items() if times > 1] == []


def test_what_32_bit_programs_can_do_on_one_architecture_they_can_on_the_other() -> None:
    usual = [call for call in SYSCALLS if call.name in SYSCALL_EVENT_TYPES - I386_ALONE]
    assert [call.name for call in usual if bool(call.numbers.i386) != bool(call.numbers.arm)] == []
    assert not [number for call in SYSCALLS for number in call.numbers.arm if number >= _SOCKETCALL]


def test_calls_are_known_by_the_names_that_rules_use() -> None:
    assert SYSTEM_CALLS["pread"].x86_64 == (17,)
    assert SYSTEM_CALLS["stat"] == Numbers((4,), (), (106, 195), (106, 195))
    assert SYSTEM_CALLS["sendto"].i386 == (369, _SOCKETCALL + 11, _SOCKETCALL + 9)
    assert not [name for name in REPORTED_AS if name in SYSTEM_CALLS]
    assert not [name for name in REPORTED_AS.values() if name not in SYSTEM_CALLS]


@pytest.mark.parametrize(
    "header", sorted(Path("/usr/include").glob("*/asm/unistd_64.h")), ids=lambda path: path.parts[3]
)
def test_numbers_are_those_of_the_kernels_headers(header: Path) -> None:
    """As far as this machine has headers for programs."""
    column = {"x86_64-linux-gnu": "x86_64", "aarch64-linux-gnu": "arm64"}.get(header.parts[3])
    if column is None:
        pytest.skip(f"{header.parts[3]} isn't watched")
    there = {number for numbers in SYSTEM_CALLS.values() for number in getattr(numbers, column)}
    found = {int(number) for number in re.findall(r"#define __NR_\w+ (\d+)$", header.read_text(), re.MULTILINE)}
    assert found <= there


def test_every_call_of_the_kernel_can_be_observed() -> None:
    assert {call.name for call in SYSCALLS} == OBSERVABLE["syscall"]
    assert OBSERVABLE["syscall"] >= SYSCALL_EVENT_TYPES
