"""The runner against an API whose requests fail: what is to be there is there in the end, and nothing twice."""

from __future__ import annotations

import asyncio
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.dynamic.exceptions import (
    ConflictError,
    ForbiddenError,
    ResourceNotFoundError,
    TooManyRequestsError,
    UnprocessibleEntityError,
)
from operator_support import costly_checks

from tiercel_engine.resources.sink_config import read_sinks
from tiercel_engine.rule import Origin
from tiercel_engine.rules.bundle import INDEX, Bundle, unpack
from tiercel_operator.bundle_config_maps import written_bundle
from tiercel_operator.cluster import state
from tiercel_operator.cluster.budgets import TENANT
from tiercel_operator.leadership import Leadership
from tiercel_operator.reconciliation import gone_nodes, rules
from tiercel_operator.rules import checks
from tiercel_operator.runner import Runner
from tiercel_operator.workers.pool import WorkerPool
from tiercel_operator.workers.slots import FairSlots

SYSTEM = "tiercel-system"
WORKERS = WorkerPool(["tiercel_operator.rules.checking"])
Key = tuple[str, str, str | None]


def api_error(kind: type[Exception]) -> Exception:
    return kind(SimpleNamespace(status=0, reason="an error", body=b"{}", headers={}))


class FakeKube:
    """An API in memory, of which the next requests fail as ``errors`` say."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.items = list(items)
        self.errors: list[Exception] = []
        self.writes: list[str] = []
        self.statuses: dict[str, Mapping[str, Any]] = {}
        self.gone: set[str] = set()

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    def pages(self, api_version: str, kind: str) -> Iterator[Sequence[dict[str, Any]]]:
        self._fail()
        yield from ([item] for item in self.items if item["kind"] == kind)

    def list(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        return [item for page in self.pages(api_version, kind) for item in page]

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        self._fail()
        return self.objects.get((kind, name, namespace))

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self._fail()
        metadata = body["metadata"]
        self.writes.append(f"{body['kind']} {metadata['name']}")
        self.objects[body["kind"], metadata["name"], metadata.get("namespace")] = dict(body)
        return dict(body)

    def create(self, body: Mapping[str, Any]) -> bool:
        metadata = dict(body["metadata"]) | {"resourceVersion": "1"}
        self.objects[body["kind"], metadata["name"], metadata.get("namespace")] = dict(body) | {"metadata": metadata}
        return True

    def replace(self, body: Mapping[str, Any]) -> bool:
        self.objects[body["kind"], body["metadata"]["name"], body["metadata"].get("namespace")] = dict(body)
        return True

    def write_status(
        self, kind: str, name: str, namespace: str | None, status: Mapping[str, Any], before: Mapping[str, Any]
    ) -> bool:
        self._fail()
        if name in self.gone:
            return False
        self.writes.append(f"status of {name}")
        self.statuses[name] = status
        return True

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> None:
        self._fail()
        self.writes.append(f"no {kind} {name}")

    def post_event(self, event: Mapping[str, Any]) -> None:
        self._fail()


def security_rule(name: str, namespace: str = "shop", **metadata: Any) -> dict[str, Any]:
    item = {"rule": name, "desc": "d", "condition": "evt.type = open", "output": "o", "priority": "NOTICE"}
    where = {"name": name, "namespace": namespace, "uid": name, "generation": 1, **metadata}
    return {"kind": "SecurityRule", "metadata": where, "spec": {"rules": [item]}}


def alert_sink(name: str, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    where = {"name": name, "namespace": namespace, "uid": name, "generation": 1}
    return {"kind": "AlertSink", "metadata": where, "spec": spec or {"events": {}}}


def configured_sinks(kube: FakeKube) -> set[str]:
    """The names of the sinks that agents get."""
    secret = kube.objects.get(("Secret", "tiercel-sinks", SYSTEM))
    if secret is None:
        return set()
    sinks = read_sinks(b64decode(secret["data"]["sinks.json"])).sinks
    return {each.name for each in sinks}


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    yield
    WORKERS.close()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn waits for the checks, however busy the machine is."""
    monkeypatch.setattr(rules, "PATIENCE", 60.0)


