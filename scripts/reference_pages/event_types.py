"""The page of event types, from the agent's table of system calls."""

from __future__ import annotations

from collections.abc import Iterable

from reference_pages.markdown import code, table
from tiercel_agent.events.syscalls import HOOKS, SYSCALLS, Syscall
from tiercel_agent.events.syscalls.hooks import FILE, NAMES, SOCKET
from tiercel_agent.kernel.bytecode.hook_points import HOOK_POINTS
from tiercel_engine.event_types import SYSCALL_EVENT_TYPES

_HEAD = """# Event types

An event is one system call at its return, whether it succeeded or not. `evt.type` holds its name. Arguments are asked
for as `evt.arg.NAME`, and stand in `evt.args` in this order.

Rules can ask for every system call of Linux. Those of the first table are watched for a rule that names no event type,
or all but some, such as `evt.type != open`. Those of the second are frequent, or seldom of interest: they are watched
only for rules that name them, as in `evt.type in (read, write)`, and such a call is an event for no other rule. In a
cluster, only rules of `tiercel-system` can ask for these: each such call costs every process of the nodes.

A rule that can only match event types that are no system calls is an error. Falco has some: `signaldeliver`,
`page_fault`, `switch`, `drop`, `useradded` and others.

The numbers are those of the system call on each architecture; `i386` and `arm` are those of 32-bit programs. A dash
means that the architecture doesn't have the call. The numbers from 513 on stand for the calls that i386 programs make
through `socketcall`. 32-bit calls that differ in the width of an argument alone, such as `stat64`, are events of the
type `stat`."""

_HOOKS_HEAD = """## Hooks

Where the kernel lets programs be at its own hooks (Linux 5.15 and newer; `status.hooks` of a NodeAgent says how), what
these calls are about is noted where the kernel decides, and nobody can exchange it before the call returns. Without a
hook, what is found at the return is told. All other calls are looked at when they return."""
_CAPTURED = {
    FILE: "the file that was opened",
    NAMES: "the folder and the name, or the disk that is mounted",
    SOCKET: "the socket, and the address that was passed",
}


def page() -> str:
    usual = [call for call in SYSCALLS if call.name in SYSCALL_EVENT_TYPES]
    others = [call for call in SYSCALLS if call.name not in SYSCALL_EVENT_TYPES]
    sections = (_section("Usual event types", usual), _section("For rules that name them", others), _hooks())
    return "\n\n".join((_HEAD, *sections))


def _hooks() -> str:
    rows = (
        (code(HOOK_POINTS[hook.program]), " ".join(code(name) for name in sorted(hook.calls)), _CAPTURED[hook.captures])
        for hook in HOOKS
    )
    return f"{_HOOKS_HEAD}\n\n{table(('Hook', 'Calls', 'What is noted there'), rows)}"


def _section(title: str, calls: Iterable[Syscall]) -> str:
    rows = ((code(call.name), _arguments(call), *_numbers(call)) for call in calls)
    headings = ("Event type", "Arguments", "x86-64", "arm64", "i386", "arm")
    return f"## {title}\n\n{table(headings, rows)}"


def _arguments(call: Syscall) -> str:
    return " ".join(code(parameter.name) for parameter in call.parameters)


def _numbers(call: Syscall) -> tuple[str, ...]:
    numbers = call.numbers
    columns = (numbers.x86_64, numbers.arm64, numbers.i386, numbers.arm)
    return tuple(", ".join(map(str, column)) or "–" for column in columns)
