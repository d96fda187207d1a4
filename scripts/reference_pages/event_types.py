"""The page of event types, from the agent's table of system calls."""

from __future__ import annotations

from reference_pages.markdown import code, table
from tiercel_agent.events.syscalls import SYSCALLS, Syscall

_HEAD = """# Event types

An event is one system call at its return, whether it succeeded or not. `evt.type` holds its name. Arguments are asked
for as `evt.arg.NAME`, and stand in `evt.args` in this order.

The numbers are those of the system call on each architecture; `i386` and `arm` are those of 32-bit programs. A dash
means that the architecture doesn't have the call. The numbers from 513 on stand for the calls that i386 programs make
through `socketcall`."""


def page() -> str:
    rows = ((code(call.name), _arguments(call), *_numbers(call)) for call in SYSCALLS)
    headings = ("Event type", "Arguments", "x86-64", "arm64", "i386", "arm")
    return f"{_HEAD}\n\n{table(headings, rows)}"


def _arguments(call: Syscall) -> str:
    return " ".join(code(parameter.name) for parameter in call.parameters)


def _numbers(call: Syscall) -> tuple[str, ...]:
    numbers = call.numbers
    columns = (numbers.x86_64, numbers.arm64, numbers.i386, numbers.arm)
    return tuple(", ".join(map(str, column)) or "–" for column in columns)