def runner_of(
    kube: Any,
    leadership: Leadership,
    others: Sequence[Mapping[str, Any]] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Runner:
    return Runner(kube, SYSTEM, leadership, lambda _owner: others, WORKERS, FairSlots(3), clock=clock)


def run(kube: FakeKube, done: Callable[[Runner], bool], others: Sequence[Mapping[str, Any]] = ()) -> Runner:
    """Runs until something is so."""

    async def work() -> Runner:
        leadership = Leadership(kube, SYSTEM, "me")
        runner = runner_of(kube, leadership, others)
        task = asyncio.create_task(runner.run())
        async with asyncio.timeout(60):
            while not done(runner):
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return runner

    return asyncio.run(work())


@pytest.mark.parametrize("kind", [TooManyRequestsError, ConflictError, ForbiddenError])
def test_an_error_of_any_kind_is_tried_again(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube(security_rule("one"), security_rule("two"))
    started = False

    def done(runner: Runner) -> bool:
        nonlocal started
        if runner.leads and not started:
            started = True
            kube.errors = [api_error(kind), api_error(kind)]
        return len(kube.statuses) == 2 and runner.counts.writes >= 3 and not kube.errors

    run(kube, done)
    assert INDEX in kube.objects["ConfigMap", "tiercel-bundle-0", SYSTEM]["data"]


def test_nothing_is_written_before_all_rules_are_known() -> None:
    """A bundle of some would take the others out of force."""
    kube = FakeKube(security_rule("one"), security_rule("two"))
    pages = kube.pages
    fails = [OSError("unreachable")]

    def half(api_version: str, kind: str) -> Iterator[Sequence[dict[str, Any]]]:
        for page in pages(api_version, kind):
            yield page
            if fails:
                assert kube.writes == []
                raise fails.pop()

    kube.pages = half  # type: ignore[method-assign]
    run(kube, lambda _runner: len(kube.statuses) == 2)
    assert kube.writes.count("ConfigMap tiercel-bundle-0") == 1


def test_an_object_that_goes_meanwhile_is_no_error() -> None:
    """Its namespace is being deleted, for one."""
    kube = FakeKube(security_rule("one"), security_rule("gone"))
    kube.gone.add("gone")
    runner = run(kube, lambda _runner: "one" in kube.statuses)
    assert runner.counts.failures == 0


def test_agents_of_nodes_that_are_gone_are_removed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gone_nodes, "REMOVED_AFTER", -1.0)
    kube = FakeKube({"kind": "Node", "metadata": {"name": "here"}})
    told = False

    def done(runner: Runner) -> bool:
        nonlocal told
        if runner.synced and not told:
            told = True
            for name in ("here", "gone"):
                runner.agent_event({"metadata": {"name": name}, "status": {}}, exists=True)
        return "no NodeAgent gone" in kube.writes

    run(kube, done)
    assert "no NodeAgent here" not in kube.writes


def test_what_nobody_foresaw_ends_nothing() -> None:
    kube = FakeKube(security_rule("one"))
    planned = 0

    def done(runner: Runner) -> bool:
        nonlocal planned
        if not planned:
            planned = 1
            plan = runner.rules.planner.plan

            def fail_once(*given: Any) -> Any:
                nonlocal planned
                planned += 1
                if planned == 2:
                    raise KeyError("a shape that nobody foresaw")
                return plan(*given)

            runner.rules.planner.plan = fail_once  # type: ignore[method-assign,assignment]
        return "one" in kube.statuses

    assert run(kube, done).counts.failures == 1


def test_what_comes_while_a_plan_is_made_is_no_part_of_it() -> None:
    """It is made in another thread."""
    kube = FakeKube(security_rule("one"))
    changed = False

    def done(runner: Runner) -> bool:
        nonlocal changed
        if not changed:
            changed = True
            plan = runner.rules.planner.plan

            def with_news(*given: Any) -> Any:
                runner.rule_event(security_rule("late"), exists=True)
                return plan(*given)

            runner.rules.planner.plan = with_news  # type: ignore[method-assign,assignment]
        return len(kube.statuses) == 2

    assert run(kube, done).counts.failures == 0


def test_what_was_left_out_of_memory_is_in_force_once_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "LOOK_AFTER", 0)
    first, second = (security_rule(name, creationTimestamp=name) for name in ("1", "2"))
    first["spec"]["rules"][0]["desc"] = second["spec"]["rules"][0]["desc"] = "x" * (TENANT.applied - 1000)
    kube = FakeKube(first, second)
    kube.objects["SecurityRule", "2", "shop"] = second

    def reason(name: str) -> str:
        return next(each["reason"] for each in kube.statuses[name]["conditions"] if each["type"] == "Valid")

    told: list[str] = []

    def loaded(runner: Runner) -> bool:
        if len(kube.statuses) == 2 and not told:
            told.append(reason("2"))
            assert runner.state.rules[Origin("shop", "2")].left_out
            runner.rule_event(first, exists=False)
        return bool(told) and reason("2") == "Loaded"

    run(kube, loaded)
    assert told == ["OverBudget"]


