"""The typed condition: what the exact evaluator and the kernel compiler both take.

Macros are expanded, lists replaced, exceptions folded in; every field is known, every operator
fits its field's type, every constant has been read. Nodes are shared (a macro used twice is one
object), so a walk that must stay linear remembers nodes by identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from tiercel_engine.fields.model import Field, FieldType, Multiplicity, key

Constant = str | int | float | bool | bytes | IPv4Address | IPv6Address | IPv4Network | IPv6Network


class Operator(Enum):
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
    field: Field
    argument: str | None = None

    @property
    def key(self) -> str:
        """The key in an ``Event``."""
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
    """``left operator right``. ``right`` is empty for ``exists``; constants, one for an operator that
    takes one value, none where a list is empty (which nothing is in); or one operand for
    ``val(field)`` and transformers on the right."""

    left: FieldOperand | Transformed
    operator: Operator
    right: tuple[Constant, ...] | Operand = ()
    quantifier: Quantifier | None = None


@dataclass(frozen=True, slots=True)
class And:
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    operand: Node


Node = Atom | And | Or | Not
