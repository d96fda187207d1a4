"""What rules ask of an event, before there is one: the event types they can match and the fields they read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tiercel_engine.condition import And, Atom, FieldOperand, Node, Not, Operator, Or
from tiercel_engine.evaluation.operators import test_of
from tiercel_engine.evaluation.walk import atom_fields, postorder
from tiercel_engine.event_types import EVENT_TYPES
from tiercel_engine.rendering.output import compile_output
from tiercel_engine.rule import Rule

EVENT_TYPE = "evt.type"


def tests_event_type(atom: Atom) -> bool:
    """Whether the atom compares ``evt.type`` itself with constants, so that the type alone decides it."""
    return isinstance(atom.left, FieldOperand) and atom.left.key == EVENT_TYPE and isinstance(atom.right, tuple)


def named_event_types(node: Node) -> frozenset[str]:
    """The event types that the condition names."""
    return frozenset(
        constant
        for atom in postorder(node)
        if isinstance(atom, Atom) and tests_event_type(atom) and isinstance(atom.right, tuple)
        for constant in atom.right
        if isinstance(constant, str) and atom.operator in (Operator.EQ, Operator.NE, Operator.IN, Operator.INTERSECTS)
    )


def event_types(node: Node, source: str) -> frozenset[str] | None:
    """The event types of ``source`` that the condition can possibly match; None if that is every one.

    Types that the condition names and the source doesn't have are in the answer too. An atom on
    anything but ``evt.type`` may hold or not. Takes time linear in the distinct nodes.
    """
    known = EVENT_TYPES.get(source)
    if known is None:
        return None
    universe = sorted(known | named_event_types(node))
    everything = (1 << len(universe)) - 1
    # Of each node, as bit sets over the universe: the types under which it may be true, and may be false.
    truth: dict[int, tuple[int, int]] = {}
    for inner in postorder(node):
        match inner:
            case Atom() if tests_event_type(inner):
                test = test_of(inner)
                true = sum(1 << bit for bit, name in enumerate(universe) if test(name))
                truth[id(inner)] = true, everything & ~true
            case Atom():
                truth[id(inner)] = everything, everything
            case Not(operand):
                true, false = truth[id(operand)]
                truth[id(inner)] = false, true
            case And(operands):
                true, false = everything, 0
                for operand in operands:
                    true &= truth[id(operand)][0]
                    false |= truth[id(operand)][1]
                truth[id(inner)] = true, false
            case Or(operands):
                true, false = 0, everything
                for operand in operands:
                    true |= truth[id(operand)][0]
                    false &= truth[id(operand)][1]
                truth[id(inner)] = true, false
    possible = {name for bit, name in enumerate(universe) if truth[id(node)][0] >> bit & 1}
    return None if possible >= known else frozenset(possible)


def fields(node: Node) -> frozenset[str]:
    """The keys (``proc.aname[2]``) that the condition reads."""
    return frozenset(operand.key for atom in postorder(node) if isinstance(atom, Atom) for operand in atom_fields(atom))


_HOST_NAME_FIELDS = frozenset({"fd.cip.name", "fd.sip.name", "fd.lip.name", "fd.rip.name"})


def host_names(node: Node) -> frozenset[str]:
    """The constants that the condition compares the host names of addresses with."""
    return frozenset(
        constant
        for atom in postorder(node)
        if isinstance(atom, Atom) and isinstance(atom.left, FieldOperand) and isinstance(atom.right, tuple)
        if atom.left.key in _HOST_NAME_FIELDS
        for constant in atom.right
        if isinstance(constant, str)
    )


@dataclass(frozen=True, slots=True)
class Requirements:
    """What several rules of one source need together."""

    event_types: frozenset[str] | None
    """As from ``event_types``: None if some rule takes every type."""
    condition_fields: frozenset[str]
    """Keys that conditions read: needed for every event."""
    output_fields: frozenset[str]
    """Keys that outputs read: needed only once a rule has matched."""
    host_names: frozenset[str] = frozenset()
    """Names that addresses are compared with: someone has to resolve them."""

    @classmethod
    def of(cls, rules: Iterable[Rule], source: str = "syscall") -> Requirements:
        """The requirements of the enabled rules of a source. Outputs were checked when the rules were loaded."""
        types: frozenset[str] | None = frozenset()
        read: set[str] = set()
        printed: set[str] = set()
        names: set[str] = set()
        for rule in rules:
            if not rule.enabled or rule.source != source:
                continue
            possible = event_types(rule.condition, source)
            types = None if types is None or possible is None else types | possible
            read |= fields(rule.condition)
            names |= host_names(rule.condition)
            printed |= compile_output(rule.output).fields
        return cls(types, frozenset(read), frozenset(printed), frozenset(names))