def test_what_is_wrong_with_one_part_keeps_no_other_from_its_work() -> None:
    """Rules that can't be planned, and a list that can't be had."""
    kube = FakeKube(security_rule("one"), alert_sink("chat"), {"kind": "Node", "metadata": {"name": "here"}})

    def done(runner: Runner) -> bool:
        runner.rules.planner.plan = always_fails  # type: ignore[method-assign,assignment]
        return "chat" in kube.statuses and "DaemonSet agents" in kube.writes

    runner = run(kube, done, [AGENTS])
    assert configured_sinks(kube) == {"chat"}
    assert kube.statuses.keys() == {"chat"}
    assert runner.counts.failures >= 1


def test_the_networks_of_services_come_with_the_sinks() -> None:
    kube = FakeKube({"kind": "ServiceCIDR", "metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12"]}})
    run(kube, lambda _runner: ("Secret", "tiercel-sinks", SYSTEM) in kube.objects)
    secret = kube.objects["Secret", "tiercel-sinks", SYSTEM]
    assert read_sinks(b64decode(secret["data"]["sinks.json"])).service_networks == ("10.96.0.0/12",)


def test_an_api_server_that_doesnt_tell_the_networks_of_services_is_no_failure() -> None:
    kube = FakeKube(alert_sink("chat"))
    listed = kube.list

    def list_(api_version: str, kind: str) -> list[dict[str, Any]]:
        if kind == "ServiceCIDR":
            raise ResourceNotFoundError("No matches found")
        return listed(api_version, kind)

    kube.list = list_  # type: ignore[method-assign]
    runner = run(kube, lambda _runner: configured_sinks(kube) == {"chat"})
    assert runner.counts.failures == 0


def always_fails(*_: Any) -> Any:
    raise RecursionError("a shape that nobody foresaw")


def test_an_object_that_cannot_even_be_noted_keeps_no_other_from_being() -> None:
    strange = {"kind": "SecurityRule", "metadata": {"name": "strange", "namespace": "shop"}}
    told = False
    kube = FakeKube(strange, security_rule("one"))

    def done(runner: Runner) -> bool:
        nonlocal told
        if "one" in kube.statuses and not told:
            told = True
            for event in (runner.rule_event, runner.sink_event, runner.agent_event, runner.node_event):
                event({"kind": "strange"}, exists=True)
            runner.rule_event(security_rule("two"), exists=True)
        return "two" in kube.statuses

    assert run(kube, done).counts.failures == 0


def test_a_status_that_the_api_server_refuses_is_no_failure_of_the_others() -> None:
    kube = FakeKube(security_rule("bad"), security_rule("good"), alert_sink("chat"))
    write = kube.write_status

    def refuse_one(kind: str, name: str, *others: Any) -> bool:
        if name == "bad":
            raise UnprocessibleEntityError(SimpleNamespace(status=422, reason="too much", body=b"{}", headers={}))
        return write(kind, name, *others)

    kube.write_status = refuse_one  # type: ignore[method-assign,assignment]
    run(kube, lambda runner: {"good", "chat"} <= kube.statuses.keys() and runner.counts.failures > 0)
    assert "bad" not in kube.statuses


