"""What a field is: the vocabulary of the registry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FieldType(Enum):
    """The kind of a field's value; it decides which operators and constants fit."""

    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    BYTES = "bytes"
    ADDRESS = "address"  # an IPv4 or IPv6 address as canonical text
    NETWORK = "network"  # an address to be tested against networks: fd.net
    PORT = "port"  # an integer; service names are not accepted
    TIME = "time"  # nanoseconds since the epoch
    DURATION = "duration"  # nanoseconds
    FLAGS = "flags"  # names joined by "|"


class Multiplicity(Enum):
    """How many values a field holds and what a comparison with it means."""

    ONE = "one"
    ANY = "any"  # either end, any ancestor: holds if it holds for one member; `!=` if no member is equal
    LIST = "list"  # list type: `in` every member, `intersects` one, `exists`


class Argument(Enum):
    """Whether ``field[argument]`` is written."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class ArgumentKind(Enum):
    INDEX = "index"  # a number from 0
    KEY = "key"  # a name, a path, a glob


class Stage(Enum):
    """Where the earliest exact or conservative test of the field can be made."""

    KERNEL = "kernel"
    PROCESS = "process"  # changes only with the process: once a process, in user space
    USER = "user"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the rule language.

    ``multiplicity`` holds for the field without argument; with an argument it is always ONE.
    ``names_file`` marks the fields that change between an event's views (see ``Event.views``).
    """

    name: str
    type: FieldType
    meaning: str
    sources: frozenset[str] = frozenset({"syscall"})
    multiplicity: Multiplicity = Multiplicity.ONE
    argument: Argument = Argument.NONE
    argument_kind: ArgumentKind = ArgumentKind.KEY
    stage: Stage = Stage.USER
    names_file: bool = False


FAMILIES: tuple[str, ...] = (
    "evt.arg",
    "evt.rawarg",
    "thread.cgroup",
    "container.label",
    "k8s.pod.label",
    "k8s.pod.annotation",
    "k8s.ns.label",
    "k8s.node.label",
)
"""Fields whose argument may be written after a dot too: ``evt.arg.flags`` is ``evt.arg[flags]``."""


def key(name: str, argument: str | None) -> str:
    """The key of a field in an event: the bare name without argument, ``proc.aname[2]`` with one.

    A member of a family has one key for both spellings, the dotted one: ``evt.arg.flags``.
    """
    if argument is None:
        return name
    return f"{name}.{argument}" if name in FAMILIES else f"{name}[{argument}]"
