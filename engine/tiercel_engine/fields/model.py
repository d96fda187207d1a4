"""The properties of a field in the registry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FieldType(Enum):
    """The type of a field's value. It decides which operators and constants fit."""

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
    """How many values a field has, and what a comparison with it means."""

    ONE = "one"
    ANY = "any"  # any ancestor, either end: a comparison holds if one value fits, `!=` if no value is equal
    LIST = "list"  # takes `in` (every member is in the set), `intersects` (one member is) and `exists` only


class Argument(Enum):
    """Whether the field takes an argument: ``field[argument]``."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class ArgumentKind(Enum):
    """What the argument of a field is."""

    INDEX = "index"  # a number from 0
    KEY = "key"  # a name, a path
    GLOB = "glob"  # a number from 0, or a glob


class Stage(Enum):
    """Where the field can be tested first, either exactly or so that no match is missed."""

    KERNEL = "kernel"
    PROCESS = "process"  # changes only with the process, so it is tested once for each process, in user space
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
"""Fields whose argument may also be written after a dot: ``evt.arg.flags`` is ``evt.arg[flags]``."""


def key(name: str, argument: str | None) -> str:
    """The key of a field in an event: its name, or with an argument ``proc.aname[2]``.

    A member of a family has one key for both spellings, the dotted one: ``evt.arg.flags``.
    """
    if argument is None:
        return name
    return f"{name}.{argument}" if name in FAMILIES else f"{name}[{argument}]"
