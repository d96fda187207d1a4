"""From the SecurityRules and what agents report, to the bundle and the statuses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tiercel_engine.nesting import too_deep
from tiercel_engine.resources.resource import time_text
from tiercel_engine.rule import Origin
from tiercel_engine.rule_tests import run, tests_of
from tiercel_engine.rules.bundle import Bundle, pack
from tiercel_engine.rules.carried import carried
from tiercel_engine.rules.objects import ResolvedObject, Resolver, RuleObject, one_line, same
from tiercel_engine.scope import Scope
from tiercel_operator.objects import IN_ORDER, Problem, StoredRule, check_failed
from tiercel_operator.rules.budgets import NOTHING, TENANT, TOTAL, Size, Sized, over_budget, size_of
from tiercel_operator.rules.nodes import Fleet, History, alerts_of, is_for
from tiercel_operator.rules.statuses import Facts, Tested, differs, status_of, status_of_problem
from tiercel_operator.state import State
from tiercel_operator.status_schedule import StatusSchedule, StatusWrite

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written. ``bundle`` is the one that nodes are to have, whether it has changed or not."""

    bundle: Bundle
    statuses: tuple[StatusWrite, ...]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An object as it was applied, what of it agents get, and what that costs; or why nobody gets it."""

    applied: RuleObject
    carried: RuleObject
    size: Size = NOTHING
    problem: Problem = IN_ORDER


class Planner:
    """Makes plans. It remembers results that make the next plan quick, and when statuses were written. ``tenant`` is
    the budget of each tenant's namespace; ``clock`` is in monotonic seconds.

    Whatever is wrong with an object, or comes of it, is told in its own status, and the others go on without it.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        tenant: Size = TENANT,
    ) -> None:
        self._clock = clock
        self._now = now
        self._tenant = tenant
        self._resolver = Resolver()
        self._history = History()
        self._prepared: Mapping[Origin, _Prepared] = {}
        self._packed: tuple[Sequence[RuleObject], Bundle] | None = None
        self._tests: dict[Origin, tuple[RuleObject, ResolvedObject, Tested]] = {}
        self._schedule = StatusSchedule(clock)

    def plan(self, state: State) -> Plan:
        self._prepared = {origin: self._prepare(stored) for origin, stored in state.rules.items()}
        problems = self._problems(state)
        fitting = [each.carried for origin, each in self._prepared.items() if origin not in problems]
        resolved = self._resolver.resolve(fitting).objects
        failed = {origin: each for origin, each in resolved.items() if each.failed}
        problems |= {origin: ("CheckFailed", one_line(each.errors[0])) for origin, each in failed.items()}
        bundle = self._pack(
            [each for each in fitting if each.origin not in problems and not state.rules[each.origin].suspended]
        )
        now = time_text(self._now())
        writes = []
        fleet = self._fleets(state)
        alerts = alerts_of(state.agents.values())
        for origin, stored in state.rules.items():
            rules = resolved.get(origin, ResolvedObject())
            try:
                facts = Facts(
                    stored=stored,
                    carried=self._prepared[origin].carried,
                    problem=problems.get(origin, IN_ORDER),
                    resolved=rules,
                    tested=Tested() if origin in problems else self._run_tests(stored, rules),
                    bundle=bundle.hash,
                    fleet=fleet(stored.scope),
                    alerts=alerts.get(origin, (0, None)),
                )
                status = status_of(facts, self._history, now)
            except Exception as error:  # one object that nobody foresaw must not end the work on all others
                _log(stored, error)
                status = status_of_problem(stored, check_failed(error), now)
            if self._schedule.is_due(origin, differs(status, stored.status)):
                writes.append(StatusWrite(origin, status, stored.status))
        self._schedule.keep(state.rules)
        for gone in self._tests.keys() - state.rules.keys():
            del self._tests[gone]
        return Plan(bundle, tuple(writes))

    def written(self, origin: Origin) -> None:
        """Notes that the status of an object was written just now."""
        self._schedule.written(origin)

    def _prepare(self, stored: StoredRule) -> _Prepared:
        """An object that hasn't changed stays as it was prepared before."""
        applied = stored.object
        before = self._prepared.get(applied.origin)
        if before is not None and before.applied is applied:
            return before
        wrong = too_deep({"spec": applied.spec})
        if wrong:
            return _Prepared(applied, applied, problem=("Refused", wrong))
        try:
            return _Prepared(applied, carried(applied), size_of(applied))
        except Exception as error:  # such as text that can't be JSON
            _log(stored, error)
            return _Prepared(applied, applied, problem=check_failed(error))

    def _problems(self, state: State) -> dict[Origin, Problem]:
        """Why nobody gets some objects. They aren't looked at further."""
        problems = {origin: each.problem for origin, each in self._prepared.items() if each.problem[0]}
        sized = (
            Sized(origin, stored.created, stored.suspended, self._prepared[origin].size)
            for origin, stored in state.rules.items()
            if origin not in problems
        )
        return problems | {origin: ("OverBudget", text) for origin, text in over_budget(sized, self._tenant).items()}

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
        in_order = sorted(objects, key=lambda each: (each.namespace, each.name))
        if self._packed is None or not same(self._packed[0], in_order):
            self._packed = in_order, pack(in_order, room=TOTAL.packed)
            self._history.made(self._packed[1].hash, in_order)
        return self._packed[1]

    def _run_tests(self, stored: StoredRule, resolved: ResolvedObject) -> Tested:
        """The outcomes of the object's tests, which are run again only if the object or its rules have changed."""
        if not stored.object.spec.get("tests"):
            return Tested()
        known = self._tests.get(stored.object.origin)
        if known is None or known[0] is not stored.object or known[1] is not resolved:
            try:
                tests = tests_of(stored.object)
                tested = Tested(tests.errors, tuple(run(tests, resolved.rules)))
            except Exception as error:
                _log(stored, error)
                tested = Tested(failure=check_failed(error)[1])
            known = stored.object, resolved, tested
            self._tests[stored.object.origin] = known
        return known[2]


def _log(stored: StoredRule, error: Exception) -> None:
    origin = stored.object.origin
    LOGGER.error("SecurityRule %s/%s can't be handled: %s", origin.namespace, origin.name, check_failed(error)[1])
