"""Finds the rules that an event matches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tiercel_engine.condition import Atom, Node
from tiercel_engine.evaluation.codegen import Program, compile_program
from tiercel_engine.evaluation.graph import FALSE, Graph
from tiercel_engine.evaluation.operators import compile_test
from tiercel_engine.evaluation.uncertainty import bounds
from tiercel_engine.event import Event
from tiercel_engine.event_types import EVENT_TYPES
from tiercel_engine.matching.requirements import EVENT_TYPE, named_event_types, tests_event_type
from tiercel_engine.rule import Rule


class Matcher:
    """Matches events with the enabled rules. Code for an event type is generated when its first event is matched.

    Where values are known only in part, rules match that may match (``evaluation.uncertainty``).

    With ``first_only`` an event has at most one match, that of the rule that was defined first
    (``rule_matching: first``).
    """

    def __init__(self, rules: Sequence[Rule], first_only: bool = False) -> None:
        self._rules = [rule for rule in rules if rule.enabled]
        self._first_only = first_only
        self._sources: dict[str, _SourceRules] = {}
        for source in {rule.source for rule in self._rules}:
            rules_of = [(position, rule) for position, rule in enumerate(self._rules) if rule.source == source]
            self._sources[source] = _SourceRules(source, rules_of)

    def match(self, event: Event) -> list[tuple[Rule, Event]]:
        """The rules that match, in the order of the rules, each with the first view of the event that it matches."""
        of_source = self._sources.get(event.source)
        if of_source is None:
            return []
        program = of_source.programs.get(event[EVENT_TYPE])
        if program is None:
            program = of_source.program(event[EVENT_TYPE])
        views: dict[int, Event] | None = None
        for view in event.views():
            matched = program(view)
            if event.uncertain or view.uncertain:
                view.uncertain = True
                matched = of_source.for_uncertain(event[EVENT_TYPE])(view)
            for position in matched:
                if views is None:
                    views = {position: view}
                else:
                    views.setdefault(position, view)
        if views is None:
            return []
        positions = sorted(views)
        return [(self._rules[position], views[position]) for position in positions[: 1 if self._first_only else None]]

    def prepare(self, event_types: Sequence[str], source: str = "syscall") -> None:
        """Generates the code for these event types now instead of when the first event is matched."""
        if source in self._sources:
            for event_type in event_types:
                self._sources[source].program(event_type)


class _SourceRules:
    """The rules of one event source, as a program for each event type."""

    def __init__(self, source: str, rules: Sequence[tuple[int, Rule]], *, bounded: bool = False) -> None:
        self._source = source
        self._rules = rules
        self._bounded = bounded
        self._of_uncertain: _SourceRules | None = None
        self._graph = Graph()
        conditions: Iterable[Node] = (rule.condition for _, rule in rules)
        if bounded:
            conditions = (upper for _, upper in bounds(conditions))
        self._conditions = [
            (position, self._graph.add(condition)) for (position, _), condition in zip(rules, conditions, strict=True)
        ]
        self._type_atoms = [
            (number, compile_test(part))
            for number, part in enumerate(self._graph.parts)
            if isinstance(part, Atom) and tests_event_type(part)
        ]
        self._named = EVENT_TYPES.get(source, frozenset()).union(
            *(named_event_types(rule.condition) for _, rule in rules)
        )
        # Event types for which the same folded conditions are left share a program.
        self._compiled: dict[tuple[tuple[int, int], ...], Program] = {}
        self._unfolded: Program | None = None
        self.programs: dict[object, Program] = {}

    def for_uncertain(self, event_type: object) -> Program:
        """The program for events of a type of which some values are known only in part: it gives the rules that may
        match. It is made when it is first needed."""
        if self._of_uncertain is None:
            self._of_uncertain = _SourceRules(self._source, self._rules, bounded=True)
        return self._of_uncertain.program(event_type)

    def program(self, event_type: object) -> Program:
        """The program for events of a type. Unknown types, and None, share one program that tests the type itself."""
        if event_type not in self._named:
            if self._unfolded is None:
                self._unfolded = compile_program(self._graph, self._conditions, bounded=self._bounded)
            return self._unfolded
        if event_type not in self.programs:
            known = {number: test(event_type) for number, test in self._type_atoms}
            folded = self._graph.fold([node for _, node in self._conditions], known)
            possible = tuple((position, folded[node]) for position, node in self._conditions if folded[node] != FALSE)
            if possible not in self._compiled:
                self._compiled[possible] = compile_program(self._graph, possible, bounded=self._bounded)
            self.programs[event_type] = self._compiled[possible]
        return self.programs[event_type]
