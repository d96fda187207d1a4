"""The rules of one owner as programs, which evaluate them: some for each event type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tiercel_engine.condition import Atom, Node
from tiercel_engine.evaluation.codegen import Program, compile_program
from tiercel_engine.evaluation.graph import FALSE, Graph
from tiercel_engine.evaluation.operators import compile_test
from tiercel_engine.evaluation.uncertainty import bounds
from tiercel_engine.event_types import EVENT_TYPES, OBSERVABLE
from tiercel_engine.matching.requirements import named_event_types, tests_event_type
from tiercel_engine.regexes import Regexes

MOST_WORK = 200_000
"""So many nodes of a namespace's conditions are handled to make programs for single event types: a second or two. What
remains is evaluated by programs that test the event type themselves."""
PART = 100
"""A program of a namespace's rules has about so many nodes, so that evaluation can be interrupted after each."""

Conditions = tuple[tuple[int, int], ...]
"""Positions of rules, each with a node."""


class Programs:
    """The programs of some rules of one event source.

    For rules of a namespace what programs cost is ``limited``. Patterns of the rules are some of ``regexes``.
    ``bounded``: the conditions are bounds, for events with values that are known only in part.
    """

    def __init__(
        self,
        source: str,
        rules: Sequence[tuple[int, Node]],
        regexes: Regexes,
        *,
        limited: bool,
        bounded: bool = False,
    ) -> None:
        self._source = source
        self._rules = rules
        self._regexes = regexes
        self._limited = limited
        self._bounded = bounded
        self._of_uncertain: Programs | None = None
        self._work = 0
        self._graph = Graph()
        self._conditions = tuple((position, self._graph.add(condition)) for position, condition in rules)
        self._type_atoms = [
            (number, compile_test(part))
            for number, part in enumerate(self._graph.parts)
            if isinstance(part, Atom) and tests_event_type(part)
        ]
        self._known_types = OBSERVABLE.get(source, frozenset())
        self._usual_types = EVENT_TYPES.get(source, frozenset())
        self._named_types = {position: named_event_types(condition) for position, condition in rules}
        # Event types for which the tests of types come out the same, or the same folded conditions are left, share
        # programs.
        self._by_tests: dict[tuple[Conditions, tuple[bool, ...]], Sequence[Program]] = {}
        self._by_conditions: dict[Conditions, Sequence[Program]] = {}
        self._unfolded: Sequence[Program] | None = None
        self._by_type: dict[object, Sequence[Program]] = {}

    def of(self, event_type: object) -> Sequence[Program]:
        """The programs for events of a type. Types that the source doesn't have, and None, share programs that test the
        type themselves."""
        programs = self._by_type.get(event_type)
        if programs is None:
            programs = self._made(event_type) if event_type in self._known_types else self._for_all_types()
            if event_type in self._known_types:
                self._by_type[event_type] = programs
        return programs

    def for_uncertain(self, event_type: object) -> Sequence[Program]:
        """The programs for events of a type of which some values are known only in part: they give the rules that may
        match. They are made when they are first needed."""
        if self._of_uncertain is None:
            upper = [upper for _, upper in bounds(condition for _, condition in self._rules)]
            rules = [(position, condition) for (position, _), condition in zip(self._rules, upper, strict=True)]
            self._of_uncertain = Programs(self._source, rules, self._regexes, limited=self._limited, bounded=True)
        return self._of_uncertain.of(event_type)

    def _made(self, event_type: object) -> Sequence[Program]:
        conditions = self._conditions
        if event_type not in self._usual_types:
            conditions = tuple(each for each in conditions if event_type in self._named_types[each[0]])
            if not conditions:
                return ()
        tests = tuple(test(event_type) for _, test in self._type_atoms)
        if (conditions, tests) not in self._by_tests:
            self._by_tests[conditions, tests] = self._folded(conditions, tests)
        return self._by_tests[conditions, tests]

    def _folded(self, conditions: Conditions, tests: tuple[bool, ...]) -> Sequence[Program]:
        self._work += len(self._graph.parts)
        if self._exhausted:
            return self._for_all_types()
        known = dict(zip((number for number, _ in self._type_atoms), tests, strict=True))
        folded = self._graph.fold([node for _, node in conditions], known)
        possible = tuple((position, folded[node]) for position, node in conditions if folded[node] != FALSE)
        if possible not in self._by_conditions:
            self._work += len(self._graph.reachable(node for _, node in possible))
            if self._exhausted:
                return self._for_all_types()
            self._by_conditions[possible] = self._compiled(possible)
        return self._by_conditions[possible]

    @property
    def _exhausted(self) -> bool:
        return self._limited and self._work > MOST_WORK

    def _for_all_types(self) -> Sequence[Program]:
        if self._unfolded is None:
            self._unfolded = self._compiled(self._conditions)
        return self._unfolded

    def _compiled(self, conditions: Conditions) -> Sequence[Program]:
        parts = self._parts(conditions) if self._limited else [conditions]
        return [compile_program(self._graph, part, self._regexes, bounded=self._bounded) for part in parts]

    def _parts(self, conditions: Conditions) -> Iterator[Conditions]:
        part: list[tuple[int, int]] = []
        size = 0
        for position, node in conditions:
            part.append((position, node))
            size += len(self._graph.reachable([node]))
            if size >= PART:
                yield tuple(part)
                part, size = [], 0
        if part:
            yield tuple(part)
