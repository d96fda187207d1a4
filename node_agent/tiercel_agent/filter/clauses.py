"""Rules cut into clauses, each a conjunction of parts that one look of the kernel decides, wherever that can be had.

``a and (b or c)`` is the clauses ``a and b``, ``a and c`` if ``b`` and ``c`` are decided by different looks; where
there would be too many clauses it stays one, of which the kernel rules out less. Calls for which the rules come out
alike share a *space*: a range of clause numbers.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tiercel_agent.events.syscalls import SYSCALLS, Syscall, known_numbers
from tiercel_agent.filter.decidability import OF_NAMES, Determined, Look, determined_by
from tiercel_agent.filter.name_tests import NameTest, name_test
from tiercel_engine.condition import Atom
from tiercel_engine.evaluation.graph import FALSE, TRUE, Graph, Junction, Negation
from tiercel_engine.evaluation.operators import test_of
from tiercel_engine.matching.requirements import tests_event_type
from tiercel_engine.rule import Rule

MOST_CLAUSES = 64 * 64
"""In a space (MAX_WORDS of bpf/decide.h)."""
_MOST_OF_A_RULE = 16
_DEEPEST = 60
_MOST_PARTS = 2000
"""Conditions of more nodes than this aren't cut up, nor is anything of them decided in the kernel but the type."""


@dataclass(frozen=True, slots=True)
class Clause:
    """``rule`` is the rule's position; ``parts`` are nodes of the graph, all of which have to hold.

    ``exact``: ``looks`` decide it, given that they know what they look at.
    """

    rule: int
    parts: tuple[int, ...]
    exact: bool
    looks: frozenset[Look] = frozenset()


