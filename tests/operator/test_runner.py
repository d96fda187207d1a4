"""The runner against an API that has trouble: what is to be there is there in the end, and nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.dynamic.exceptions import ConflictError, ForbiddenError, TooManyRequestsError

from tiercel_engine.rules.bundle import INDEX
from tiercel_operator import owned
from tiercel_operator import runner as module
from tiercel_operator.leadership import Leadership
from tiercel_operator.runner import Runner

SYSTEM = "tiercel-system"
Key = tuple[str, str, str | None]


def api_error(kind: type[Exception]) -> Exception:
    return kind(SimpleNamespace(status=0, reason="trouble", body=b"{}", headers={}))  # type: ignore[call-arg]


class FakeKube:
    """An API in memory, of which the next requests fail as ``troubles`` say."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.items = list(items)
        self.troubles: list[Exception] = []
        self.writes: list[str] = []
        self.statuses: dict[str, Mapping[str, Any]] = {}
        self.gone: set[str] = set()

    def _fail(self) -> None:
        if self.troubles:
            raise self.troubles.pop(0)

    def list(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        self._fail()
        return [item for item in self.items if item["kind"] == kind]

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

    def tell(self, event: Mapping[str, Any]) -> None:
        self._fail()


def security_rule(name: str, namespace: str = "shop", **metadata: Any) -> dict[str, Any]:
    item = {"rule": name, "desc": "d", "condition": "evt.type = open", "output": "o", "priority": "NOTICE"}
    where = {"name": name, "namespace": namespace, "uid": name, "generation": 1, **metadata}
    return {"kind": "SecurityRule", "metadata": where, "spec": {"rules": [item]}}


def run(kube: FakeKube, done: Callable[[Runner], bool]) -> Runner:
    """Runs until something is so."""

    async def work() -> Runner:
        leadership = Leadership(kube, SYSTEM, "me")
        found = Runner(kube, SYSTEM, leadership, lambda _owner: ())  # type: ignore[arg-type]
        task = asyncio.create_task(found.run())
        async with asyncio.timeout(60):
            while not done(found):
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return found

    return asyncio.run(work())


@pytest.mark.parametrize("kind", [TooManyRequestsError, ConflictError, ForbiddenError])
def test_trouble_of_any_kind_is_tried_again(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube(security_rule("one"), security_rule("two"))
    started = False

    def done(found: Runner) -> bool:
        nonlocal started
        if found.leads and not started:
            started = True
            kube.troubles = [api_error(kind), api_error(kind)]
        return len(kube.statuses) == 2 and found.counts.writes >= 3 and not kube.troubles

    run(kube, done)
    assert INDEX in kube.objects["ConfigMap", "tiercel-bundle-0", SYSTEM]["data"]


def test_nothing_is_written_before_all_rules_are_known() -> None:
    """A bundle of some would take the others out of force."""
    kube = FakeKube(security_rule("one"), security_rule("two"))
    kube_list = kube.list
    fails = [OSError("unreachable")]

    def list_(api_version: str, kind: str) -> list[dict[str, Any]]:
        if fails:
            assert kube.writes == []
            raise fails.pop()
        return kube_list(api_version, kind)

    kube.list = list_  # type: ignore[method-assign]
    run(kube, lambda _found: len(kube.statuses) == 2)
    assert kube.writes.count("ConfigMap tiercel-bundle-0") == 1


def test_an_object_that_goes_meanwhile_is_no_trouble() -> None:
    """Its namespace is being deleted, for one."""
    kube = FakeKube(security_rule("one"), security_rule("gone"))
    kube.gone.add("gone")
    found = run(kube, lambda _found: "one" in kube.statuses)
    assert found.counts.failures == 0


def test_agents_of_nodes_that_are_gone_are_removed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NODE_IS_GONE_AFTER", -1.0)
    kube = FakeKube({"kind": "Node", "metadata": {"name": "here"}})
    told = False

    def done(found: Runner) -> bool:
        nonlocal told
        if found.synced and not told:
            told = True
            for name in ("here", "gone"):
                found.agent_event({"metadata": {"name": name}, "status": {}}, exists=True)
        return "no NodeAgent gone" in kube.writes

    run(kube, done)
    assert "no NodeAgent here" not in kube.writes


def test_what_nobody_foresaw_ends_nothing() -> None:
    kube = FakeKube(security_rule("one"))
    planned = 0

    def done(found: Runner) -> bool:
        nonlocal planned
        if not planned:
            planned = 1
            plan = found._planner.plan

            def fail_once(state: Any) -> Any:
                nonlocal planned
                planned += 1
                if planned == 2:
                    raise KeyError("a shape that nobody foresaw")
                return plan(state)

            found._planner.plan = fail_once  # type: ignore[method-assign]
        return "one" in kube.statuses

    assert run(kube, done).counts.failures == 1


def test_what_comes_while_a_plan_is_made_is_no_part_of_it() -> None:
    """It is made in another thread."""
    kube = FakeKube(security_rule("one"))
    changed = False

    def done(found: Runner) -> bool:
        nonlocal changed
        if not changed:
            changed = True
            plan = found._planner.plan

            def with_news(state: Any) -> Any:
                found.rule_event(security_rule("late"), exists=True)
                return plan(state)

            found._planner.plan = with_news  # type: ignore[method-assign]
        return len(kube.statuses) == 2

    assert run(kube, done).counts.failures == 0


def test_a_bundle_that_is_too_large_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube(security_rule("one"))
    before: Mapping[str, Any] = {}

    def done(found: Runner) -> bool:
        nonlocal before
        if not before and "one" in kube.statuses:
            before = kube.objects["ConfigMap", "tiercel-bundle-0", SYSTEM]
            monkeypatch.setattr(owned, "MOST_PARTS", 0)
            found.rule_event(security_rule("two"), exists=True)
        return "two" in kube.statuses

    run(kube, done)
    assert kube.objects["ConfigMap", "tiercel-bundle-0", SYSTEM] is before
    assert "bundle" not in kube.statuses["two"]
    reasons = [condition["reason"] for condition in kube.statuses["two"]["conditions"]]
    assert "BundleTooLarge" in reasons
