"""From the SecurityRules and what agents report, to the bundle and the statuses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tiercel_engine.nesting import too_deep
from tiercel_engine.resources.resource import time_text
from tiercel_engine.rule import Origin
from tiercel_engine.rules.bundle import Bundle, pack
from tiercel_engine.rules.carried import carried
from tiercel_engine.rules.objects import RuleObject, same
from tiercel_engine.scope import Scope
from tiercel_operator.cluster.budgets import NOTHING, TENANT, TOTAL, Size, Sized, larger, over_budget, size_of
from tiercel_operator.cluster.objects import IN_ORDER, Problem, StoredRule, check_failed
from tiercel_operator.cluster.state import State
from tiercel_operator.rules.checked import CheckedObject, Verdict
from tiercel_operator.rules.nodes import Fleet, History, alerts_of, is_for
from tiercel_operator.rules.statuses import WAITING, Facts, differs, status_of, status_of_problem
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


_NOT_YET = "not checked yet; no agent gets it before"
_STAYS = "what was in force before stays in force"


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
        self._history = History()
        self._prepared: Mapping[Origin, _Prepared] = {}
        self._packed: tuple[Sequence[RuleObject], Bundle] | None = None
        self._in_force: Mapping[Origin, RuleObject] = {}
        self._schedule = StatusSchedule(clock)

    def begin_with(self, objects: Iterable[RuleObject]) -> None:
        """Takes what agents have got of these objects for what is in force, until they are checked."""
        self._in_force = {each.origin: each for each in objects}

    def candidates(self, state: State) -> list[RuleObject]:
        """The objects to check. The others have a problem that is known already."""
        problems = self._prepare_all(state)
        return [
            stored.object for origin, stored in state.rules.items() if origin not in problems and not stored.left_out
        ]

    def missing(self, state: State) -> list[Origin]:
        """The objects that were left out of memory, and for which there is room now."""
        left_out = [origin for origin, stored in state.rules.items() if stored.left_out]
        problems = self._prepare_all(state) if left_out else {}
        return [origin for origin in left_out if origin not in problems]

    def plan(self, state: State, verdicts: Mapping[Origin, Verdict]) -> Plan:
        """``verdicts`` are those that there are. Nobody gets an object as it is now without one; what was in force of
        it stays in force until then."""
        problems = self._prepare_all(state)
        checked: dict[Origin, CheckedObject] = {}
        unchecked: dict[Origin, Problem] = {}
        for origin, stored in state.rules.items():
            if origin in problems:
                continue
            verdict = verdicts.get(origin)
            if verdict is None or verdict.object is not stored.object:
                unchecked[origin] = WAITING, self._unchecked_text(origin, _NOT_YET)
            elif verdict.checked is None:
                unchecked[origin] = "TookTooMuch", self._unchecked_text(origin, verdict.failure)
            elif verdict.checked.failure:
                problems[origin] = "CheckFailed", verdict.checked.failure
            else:
                checked[origin] = verdict.checked
        bundle = self._pack(self._given(state, checked, unchecked))
        now = time_text(self._now())
        writes = []
        fleet = self._fleets(state)
        alerts = alerts_of(state.agents.values())
        for origin, stored in state.rules.items():
            if unchecked.get(origin, IN_ORDER)[0] == WAITING and _is_told(stored):
                continue  # the operator has started anew, and its status says what the last one has found
            try:
                facts = Facts(
                    stored=stored,
                    carried=self._prepared[origin].carried,
                    problem=problems.get(origin, IN_ORDER),
                    unchecked=unchecked.get(origin, IN_ORDER),
                    checked=checked.get(origin, CheckedObject()),
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
        return Plan(bundle, tuple(writes))

    def written(self, origin: Origin) -> None:
        """Notes that the status of an object was written just now."""
        self._schedule.written(origin)

    def _prepare_all(self, state: State) -> dict[Origin, Problem]:
        """Why nobody gets some objects, whatever comes of a check."""
        self._prepared = {origin: self._prepare(stored) for origin, stored in state.rules.items()}
        return self._problems(state)

    def _given(
        self, state: State, checked: Mapping[Origin, CheckedObject], unchecked: Mapping[Origin, Problem]
    ) -> list[RuleObject]:
        """What agents get."""
        given = [self._prepared[origin].carried for origin in checked if not state.rules[origin].suspended]
        for origin in unchecked:
            if origin in self._in_force and not state.rules[origin].suspended:
                given.append(self._in_force[origin])
        self._in_force = {each.origin: each for each in given}
        return given

    def _unchecked_text(self, origin: Origin, why: str) -> str:
        return f"{why}; {_STAYS}" if origin in self._in_force else why

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
            return _Prepared(applied, carried(applied), stored.size if stored.size.objects else size_of(applied))
        except Exception as error:  # such as text that can't be JSON
            _log(stored, error)
            return _Prepared(applied, applied, problem=check_failed(error))

    def _problems(self, state: State) -> dict[Origin, Problem]:
        """Why nobody gets some objects. They aren't looked at further."""
        problems = {origin: each.problem for origin, each in self._prepared.items() if each.problem[0]}
        sized = (
            Sized(origin, stored.created, stored.suspended, self._size(origin))
            for origin, stored in state.rules.items()
            if origin not in problems
        )
        return problems | {origin: ("OverBudget", text) for origin, text in over_budget(sized, self._tenant).items()}

    def _size(self, origin: Origin) -> Size:
        """What an object takes of its namespace's budget: as it is now, or as it is in force, whichever is larger."""
        size, in_force = self._prepared[origin].size, self._in_force.get(origin)
        if in_force is None or in_force is self._prepared[origin].carried:
            return size
        return larger(size, size_of(in_force))

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


def _is_told(stored: StoredRule) -> bool:
    """Whether the status tells of the object as it is now."""
    return stored.status.get("observedGeneration") == stored.generation


def _log(stored: StoredRule, error: Exception) -> None:
    origin = stored.object.origin
    LOGGER.error("SecurityRule %s/%s can't be handled: %s", origin.namespace, origin.name, check_failed(error)[1])