@dataclass(frozen=True, eq=False)
class Space:
    """The clauses of calls for which the rules come out alike. ``looks``: what decides each atom of the clauses."""

    calls: tuple[Syscall, ...]
    determined: Determined
    clauses: tuple[Clause, ...]
    looks: Mapping[int, Look]

    @cached_property
    def words(self) -> int:
        return -(-len(self.clauses) // 64)

    @cached_property
    def asks_for_names(self) -> bool:
        return not OF_NAMES.isdisjoint(self.looks.values())

    @cached_property
    def asks_for_raw_names(self) -> bool:
        return not {Look.RAW_NAME, Look.RAW_FLOATING_NAME}.isdisjoint(self.looks.values())

    def numbers(self) -> list[int]:
        """The numbers by which the calls are known on this machine."""
        return [number for call in self.calls for number in known_numbers(call, platform.machine())]


@dataclass(frozen=True, slots=True)
class Clauses:
    """All rules as clauses. ``left_out`` are rules that were too many for the kernel to look at one by one."""

    graph: Graph
    spaces: tuple[Space, ...]
    name_tests: Mapping[int, NameTest]
    """By atom: those that are decided by a file's name, as it is or as it was passed."""
    left_out: tuple[str, ...]

    @property
    def note(self) -> str:
        """What is to be said of rules that were left out; "" if none were."""
        if not self.left_out:
            return ""
        first, more = self.left_out[0], len(self.left_out) - 1
        others = f" and {more} more" if more else ""
        return f"too many rules for the kernel, every call that they ask for goes to user space: {first}{others}"


def cut(rules: Sequence[Rule], calls: Sequence[Syscall] = SYSCALLS) -> Clauses:
    """The clauses of these rules for these calls. Calls that no rule can match are in no space."""
    graph = Graph()
    roots = [graph.add(rule.condition) for rule in rules]
    types = [
        (number, test_of(part))
        for number, part in enumerate(graph.parts)
        if isinstance(part, Atom) and tests_event_type(part)
    ]
    alike: dict[tuple[tuple[tuple[int, int], ...], Determined], list[Syscall]] = {}
    for call in calls:
        folded = graph.fold(roots, {number: test(call.name) for number, test in types})
        left = tuple((rule, folded[root]) for rule, root in enumerate(roots) if folded[root] != FALSE)
        if left:
            alike.setdefault((left, determined_by(call)), []).append(call)
    spaces = []
    left_out: dict[str, None] = {}
    for (left, determined), of_space in alike.items():
        cutter = _Cutter(graph, determined)
        clauses: list[Clause] = []
        for rule, root in left:
            of_rule = cutter.clauses(rule, root)
            if len(clauses) + len(of_rule) >= MOST_CLAUSES:
                left_out[rules[rule].key] = None
            else:
                clauses += of_rule
        if left_out:
            clauses.append(Clause(-1, (), False))
        spaces.append(Space(tuple(of_space), determined, tuple(clauses), cutter.looks_of(clauses)))
    tests: dict[int, NameTest] = {}
    for space in spaces:
        for atom, look in space.looks.items():
            if look in OF_NAMES and atom not in tests:
                part = graph.parts[atom]
                assert isinstance(part, Atom)
                test = name_test(part)
                assert test is not None
                tests[atom] = test
    return Clauses(graph, tuple(spaces), tests, tuple(left_out))


class _Cutter:
    """Cuts conditions under what is determined for one kind of call."""

    def __init__(self, graph: Graph, determined: Determined) -> None:
        self._graph = graph
        self._determined = determined
        self._looks: dict[int, Look | None] = {}
        self._under: dict[int, frozenset[Look | None]] = {}

    def clauses(self, rule: int, root: int) -> list[Clause]:
        if len(self._graph.reachable([root])) > _MOST_PARTS:
            return [Clause(rule, (root,), False)]
        found = []
        for parts in self._alternatives(root):
            whole = tuple(dict.fromkeys(part for part in parts if part != TRUE))
            exact = all(len(self._looks_under(part)) == 1 and self._is_exact(part) for part in whole)
            looks = frozenset(look for part in whole for look in self._looks_under(part) if look is not None)
            found.append(Clause(rule, whole, exact, looks))
        return found

    def looks_of(self, clauses: Sequence[Clause]) -> dict[int, Look]:
        """The atoms of these clauses that a look decides."""
        reachable = self._graph.reachable(part for clause in clauses for part in clause.parts)
        return {
            number: look
            for number in reachable
            if isinstance(self._graph.parts[number], Atom) and (look := self._look(number)) is not None
        }

    def _look(self, number: int) -> Look | None:
        if number not in self._looks:
            part = self._graph.parts[number]
            assert isinstance(part, Atom)
            self._looks[number] = self._determined.look_at(part)
        return self._looks[number]

    def _looks_under(self, node: int) -> frozenset[Look | None]:
        if node not in self._under:
            for number in sorted(self._graph.reachable([node])):
                if number in self._under:
                    continue
                part = self._graph.parts[number]
                if isinstance(part, Atom):
                    # a process is looked at as a whole
                    look = self._look(number)
                    self._under[number] = frozenset({Look.PROCESS if look is Look.OWN else look})
                else:
                    below = [self._under[operand] for operand in self._graph.operands(number)]
                    self._under[number] = frozenset[Look | None]().union(*below)
        return self._under[node]

    def _is_exact(self, node: int) -> bool:
        for number in self._graph.reachable([node]):
            part = self._graph.parts[number]
            if isinstance(part, Atom):
                look = self._look(number)
                if look in (None, Look.RAW_NAME, Look.RAW_FLOATING_NAME):  # raw names aren't always looked at
                    return False
                if look in OF_NAMES:
                    test = name_test(part)
                    if test is None or not test.exact:
                        return False
        return True

    def _alternatives(self, node: int, depth: int = 0) -> list[tuple[int, ...]]:
        """The node as a disjunction of conjunctions, as far as that separates looks and doesn't become too much."""
        if len(self._looks_under(node)) < 2 or depth > _DEEPEST:
            return [(node,)]
        is_and, operands = self._junction(node)
        if not operands:
            return [(node,)]
        if not is_and:
            operands = self._by_look(operands)
        below = [self._alternatives(operand, depth + 1) for operand in operands]
        if not is_and:
            together = [parts for alternatives in below for parts in alternatives]
            return together if len(together) <= _MOST_OF_A_RULE else [(node,)]
        product: list[tuple[int, ...]] = [()]
        for operand, alternatives in sorted(zip(operands, below, strict=True), key=lambda pair: len(pair[1])):
            fits = len(product) * len(alternatives) <= _MOST_OF_A_RULE
            product = [(*parts, *more) for parts in product for more in (alternatives if fits else [(operand,)])]
        return product

    def _by_look(self, operands: Sequence[int]) -> tuple[int, ...]:
        """The operands of an ``or``, those that one look decides as one."""
        groups: dict[object, list[int]] = {}
        for operand in operands:
            looks = self._looks_under(operand)
            groups.setdefault(looks if len(looks) == 1 else operand, []).append(operand)
        return tuple(self._graph.join(False, members) for members in groups.values())

    def _junction(self, node: int) -> tuple[bool, tuple[int, ...]]:
        """Whether the node is an ``and``, and its operands; ``not (a and b)`` is ``not a or not b``."""
        part = self._graph.parts[node]
        if isinstance(part, Junction):
            return part.is_and, part.operands
        if isinstance(part, Negation):
            inner = self._graph.parts[part.operand]
            if isinstance(inner, Junction):
                return not inner.is_and, tuple(self._graph.negation(operand) for operand in inner.operands)
        return True, ()