def test_it_is_unhealthy_if_it_fails_by_its_own_fault_and_leads() -> None:
    """Failing requests say nothing of the operator, and a new start would not bring the API server back."""
    now = 0.0

    async def work() -> None:
        nonlocal now
        kube = FakeKube(security_rule("one"))
        leadership = Leadership(kube, SYSTEM, "me", lambda: now)
        runner = runner_of(kube, leadership, clock=lambda: now)

        async def turn_after(seconds: float, *, renewed: bool = True) -> float:
            nonlocal now
            now += seconds
            if renewed:
                leadership.attempt()
            await runner._try_to_reconcile()
            return runner.failing_for

        now = 1000.0
        assert runner.failing_for == 0, "it doesn't lead"
        assert await turn_after(0) == 0
        plan = runner.rules.planner.plan
        runner.rules.planner.plan = always_fails  # type: ignore[method-assign,assignment]
        assert [await turn_after(100) for _ in range(3)] == [100, 200, 300]
        runner.rules.planner.plan = plan  # type: ignore[method-assign]
        assert await turn_after(100) == 0

        leadership.attempt()
        failures = runner.counts.failures
        kube.get = kube.apply = kube.write_status = always_unreachable  # type: ignore[method-assign,assignment]
        runner.rule_event(security_rule("two"), exists=True)
        assert [await turn_after(4, renewed=False) for _ in range(3)] == [0, 0, 0]
        assert runner.counts.failures == failures + 3
        now += 1000
        assert runner.failing_for == 0, "it leads no more"

    asyncio.run(work())


def always_unreachable(*_: Any) -> Any:
    raise OSError("unreachable")


def test_a_turn_that_does_not_end_is_unhealthy_unless_the_api_server_is_away() -> None:
    now = 0.0
    kube = FakeKube()
    leadership = Leadership(kube, SYSTEM, "me", lambda: now)
    runner = runner_of(kube, leadership, clock=lambda: now)
    now = 400.0
    leadership.attempt()
    assert runner.failing_for == 400
    runner.counts.unreachable_at = 390.0
    assert runner.failing_for == 10


AGENTS = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agents", "namespace": SYSTEM}}


def test_agents_have_their_rules_and_sinks_from_the_start() -> None:
    kube = FakeKube(security_rule("one"), alert_sink("chat"))
    run(kube, lambda _runner: "DaemonSet agents" in kube.writes, [AGENTS])
    written = kube.writes[: kube.writes.index("DaemonSet agents")]
    assert {"ConfigMap tiercel-bundle-0", "Secret tiercel-sinks"} <= set(written)
    assert configured_sinks(kube) == {"chat"}


def test_an_error_with_sinks_keeps_nothing_else_from_being_written() -> None:
    kube = FakeKube(
        security_rule("one"), alert_sink("chat", slack={"urlFrom": {"secretRef": {"name": "s", "key": "k"}}})
    )
    get = kube.get

    def fail_for_secrets(api_version: str, kind: str, name: str, namespace: str | None = None) -> Any:
        if kind == "Secret" and namespace == "shop":
            raise api_error(TooManyRequestsError)
        return get(api_version, kind, name, namespace)

    kube.get = fail_for_secrets  # type: ignore[method-assign]
    run(kube, lambda runner: "DaemonSet agents" in kube.writes and runner.counts.failures > 0, [AGENTS])
    assert "one" in kube.statuses
    assert "chat" not in kube.statuses  # not known isn't missing
    assert configured_sinks(kube) == set()


def test_a_status_that_cannot_be_written_keeps_no_other_from_being() -> None:
    kube = FakeKube(alert_sink("bad"), alert_sink("good"))
    write = kube.write_status

    def refuse_one(kind: str, name: str, *others: Any) -> bool:
        if name == "bad":
            raise api_error(ForbiddenError)
        return write(kind, name, *others)

    kube.write_status = refuse_one  # type: ignore[method-assign,assignment]
    run(kube, lambda runner: "good" in kube.statuses and runner.counts.failures > 0)
    assert configured_sinks(kube) == {"bad", "good"}


