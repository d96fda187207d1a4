"""What rules need of events, known before any event: the event types that they can match, the fields they read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tiercel_engine.condition import And, Atom, Constant, FieldOperand, ListConstants, Node, Not, Operator, Or
from tiercel_engine.evaluation.operators import compile_test
from tiercel_engine.evaluation.walk import atom_fields, postorder
from tiercel_engine.event_types import EVENT_TYPES, OBSERVABLE
from tiercel_engine.rendering.output import compile_output
from tiercel_engine.rule import Rule

EVENT_TYPE = "evt.type"
_EVENT_TYPES: frozenset[Constant] = frozenset().union(*OBSERVABLE.values())


def tests_event_type(atom: Atom) -> bool:
    """Whether the atom compares ``evt.type`` with constants, so that the event type alone decides it."""
    return isinstance(atom.left, FieldOperand) and atom.left.key == EVENT_TYPE and isinstance(atom.right, tuple)


def named_event_types(node: Node) -> frozenset[str]:
    """The event types that the condition names; of a long list only those that some source has. A pattern names those
    that it matches."""
    return frozenset(
        name
        for atom in postorder(node)
        if isinstance(atom, Atom) and tests_event_type(atom) and isinstance(atom.right, tuple)
        for name in (_constants(atom.right) if atom.operator in _BY_NAME else filter(compile_test(atom), _EVENT_TYPES))
        if isinstance(name, str)
    )


_BY_NAME = (Operator.EQ, Operator.NE, Operator.IN, Operator.INTERSECTS, Operator.EXISTS)


def _constants(right: tuple[Constant, ...]) -> Iterable[Constant]:
    return _EVENT_TYPES & right.members if isinstance(right, ListConstants) else right


def event_types(node: Node, source: str) -> frozenset[str]:
    """The event types of ``source`` that the condition can match, of the usual ones and of those that it names.

    Types that the condition names but the source does not have are included. An atom that tests anything but
    ``evt.type`` counts as one that may hold or not. The time is linear in the number of distinct nodes.
    """
    universe = sorted(EVENT_TYPES.get(source, frozenset()) | named_event_types(node))
    everything = (1 << len(universe)) - 1
    # For each node two bit sets over the universe: the types for which it may be true, and for which it may be false.
    truth: dict[int, tuple[int, int]] = {}
    for inner in postorder(node):
        match inner:
            case Atom() if tests_event_type(inner):
                test = compile_test(inner)
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
    return frozenset(name for bit, name in enumerate(universe) if truth[id(node)][0] >> bit & 1)


def fields(node: Node) -> frozenset[str]:
    """The keys of the fields that the condition reads, such as ``proc.aname[2]``."""
    return frozenset(operand.key for atom in postorder(node) if isinstance(atom, Atom) for operand in atom_fields(atom))


_HOST_NAME_FIELDS = frozenset({"fd.cip.name", "fd.sip.name", "fd.lip.name", "fd.rip.name"})


def host_names(nodes: Iterable[Node]) -> frozenset[str]:
    """The host names that the conditions compare with those of addresses. A list that several name is read once."""
    compared = {
        id(atom.right): atom.right
        for node in nodes
        for atom in postorder(node)
        if isinstance(atom, Atom) and isinstance(atom.left, FieldOperand) and isinstance(atom.right, tuple)
        if atom.left.key in _HOST_NAME_FIELDS
    }
    return frozenset(constant for right in compared.values() for constant in right if isinstance(constant, str))


@dataclass(frozen=True, slots=True)
class Requirements:
    """What several rules of one event source need together."""

    event_types: frozenset[str]
    """The event types that the rules can match."""
    condition_fields: frozenset[str]
    """The keys that conditions read; they are needed for every event."""
    output_fields: frozenset[str]
    """The keys that outputs read; they are needed only after a rule has matched."""
    host_names: frozenset[str] = frozenset()
    """Host names that are compared with those of addresses, and therefore have to be resolved."""

    @classmethod
    def of(cls, rules: Iterable[Rule], source: str = "syscall") -> Requirements:
        """The requirements of the enabled rules of a source. Their outputs are valid: loading has checked them."""
        types: set[str] = set()
        read: set[str] = set()
        printed: set[str] = set()
        concerned = [rule for rule in rules if rule.enabled and rule.source == source]
        for rule in concerned:
            types |= event_types(rule.condition, source)
            read |= fields(rule.condition)
            printed |= compile_output(rule.output).fields
        names = host_names(rule.condition for rule in concerned)
        return cls(frozenset(types), frozenset(read), frozenset(printed), names)
