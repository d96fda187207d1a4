"""Finds the rules that an event matches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tiercel_engine.evaluation.codegen import Program
from tiercel_engine.event import Event
from tiercel_engine.matching.owners import SYSTEM, namespace_of
from tiercel_engine.matching.programs import Programs
from tiercel_engine.matching.requirements import EVENT_TYPE
from tiercel_engine.regexes import POOLS, REGEXES, OutOfTime, Regexes
from tiercel_engine.rule import Rule

NAMESPACE = "k8s.ns.name"

Match = tuple[Rule, Event]
"""A rule, and the first view of an event that it matches."""
Look = Callable[[], None]
"""Is called while rules are evaluated, and raises OutOfTime to end that."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Of one event. Not ``complete``: evaluation was ended before all rules were evaluated."""

    found: Sequence[Match]
    complete: bool = True


Steps = Generator[None, None, Matches]
"""Ends with what was found."""


class Matcher:
    """Matches events with the enabled rules. Code for an event type is generated when its first event is matched.

    The system's rules come first. An event of a namespace's pods is matched with that namespace's rules too, and with
    those of no other namespace. With ``first_only`` an event has at most one match (``rule_matching: first``). Where
    values are known only in part, rules match that may match (``evaluation.uncertainty``).
    """

    def __init__(self, rules: Sequence[Rule], first_only: bool = False) -> None:
        self.first_only = first_only
        owned: dict[str, list[Rule]] = {}
        for rule in rules:
            if rule.enabled:
                owned.setdefault(namespace_of(rule), []).append(rule)
        self._system = _OwnedRules(owned.pop(SYSTEM, ()), REGEXES, limited=False)
        self._of_namespaces = {
            namespace: _OwnedRules(of_one, POOLS.of(namespace), limited=True) for namespace, of_one in owned.items()
        }

    def match(self, event: Event) -> list[Match]:
        """The rules that match: the system's, then those of the event's namespace, both in the order of the rules."""
        found = self.match_system(event)
        namespace = self.namespace(event)
        of_namespace = self.match_namespace(namespace, event).found if namespace else ()
        return [*found, *of_namespace][: 1 if self.first_only else None]

    def match_system(self, event: Event) -> Sequence[Match]:
        """Those of the system's rules that match."""
        return self._system.match(event, self.first_only).found

    def namespace(self, event: Event) -> str:
        """The namespace whose rules watch where the event happened; "" if no namespace's do."""
        if not self._of_namespaces:
            return ""
        namespace = event[NAMESPACE]
        return namespace if isinstance(namespace, str) and namespace in self._of_namespaces else ""

    def match_namespace(self, namespace: str, event: Event) -> Matches:
        """Those of a namespace's rules that match an event of the namespace's pods."""
        return self._of_namespaces[namespace].match(event, self.first_only)

    def steps(self, namespace: str, event: Event) -> Steps:
        """The same in steps of some rules each, between which something else can be done."""
        return self._of_namespaces[namespace].steps(event, self.first_only)

    @contextmanager
    def looking(self, namespace: str, look: Look) -> Iterator[None]:
        """Meanwhile ``look`` is called as rules of the namespace are evaluated."""
        rules = self._of_namespaces[namespace]
        rules.look = rules.regexes.look = look
        try:
            yield
        finally:
            rules.look = rules.regexes.look = None

    def prepare(self, event_types: Sequence[str], source: str = "syscall") -> None:
        """Generates the code for these event types now instead of when the first event is matched."""
        for owned in (self._system, *self._of_namespaces.values()):
            owned.prepare(event_types, source)


class _OwnedRules:
    """The rules of the system, or of a namespace."""

    def __init__(self, rules: Sequence[Rule], regexes: Regexes, *, limited: bool) -> None:
        self.look: Look | None = None
        self.regexes = regexes
        self._rules = rules
        self._programs = {
            source: Programs(
                source,
                [(position, rule.condition) for position, rule in enumerate(rules) if rule.source == source],
                regexes,
                limited=limited,
            )
            for source in {rule.source for rule in rules}
        }

    def prepare(self, event_types: Sequence[str], source: str) -> None:
        if source in self._programs:
            for event_type in event_types:
                self._programs[source].of(event_type)

    def match(self, event: Event, first_only: bool) -> Matches:
        steps = self.steps(event, first_only)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                matches: Matches = end.value
                return matches

    def steps(self, event: Event, first_only: bool) -> Steps:
        programs = self._programs.get(event.source)
        if programs is None:
            return _NO_MATCHES
        views: dict[int, Event] = {}
        complete = True
        try:
            of_type = programs.of(event[EVENT_TYPE])
            for view in event.views():
                matched: list[int] = []
                try:
                    yield from self._evaluate(of_type, view, matched)
                    if event.uncertain or view.uncertain:
                        view.uncertain = True
                        matched.clear()
                        yield from self._evaluate(programs.for_uncertain(event[EVENT_TYPE]), view, matched)
                finally:
                    for position in matched:
                        views.setdefault(position, view)
        except OutOfTime:
            complete = False
        if not views:
            return _NO_MATCHES if complete else Matches((), complete)
        positions = sorted(views)[: 1 if first_only else None]
        return Matches([(self._rules[position], views[position]) for position in positions], complete)

    def _evaluate(self, programs: Sequence[Program], view: Event, matched: list[int]) -> Iterator[None]:
        """Adds the positions of the rules that match. Raises OutOfTime, with those added that matched before."""
        for number, program in enumerate(programs):
            if number:
                yield
            if self.look is not None:
                self.look()
            matched += program(view)


_NO_MATCHES = Matches(())
