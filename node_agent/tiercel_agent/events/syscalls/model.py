"""How a system call is described, and short forms of the usual descriptions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tiercel_engine.system_calls import SYSTEM_CALLS, Numbers

RETURNED = 100  # bpf/maps.h
OPEN_HOW, MSGHDR, FREE_TEXT, ONLY_FAILED, MMSGHDR, SUBJECT_PATH, SUBJECT_END, SENDS = (1 << bit for bit in range(8))
"""PLAN_… of bpf/maps.h"""
FOR_KERNEL = (1 << 8) - 1
"""The flags that plans have."""
TEXT_BEHIND = 1 << 8
"""The second path is no path but a text, which belongs to the first."""


class Family(IntEnum):
    """The program that completes the record (bpf/maps.h)."""

    PLAIN = 1
    PATHS = 2
    DESCRIPTOR = 3
    MESSAGE = 4
    EXEC = 5


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument. ``source`` is ``res``, ``0``…``5``, ``path0``, ``path1``, ``address``, ``how0``…``how2``, or
    another name that has an extractor in ``fields.evt``. ``kind`` says how it is printed (see render.KINDS)."""

    name: str
    source: str
    kind: str


@dataclass(frozen=True, slots=True)
class Syscall:
    """A system call. ``path``, ``base``, ``descriptor`` and ``address`` are indexes of arguments (-1: none)."""

    name: str
    parameters: tuple[Parameter, ...]
    family: Family = Family.PLAIN
    path: tuple[int, int] = (-1, -1)
    base: tuple[int, int] = (-1, -1)
    descriptor: int = -1
    address: int = -1
    flags: int = 0

    @property
    def numbers(self) -> Numbers:
        return SYSTEM_CALLS.get(self.name, _NONE)


_NONE = Numbers()


def parameters(text: str) -> tuple[Parameter, ...]:
    """Reads words such as ``name=source:kind``. Without a kind, the argument is printed as a decimal number."""
    parsed = []
    for word in text.split():
        name, _, rest = word.partition("=")
        source, _, kind = rest.partition(":")
        parsed.append(Parameter(name, source, kind or "int"))
    return tuple(parsed)


def _with_result(text: str) -> tuple[Parameter, ...]:
    return parameters("res=res:result " + text)


def plain(name: str, arguments: str = "") -> Syscall:
    """A call of which nothing but numbers is told."""
    return Syscall(name, _with_result(arguments))


def by_path(name: str, arguments: str, path: int = 0, base: int = -1, flags: int = 0) -> Syscall:
    """A call that names a file. ``base`` is the descriptor of the folder from which the name starts."""
    return by_two_paths(name, arguments, (path, -1), (base, -1), flags)


def by_two_paths(
    name: str, arguments: str, path: tuple[int, int], base: tuple[int, int] = (-1, -1), flags: int = 0
) -> Syscall:
    """A call that names two files."""
    return Syscall(name, _with_result(arguments), Family.PATHS, path, base, flags=flags)


def opening(name: str, arguments: str, path: int = 0, base: int = -1, flags: int = 0) -> Syscall:
    """A call that opens the file that it names."""
    words = parameters("fd=res:result " + arguments)
    return Syscall(name, words, Family.PATHS, (path, -1), (base, -1), descriptor=RETURNED, flags=flags)


def on(descriptor: int, name: str, arguments: str, address: int = -1, flags: int = 0) -> Syscall:
    """A call on a descriptor, which is that argument, or ``RETURNED``."""
    words = parameters(arguments) if descriptor == RETURNED else _with_result(arguments)
    return Syscall(name, words, Family.DESCRIPTOR, descriptor=descriptor, address=address, flags=flags)


def message(name: str, arguments: str, flags: int = 0) -> Syscall:
    """A call that sends or receives."""
    address = -1 if flags & MSGHDR else 4
    words = _with_result(arguments)
    return Syscall(name, words, Family.MESSAGE, descriptor=0, address=address, flags=flags | SUBJECT_END)