def test_agents_that_were_there_before_are_known_to_the_first_status() -> None:
    """Or a sink that is ready would be said not to be, for a moment, whenever an operator begins."""
    counts = dict.fromkeys(("delivered", "retried", "lost", "queued", "silenced", "suppressed"), 1)
    delivery_report = {"namespace": "shop", "name": "chat", "generation": 1, "failing": False, **counts}
    agent = {"kind": "NodeAgent", "metadata": {"name": "n1"}, "status": {"sinks": [delivery_report]}}
    kube = FakeKube(alert_sink("chat"), agent)
    run(kube, lambda _runner: "chat" in kube.statuses)
    reasons = [condition["reason"] for condition in kube.statuses["chat"]["conditions"]]
    assert "Delivering" in reasons
    assert kube.writes.count("status of chat") == 1


def test_secrets_are_not_read_for_every_word_of_an_agent() -> None:
    spec: dict[str, Any] = {"slack": {"urlFrom": {"secretRef": {"name": "s", "key": "k"}}}}
    kube = FakeKube(alert_sink("chat", **spec))
    kube.objects["Secret", "s", "shop"] = {"data": {"k": "eA=="}}
    asked = 0
    get = kube.get

    def count(api_version: str, kind: str, name: str, namespace: str | None = None) -> Any:
        nonlocal asked
        asked += (kind, name) == ("Secret", "s")
        return get(api_version, kind, name, namespace)

    kube.get = count  # type: ignore[method-assign]
    told = False

    def done(runner: Runner) -> bool:
        nonlocal told
        if "chat" in kube.statuses and not told:
            told = True
            failing = {"namespace": "shop", "name": "chat", "generation": 1, "failing": True}
            counts = dict.fromkeys(("delivered", "retried", "lost", "queued", "silenced", "suppressed"), 1)
            runner.agent_event({"metadata": {"name": "n1"}, "status": {"sinks": [failing | counts]}}, exists=True)
        return any(each["reason"] == "DeliveryFails" for each in kube.statuses.get("chat", {}).get("conditions", ()))

    run(kube, done)
    assert asked == 1


@pytest.mark.parametrize("steps", range(6))
def test_it_ends_when_it_is_told_to_whatever_comes_at_that_moment(steps: int) -> None:
    async def change_and_cancel() -> None:
        kube: Any = FakeKube()
        runner = runner_of(kube, Leadership(kube, SYSTEM, "me"))
        task = asyncio.create_task(runner.run())
        await asyncio.sleep(0)  # it waits for a change from now on
        runner.rule_event(security_rule("one"), exists=True)
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(60):
                await task

    asyncio.run(change_and_cancel())


def test_what_agents_have_got_stays_in_force_until_a_new_operator_has_checked_what_it_is_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kube = FakeKube(security_rule("memory"))
    run(kube, lambda _runner: "memory" in kube.statuses)
    before = kube.objects["ConfigMap", "tiercel-bundle-0", SYSTEM]
    changed = security_rule("memory", generation=2)
    changed["spec"]["rules"].append({"macro": "new", "condition": "evt.type = open"})
    kube.items[:] = [changed]
    costly = costly_checks.workers(monkeypatch)
    monkeypatch.setattr(checks, "check", costly_checks.check)
    monkeypatch.setattr(sys.modules[__name__], "WORKERS", costly)

    def done(_runner: Runner) -> bool:
        conditions = {each["type"]: each["reason"] for each in kube.statuses["memory"]["conditions"]}
        return conditions["Checked"] == "TookTooMuch"

    run(kube, done)
    costly.close()
    assert kube.objects["ConfigMap", "tiercel-bundle-0", SYSTEM] == before
    assert unpack(written_bundle([before]) or Bundle("", ()))[0].name == "memory"
