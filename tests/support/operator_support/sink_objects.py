"""AlertSinks and what agents tell of them, for tests, in few words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tiercel_engine.resources.alert_sink import SEND_TEST
from tiercel_engine.resources.sink_config import SinkConfig, read_sinks
from tiercel_engine.rule import Origin
from tiercel_operator.cluster.state import State
from tiercel_operator.sinks.config import Secrets
from tiercel_operator.sinks.plan import SinkPlan, SinkPlanner

START = datetime(2026, 11, 25, 12, tzinfo=UTC)


def time_after(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def delivery_report(name: str, namespace: Any = "shop", **more: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("delivered", "retried", "lost", "queued", "silenced", "suppressed"), 0)
    return {"namespace": namespace, "name": name, "generation": 1, "failing": False, **counts, **more}


def failure(message: str, seconds: float = 0) -> dict[str, Any]:
    return {"time": time_after(seconds), "message": message, "node": "whatever it says"}


class World:
    """An operator's view of a cluster, with statuses that are stored as soon as they are planned."""

    def __init__(self) -> None:
        self.state = State()
        self.secrets: Secrets = {}
        self.passed = 0.0
        self.plan = SinkPlan(b"", ())
        self.writes = 0
        self._planner = SinkPlanner(lambda: self.passed, lambda: START + timedelta(seconds=self.passed))
        self._bodies: dict[Origin, dict[str, Any]] = {}

    def sink(
        self, name: str, namespace: str = "shop", generation: int = 1, test: str | None = None, **spec: Any
    ) -> None:
        """An AlertSink is made, or changed; ``test`` is the annotation."""
        origin = Origin(namespace, name)
        metadata: dict[str, Any] = {"namespace": namespace, "name": name, "generation": generation}
        metadata["creationTimestamp"] = time_after(self.passed)
        if test is not None:
            metadata["annotations"] = {SEND_TEST: test}
        before = self._bodies.get(origin, {})
        self._bodies[origin] = {
            "metadata": metadata,
            "spec": spec or {"events": {}},
            "status": before.get("status", {}),
        }
        self._take(origin)

    def report(self, node: str, *reports: dict[str, Any]) -> None:
        """What an agent says now."""
        status = {"lastReport": time_after(self.passed), "sinks": list(reports)}
        self.state.take_agent({"metadata": {"name": node}, "status": status}, exists=True, now=self.passed)

    def gone(self, node: str) -> None:
        self.state.take_agent({"metadata": {"name": node}}, exists=False, now=self.passed)

    def turn(self) -> dict[str, Any]:
        """Plans, stores what is planned, and gives the status of the only sink, {} if there are several."""
        self.plan = self._planner.plan(self.state.snapshot(), self.secrets)
        for write in self.plan.statuses:
            self.writes += 1
            self._bodies[write.origin]["status"] = dict(write.status)
            self._take(write.origin)
            self._planner.written(write.origin)
        return dict(self._bodies[next(iter(self._bodies))]["status"]) if len(self._bodies) == 1 else {}

    def status(self, name: str, namespace: str = "shop") -> dict[str, Any]:
        return dict(self._bodies[Origin(namespace, name)]["status"])

    def condition(self, type_: str, name: str, namespace: str = "shop") -> tuple[str, str, str]:
        """Status, reason and message."""
        for each in self.status(name, namespace)["conditions"]:
            if each["type"] == type_:
                return each["status"], each["reason"], each["message"]
        raise KeyError(type_)

    def ready(self, name: str = "chat", namespace: str = "shop") -> tuple[str, str, str]:
        return self.condition("Ready", name, namespace)

    def sink_configs(self) -> dict[str, SinkConfig]:
        """As agents read it."""
        configs = read_sinks(self.plan.content)
        assert configs.unread == ()
        return {f"{each.namespace}/{each.name}": each for each in configs.sinks}

    def _take(self, origin: Origin) -> None:
        self.state.take_sink(self._bodies[origin], exists=True)
