"""Short ways to write typed conditions, rules and events."""

from __future__ import annotations

from typing import Any

from tiercel_engine.condition import Atom, Constant, FieldOperand, Node, Operand, Operator, Quantifier
from tiercel_engine.diagnostics import Location
from tiercel_engine.event import Event
from tiercel_engine.fields import lookup
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.priority import Priority
from tiercel_engine.rule import Rule


def operand(key: str) -> FieldOperand:
    """The operand of a key: ``proc.aname[2]``."""
    name, bracket, argument = key.partition("[")
    field = lookup(name)
    assert field is not None, name
    return FieldOperand(field, argument[:-1] if bracket else None)


def atom(
    left: str | Any, operator: str, *constants: Constant, right: Operand | None = None, quantifier: str | None = None
) -> Atom:
    return Atom(
        operand(left) if isinstance(left, str) else left,
        Operator(operator),
        constants if right is None else right,
        Quantifier(quantifier) if quantifier else None,
    )


def rule(condition: Node, name: str = "a rule", source: str = "syscall", **changes: Any) -> Rule:
    return Rule(
        name,
        "",
        source,
        Priority.WARNING,
        condition,
        changes.pop("output", ""),
        (),
        Location("r.yaml", 1, 1),
        **changes,
    )


def event(fields: dict[str, Any], source: str = "syscall") -> Event:
    return Event(source, 1_700_000_000_123_456_789, {"evt.type": "openat", **fields})


def holds(condition: Node, **fields: Any) -> bool:
    """Whether the condition matches an event with these fields, given as ``fd_name=…``."""
    values = {name.replace("_", ".", 1): value for name, value in fields.items()}
    return holds_for(condition, values)


def holds_for(condition: Node, fields: dict[str, Any]) -> bool:
    return bool(Matcher([rule(condition)]).match(event(fields)))
