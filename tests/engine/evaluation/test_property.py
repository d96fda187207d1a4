"""The generated code against an interpreter that is slow and obvious, on random conditions and events."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from engine_support.evaluation import atom, event, operand, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from tiercel_engine.condition import And, Atom, FieldOperand, Node, Not, Operator, Or, Quantifier
from tiercel_engine.event_types import SYSCALL_EVENT_TYPES
from tiercel_engine.fields import FieldType, Multiplicity
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import event_types, fields

# The interpreter


def expected(node: Node, values: dict[str, Any]) -> bool:
    match node:
        case And(operands):
            return all(expected(inner, values) for inner in operands)
        case Or(operands):
            return any(expected(inner, values) for inner in operands)
        case Not(inner):
            return not expected(inner, values)
        case Atom():
            return atom_holds(node, values)


def atom_holds(node: Atom, values: dict[str, Any]) -> bool:
    assert isinstance(node.left, FieldOperand)
    left = values.get(node.left.key)
    if left is None or left == []:
        return False
    if node.operator is Operator.EXISTS:
        return True
    if isinstance(node.right, tuple):
        constants = list(node.right)
    else:
        assert isinstance(node.right, FieldOperand)
        right = values.get(node.right.key)
        if right is None or right == []:
            return False
        constants = right if isinstance(right, list) else [right]
    members = left if isinstance(left, list) else [left]

    def member_holds(member: Any, operator: Operator = node.operator) -> bool:
        results = [compare(member, operator, constant, node.left.type) for constant in constants]
        if node.quantifier is Quantifier.ALL_OF:
            return bool(results) and all(results)
        if node.quantifier is Quantifier.ONE_OF:
            return results.count(True) == 1
        return any(results)

    every = node.operator is Operator.NE or (
        node.operator is Operator.IN and node.left.multiplicity is Multiplicity.LIST
    )
    return all(map(member_holds, members)) if every else any(map(member_holds, members))


def compare(value: Any, operator: Operator, constant: Any, kind: FieldType) -> bool:  # noqa: PLR0912
    if kind in (FieldType.ADDRESS, FieldType.NETWORK):
        inside = address_equals(value, constant)
        return not inside if operator is Operator.NE else inside
    match operator:
        case Operator.EQ | Operator.IN | Operator.INTERSECTS:
            return value == constant
        case Operator.NE:
            return value != constant
        case Operator.LT:
            return value < constant
        case Operator.LE:
            return value <= constant
        case Operator.GT:
            return value > constant
        case Operator.GE:
            return value >= constant
        case Operator.CONTAINS | Operator.BCONTAINS:
            return constant in value
        case Operator.ICONTAINS:
            return constant.lower() in value.lower()
        case Operator.STARTSWITH | Operator.BSTARTSWITH:
            return value[: len(constant)] == constant
        case Operator.ENDSWITH:
            return len(value) >= len(constant) and value[len(value) - len(constant) :] == constant
        case Operator.GLOB:
            return fnmatchcase(value, constant)
        case Operator.IGLOB:
            return fnmatchcase(value.lower(), constant.lower())
        case Operator.REGEX:
            return re.fullmatch(constant, value, re.DOTALL) is not None
        case Operator.PMATCH:
            path, prefix = ([part for part in text.split("/") if part] for text in (value, constant))
            return len(path) >= len(prefix) and all(map(fnmatchcase, path, prefix))
    raise AssertionError(operator)


def address_equals(value: str, constant: Any) -> bool:
    address = ip_address(value)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if isinstance(constant, (IPv4Network, IPv6Network)):
        return address in constant
    other = ip_address(constant) if isinstance(constant, str) else constant
    if isinstance(other, IPv6Address) and other.ipv4_mapped:
        other = other.ipv4_mapped
    return address == other


# Random conditions and events

TEXTS = ["", "a", "ab", "/a/b", "/ab", "A", "a\nb"]
ADDRESSES = ["10.0.0.1", "10.1.2.3", "::ffff:10.0.0.1", "::1", "fe80::5"]
TYPES = ["open", "openat", "connect", "execve", "nonsense"]
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "evt.type": st.sampled_from(TYPES),
    "proc.name": st.sampled_from(TEXTS),
    "proc.pname": st.sampled_from(TEXTS),
    "proc.aname": st.lists(st.sampled_from(TEXTS), max_size=3),
    "proc.aname[2]": st.sampled_from(TEXTS),
    "fd.types": st.lists(st.sampled_from(TEXTS), max_size=3),
    "fd.num": st.integers(-2, 2),
    "evt.is_open_read": st.booleans(),
    "fd.sip": st.sampled_from(ADDRESSES),
    "fd.ip": st.lists(st.sampled_from(ADDRESSES), max_size=2),
    "fd.net": st.lists(st.sampled_from(ADDRESSES), max_size=2),
    "fd.port": st.lists(st.integers(0, 3), max_size=2),
    "evt.buffer": st.binary(max_size=2),
}
STRING_OPERATORS = ["=", "!=", "contains", "icontains", "startswith", "endswith"]
TEXT = st.sampled_from(TEXTS)


@st.composite
def atoms(draw: st.DrawFn, keys: list[str]) -> Atom:
    key = draw(st.sampled_from(keys))
    field = operand(key)
    if draw(st.integers(0, 9)) == 0:
        return atom(key, "exists")
    if field.multiplicity is Multiplicity.LIST:
        return atom(key, draw(st.sampled_from(["in", "intersects"])), *draw(st.lists(TEXT, max_size=4)))
    match field.type:
        case FieldType.STRING:
            return draw(string_atoms(key))
        case FieldType.INTEGER | FieldType.PORT:
            operator = draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">="]))
            return atom(key, operator, draw(st.integers(-1, 2)))
        case FieldType.BOOLEAN:
            return atom(key, draw(st.sampled_from(["=", "!="])), draw(st.booleans()))
        case FieldType.BYTES:
            operator = draw(st.sampled_from(["=", "!=", "bcontains", "bstartswith", "endswith"]))
            return atom(key, operator, draw(st.binary(max_size=1)))
        case FieldType.ADDRESS:
            constants: Any = st.sampled_from(ADDRESSES).map(ip_address)
        case _:
            constants = st.sampled_from(["10.0.0.0/8", "10.0.0.0/31", "::/0", "fe80::/10"]).map(ip_network)
    if draw(st.booleans()):
        return atom(
            key, draw(st.sampled_from(["in", "intersects"])), *draw(st.lists(constants, min_size=1, max_size=3))
        )
    return atom(key, draw(st.sampled_from(["=", "!="])), draw(constants))


@st.composite
def string_atoms(draw: st.DrawFn, key: str) -> Atom:
    form = draw(st.integers(0, 6))
    if form == 0:
        return atom(key, draw(st.sampled_from(["in", "intersects", "pmatch"])), *draw(st.lists(TEXT, max_size=4)))
    if form == 1:
        return atom(key, draw(st.sampled_from(["glob", "iglob"])), draw(st.text("aB/*?", max_size=4)))
    if form == 2:
        return atom(key, "regex", draw(st.sampled_from(["a.b", "/.*", "[ab]+", ".*", "(?i)A"])))
    if form == 3:
        quantifier = draw(st.sampled_from(["oneof", "anyof", "allof"]))
        constants = draw(st.lists(TEXT, min_size=1, max_size=3))
        return atom(key, draw(st.sampled_from(STRING_OPERATORS)), *constants, quantifier=quantifier)
    if form == 4:
        return atom(key, draw(st.sampled_from(STRING_OPERATORS)), right=operand("proc.pname"))
    return atom(key, draw(st.sampled_from(STRING_OPERATORS)), draw(TEXT))


def above(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(inner, min_size=2, max_size=4).map(tuple)
    none_of = several.map(lambda nodes: And(tuple(map(Not, nodes))))
    return st.one_of(several.map(And), several.map(Or), inner.map(Not), none_of)


def conditions_on(keys: list[str]) -> st.SearchStrategy[Node]:
    return st.recursive(atoms(keys), above, max_leaves=12)


# Conditions on few fields, so that what tests the same field meets.
CONDITIONS = st.lists(st.sampled_from(list(KEYS)), min_size=1, max_size=3).flatmap(conditions_on)
EVENTS = st.fixed_dictionaries({}, optional={key: values | st.none() for key, values in KEYS.items()})


@settings(max_examples=200)
@given(st.lists(CONDITIONS, min_size=1, max_size=6), st.lists(EVENTS, min_size=1, max_size=4))
def test_rules_match_what_the_interpreter_says(conditions: list[Node], events: list[dict[str, Any]]) -> None:
    # Every condition stands twice, once shared by identity as macros are.
    conditions = [
        *conditions,
        *(And((first, second)) for first, second in zip(conditions, conditions[::-1], strict=True)),
    ]
    rules = [rule(condition, name=str(position)) for position, condition in enumerate(conditions)]
    matcher, first = Matcher(rules), Matcher(rules, first_only=True)
    for values in events:
        made = event({"evt.type": None, **values})
        wanted = [one.name for one in rules if expected(one.condition, values)]
        assert [matched.name for matched, _ in matcher.match(made)] == wanted
        assert [matched.name for matched, _ in first.match(made)] == wanted[:1]


@given(CONDITIONS, EVENTS)
def test_an_event_of_a_type_that_is_ruled_out_never_matches(condition: Node, values: dict[str, Any]) -> None:
    possible = event_types(condition, "syscall")
    ruled_out = SYSCALL_EVENT_TYPES - possible
    for name in ruled_out.intersection([*TYPES, "close"]):
        assert not expected(condition, {**values, "evt.type": name})


class Watched(dict[str, Any]):
    """Values that know which of them were read."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


@given(CONDITIONS, EVENTS)
def test_the_fields_that_a_condition_reads_are_known_ahead(condition: Node, values: dict[str, Any]) -> None:
    watched = Watched(values)
    expected(condition, watched)
    assert watched.read <= fields(condition)
