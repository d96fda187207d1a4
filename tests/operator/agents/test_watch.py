"""Following the agents' pods: what is told, by whom, and what becomes of it if the API server fails."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from kubernetes.dynamic.exceptions import ForbiddenError

from tiercel_operator.agents import watch
from tiercel_operator.agents.watch import AgentWatch
from tiercel_operator.cluster.kube import Expired


def pod(node: str, *, ready: bool = True, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": f"agent-{node}", "uid": f"uid-{node}", "resourceVersion": "2", **metadata},
        "spec": {"nodeName": node},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


class FakeKube:
    """The pods of an API in memory. What is put into ``happens`` is what the watch tells next."""

    def __init__(self, *pods: Mapping[str, Any]) -> None:
        self.pods = list(pods)
        self.happens: queue.Queue[tuple[str, Mapping[str, Any]] | Exception] = queue.Queue()
        self.lists = 0
        self.errors: list[Exception] = []
        self.events: list[tuple[str, str]] = []

    def list_path(self, path: str, labels: str) -> tuple[list[Mapping[str, Any]], str]:
        assert path == "/api/v1/namespaces/tiercel-system/pods"
        assert "app.kubernetes.io/component=agent" in labels
        self.lists += 1
        return self.pods, "1"

    def watch_path(self, path: str, labels: str, version: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        happened = self.happens.get()
        if isinstance(happened, Exception):
            raise happened
        yield happened

    def post_event(self, event: Mapping[str, Any]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.events.append((event["involvedObject"]["name"], event["reason"]))


def run(kube: FakeKube, done: Callable[[], bool], monkeypatch: Any, leads: Callable[[], bool] = lambda: True) -> None:
    """Runs until something is so."""
    monkeypatch.setattr(watch, "LOOK", 0.01)
    monkeypatch.setattr(watch, "_AGAIN_AFTER", 0.01)
    monkeypatch.setattr(watch, "_PAUSE", 0.0)

    async def work() -> None:
        watching = AgentWatch(kube, "tiercel-system", leads, lambda: {"n1", "n2"})  # type: ignore[arg-type]
        task = asyncio.create_task(watching.run())
        async with asyncio.timeout(60):
            while not done():
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        kube.happens.put(Expired())

    asyncio.run(work())


def test_an_agent_that_is_silent_is_told_on_its_node(monkeypatch: Any) -> None:
    kube = FakeKube(pod("n1"), pod("n2"))
    kube.happens.put(("MODIFIED", pod("n2", ready=False)))
    run(kube, lambda: bool(kube.events), monkeypatch)
    assert kube.events == [("n2", "AgentSilent")]


def test_what_happened_while_the_watch_was_broken_is_told_too(monkeypatch: Any) -> None:
    kube = FakeKube(pod("n1"), pod("n2"))

    def silent() -> bool:
        if kube.lists == 1:
            kube.pods = [pod("n1", ready=False), pod("n2")]
            kube.happens.put(OSError("the connection broke"))
        return bool(kube.events)

    run(kube, silent, monkeypatch)
    assert kube.events == [("n1", "AgentSilent")]


def test_a_version_that_is_too_old_is_listed_anew(monkeypatch: Any) -> None:
    kube = FakeKube(pod("n1"))
    kube.happens.put(Expired("too old"))
    kube.happens.put(("MODIFIED", pod("n1", ready=False)))
    run(kube, lambda: bool(kube.events), monkeypatch)
    assert kube.lists == 2


def test_an_event_that_cant_be_written_is_written_later(monkeypatch: Any) -> None:
    kube = FakeKube(pod("n1"))
    refused = ForbiddenError(SimpleNamespace(status=403, reason="no", body=b"{}", headers={}))
    kube.errors = [refused, OSError("away")]
    kube.happens.put(("MODIFIED", pod("n1", ready=False)))
    run(kube, lambda: bool(kube.events), monkeypatch)
    assert kube.events == [("n1", "AgentSilent")]


def test_only_the_operator_that_leads_tells(monkeypatch: Any) -> None:
    kube = FakeKube(pod("n1"), pod("n2"))
    kube.happens.put(("MODIFIED", pod("n1", ready=False)))
    asked: list[None] = []

    def leads() -> bool:
        asked.append(None)
        return len(asked) > 10

    def done() -> bool:
        if len(asked) > 20 and kube.happens.empty():
            kube.happens.put(("MODIFIED", pod("n2", ready=False)))
        return bool(kube.events)

    run(kube, done, monkeypatch, leads)
    assert kube.events[0][0] == "n2"


def test_a_pod_that_nobody_foresaw_hides_no_other(monkeypatch: Any) -> None:
    strange = {"metadata": {"uid": "x", "resourceVersion": "2"}, "spec": {"nodeName": "n1"}, "status": 3}
    kube = FakeKube(strange, pod("n2"))
    kube.happens.put(("MODIFIED", strange))
    kube.happens.put(("BOOKMARK", {"metadata": {"resourceVersion": "3"}}))
    kube.happens.put(("MODIFIED", pod("n2", ready=False)))
    run(kube, lambda: bool(kube.events), monkeypatch)
    assert kube.events == [("n2", "AgentSilent")]
