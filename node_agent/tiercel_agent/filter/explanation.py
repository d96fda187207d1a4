"""Where each test of a rule is made, in the kernel or in user space, and whether the rule is expensive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tiercel_agent.events.syscalls import SYSCALLS, Syscall
from tiercel_agent.filter.clauses import Clauses, make_clauses
from tiercel_agent.filter.decidability import Signal, decidable_fields
from tiercel_agent.filter.expense import Expense, expenses
from tiercel_engine.condition import And, Atom, Node, Not, Or
from tiercel_engine.event_types import SYSCALL_EVENT_TYPES
from tiercel_engine.language.printer import print_node
from tiercel_engine.matching.requirements import event_types, tests_event_type
from tiercel_engine.rule import Rule

KERNEL, PROCESS, USER = "kernel", "process", "user space"
_ALWAYS_REPORTED = frozenset({"execve", "execveat", "procexit"})
"""Calls that always come to user space, whatever the rules are: the process table is kept from them."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a condition: ``all of``, ``any of`` or a test. Only a test has a ``place``, where it is made, and
    ``elsewhere``, the calls for which it is made at another place."""

    depth: int
    text: str
    place: str = ""
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one rule is evaluated. ``calls`` are the names of the calls that it may match.

    For the calls in ``decided`` the kernel alone decides whether the rule matches, provided that it knows the process.
    The calls in ``always_reported`` come to user space whatever the rules are.
    """

    rule: Rule
    calls: tuple[str, ...]
    lines: tuple[Line, ...]
    decided: tuple[str, ...]
    always_reported: tuple[str, ...]
    expense: Expense | None


def explain(rules: Sequence[Rule]) -> list[Explanation]:
    """How these rules are evaluated together."""
    clauses = make_clauses(rules)
    costs = expenses(clauses, len(rules))
    exact = _decided(clauses, len(rules))
    explained = []
    for position, rule in enumerate(rules):
        types = event_types(rule.condition, "syscall")
        calls = [call for call in SYSCALLS if call.name in types]
        others = tuple(call.name for call in calls if call.name not in SYSCALL_EVENT_TYPES)
        names = ("all", *others) if types >= SYSCALL_EVENT_TYPES else tuple(call.name for call in calls)
        always_reported = tuple(call.name for call in calls if call.name in _ALWAYS_REPORTED)
        decided = tuple(
            call.name for call in calls if call.name in exact[position] and call.name not in _ALWAYS_REPORTED
        )
        lines = tuple(_lines(rule.condition, calls))
        explained.append(Explanation(rule, names, lines, decided, always_reported, costs.get(position)))
    return explained


def _decided(clauses: Clauses, rules: int) -> list[set[str]]:
    """By rule, the calls for which all of its clauses are exact."""
    decided: list[set[str]] = [set() for _ in range(rules)]
    for partition in clauses.partitions:
        inexact = {clause.rule for clause in partition.clauses if not clause.exact}
        for rule in {clause.rule for clause in partition.clauses} - inexact - {-1}:
            decided[rule].update(call.name for call in partition.calls)
    return decided


def _lines(root: Node, calls: Sequence[Syscall]) -> list[Line]:
    """The condition as a tree of lines from the top down, made without recursion."""
    lines = []
    stack: list[tuple[Node, int, str]] = [(root, 0, "")]
    while stack:
        node, depth, before = stack.pop()
        match node:
            case Not(operand):
                stack.append((operand, depth, f"{before}not "))
            case And(operands) | Or(operands):
                lines.append(Line(depth, f"{before}{'all' if isinstance(node, And) else 'any'} of"))
                stack.extend((operand, depth + 1, "") for operand in reversed(_flat(type(node), operands)))
            case Atom():
                lines.append(Line(depth, before + print_node(node), *_place(node, calls)))
    return lines


def _flat(kind: type, operands: Sequence[Node]) -> list[Node]:
    """The operands, where each junction of the same kind among them is replaced by its own operands."""
    flat: list[Node] = []
    stack = list(reversed(operands))
    while stack:
        node = stack.pop()
        if isinstance(node, And | Or) and isinstance(node, kind):
            stack.extend(reversed(node.operands))
        else:
            flat.append(node)
    return flat


def _place(atom: Atom, calls: Sequence[Syscall]) -> tuple[str, str]:
    if tests_event_type(atom):
        return KERNEL, ""
    by_place: dict[str, list[str]] = {}
    for call in calls:
        signal = decidable_fields(call).signal_for(atom)
        place = USER if signal is None else PROCESS if signal in (Signal.OWN, Signal.PROCESS) else KERNEL
        by_place.setdefault(place, []).append(call.name)
    if not by_place:
        return USER, ""
    most = max(by_place, key=lambda place: len(by_place[place]))
    others = [f"{place} for {', '.join(names)}" for place, names in by_place.items() if place != most]
    return most, "; ".join(others)
