"""The typed condition, the input of both the exact evaluator and the compiler of the kernel's filter.

Macros are expanded, lists are replaced by their items, and exceptions are part of the condition. Every field is
known, every operator fits the type of its field, and every constant has been read. Nodes are shared: a macro that is
used twice is one object. A walk that must take linear time therefore remembers the nodes that it has visited, by
identity.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from tiercel_engine.fields.model import Field, FieldType, Multiplicity, key

Constant = str | int | float | bool | bytes | IPv4Address | IPv6Address | IPv4Network | IPv6Network


class ListConstants(tuple[Constant, ...]):
    """The constants of a long list: one object, which all comparisons that name the list share.

    Nothing that is done for each comparison may go through them one by one: a list can have 100,000 items, and
    thousands of comparisons can name it. What is made of them is made once, and kept here.
    """

    @cached_property
    def members(self) -> frozenset[Constant]:
        """The constants as a set."""
        return frozenset(self)

    @cached_property
    def made(self) -> dict[Hashable, Any]:
        """What else was made of all constants, such as a test, by what it is and what it depends on."""
        return {}


class Operator(Enum):
    """The operators of the rule language, as they are written."""

    EXISTS = "exists"
    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    CONTAINS = "contains"
    ICONTAINS = "icontains"
    BCONTAINS = "bcontains"
    STARTSWITH = "startswith"
    BSTARTSWITH = "bstartswith"
    ENDSWITH = "endswith"
    GLOB = "glob"
    IGLOB = "iglob"
    REGEX = "regex"
    IN = "in"
    INTERSECTS = "intersects"
    PMATCH = "pmatch"


class Quantifier(Enum):
    """``startswith oneof (a, b)``: how the constants of one comparison combine."""

    ONE_OF = "oneof"
    ANY_OF = "anyof"
    ALL_OF = "allof"


@dataclass(frozen=True, slots=True)
class FieldOperand:
    """A field, with its argument if one is written: ``proc.name``, ``proc.aname[2]``."""

    field: Field
    argument: str | None = None

    @property
    def key(self) -> str:
        """The key of the field's value in an ``Event``."""
        return key(self.field.name, self.argument)

    @property
    def type(self) -> FieldType:
        return self.field.type

    @property
    def multiplicity(self) -> Multiplicity:
        return self.field.multiplicity if self.argument is None else Multiplicity.ONE


@dataclass(frozen=True, slots=True)
class Transformed:
    """A transformer applied to operands: ``tolower(proc.name)``, ``join("-", a, b)``."""

    name: str
    operands: tuple[Operand, ...]
    type: FieldType
    multiplicity: Multiplicity


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant as an operand of a transformer: the separator of ``join``."""

    value: Constant
    type: FieldType
    multiplicity: Multiplicity = Multiplicity.ONE


Operand = FieldOperand | Transformed | Literal


@dataclass(frozen=True, slots=True)
class Atom:
    """One comparison, ``left operator right``.

    ``right`` is empty for ``exists``. Otherwise it holds the constants: exactly one for an operator that takes one
    value, and none for an empty list, in which no value is. For ``val(field)`` and for transformers on the right it
    is one operand. ``undecided`` is None, except in bounds of a condition (``evaluation.uncertainty``): there it is
    what the atom counts as where a value is known only in part, and the missing part decides.
    """

    left: FieldOperand | Transformed
    operator: Operator
    right: tuple[Constant, ...] | Operand = ()
    quantifier: Quantifier | None = None
    undecided: bool | None = None


@dataclass(frozen=True, slots=True)
class And:
    """Holds if all operands hold."""

    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Holds if at least one operand holds."""

    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Holds if the operand does not hold."""

    operand: Node


Node = Atom | And | Or | Not
