"""From the SecurityRules and what agents report, to the bundle and the statuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tiercel_engine.resources.resource import time_text
from tiercel_engine.rule import Origin
from tiercel_engine.rule_tests import run, tests_of
from tiercel_engine.rules.bundle import Bundle, pack
from tiercel_engine.rules.objects import ResolvedObject, Resolver, RuleObject, same
from tiercel_engine.scope import Scope
from tiercel_operator.bundle_config_maps import too_large
from tiercel_operator.objects import StoredRule
from tiercel_operator.rules.nodes import Fleet, History, alerts_of, is_for
from tiercel_operator.rules.statuses import Facts, Tested, differs, status_of
from tiercel_operator.state import State
from tiercel_operator.status_schedule import StatusSchedule, StatusWrite


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written. ``bundle`` is the one that nodes are to have, whether it has changed or not. If
    ``too_large`` says that it can't be written, nodes keep the bundle that they have."""

    bundle: Bundle
    statuses: tuple[StatusWrite, ...]
    too_large: str = ""


class Planner:
    """Makes plans. It remembers results that make the next plan quick, and when statuses were written. ``clock`` is in
    monotonic seconds."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._now = now
        self._resolver = Resolver()
        self._history = History()
        self._packed: tuple[Sequence[RuleObject], Bundle] | None = None
        self._tests: dict[Origin, tuple[RuleObject, ResolvedObject, Tested]] = {}
        self._schedule = StatusSchedule(clock)

    def plan(self, state: State) -> Plan:
        objects = sorted(state.objects(), key=lambda each: (each.namespace, each.name))
        resolved = self._resolver.resolve(objects)
        bundle = self._pack(objects)
        excess = too_large(bundle)
        now = time_text(self._now())
        writes = []
        fleet = self._fleets(state)
        alerts = alerts_of(state.agents.values())
        for origin, stored in state.rules.items():
            rules = resolved.objects[origin]
            tested = self._run_tests(stored, rules)
            counted = alerts.get(origin, (0, None))
            facts = Facts(stored, rules, tested, bundle.hash, fleet(stored.scope), counted, excess)
            status = status_of(facts, self._history, now)
            if self._schedule.is_due(origin, differs(status, stored.status)):
                writes.append(StatusWrite(origin, status, stored.status))
        self._schedule.keep(state.rules)
        for gone in self._tests.keys() - state.rules.keys():
            del self._tests[gone]
        return Plan(bundle, tuple(writes), excess)

    def written(self, origin: Origin) -> None:
        """Notes that the status of an object was written just now."""
        self._schedule.written(origin)

    def _fleets(self, state: State) -> Callable[[Scope], Fleet]:
        """Gives the agents of the nodes that a scope is for. They are gathered once for all scopes that select the same
        nodes."""
        known: dict[tuple[object, object], Fleet] = {}

        def fleet(scope: Scope) -> Fleet:
            key = scope.node_names, scope.nodes
            if key not in known:
                agents = (
                    agent
                    for agent in state.agents.values()
                    if is_for(scope, agent.node, state.nodes.get(agent.node, {}))
                )
                known[key] = Fleet.of(agents, self._clock())
            return known[key]

        return fleet

    def _pack(self, objects: Sequence[RuleObject]) -> Bundle:
        if self._packed is None or not same(self._packed[0], objects):
            self._packed = objects, pack(objects)
            self._history.made(self._packed[1].hash, (each for each in objects if not each.spec.get("suspend")))
        return self._packed[1]

    def _run_tests(self, stored: StoredRule, resolved: ResolvedObject) -> Tested:
        """The outcomes of the object's tests, which are run again only if the object or its rules have changed."""
        if not stored.object.spec.get("tests"):
            return Tested()
        known = self._tests.get(stored.object.origin)
        if known is None or known[0] is not stored.object or known[1] is not resolved:
            tests = tests_of(stored.object)
            known = stored.object, resolved, Tested(tests.errors, tuple(run(tests, resolved.rules)))
            self._tests[stored.object.origin] = known
        return known[2]
