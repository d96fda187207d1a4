"""What is told of agents, by the statuses of their pods."""

from __future__ import annotations

from typing import Any

import pytest

from tiercel_operator.agents.node_event import node_event
from tiercel_operator.agents.presence import START_TAKES, AgentPod, Presence, Sign, SignKind, agent_pod

UNSEEN = ": what happens on this node may go unseen"


class World:
    def __init__(self) -> None:
        self.now = 1000.0
        self.presence = Presence(lambda: self.now)
        self.nodes = {"n1", "n2"}

    def pod(
        self, *, ready: bool = True, uid: str = "u1", node: str = "n1", exists: bool = True, **facts: Any
    ) -> list[tuple[SignKind, str]]:
        """What is told after this news of a pod."""
        self.presence.take(AgentPod(node, f"agent-{uid}", uid, ready, facts.pop("restarts", 0), **facts), exists=exists)
        return self.told()

    def told(self) -> list[tuple[SignKind, str]]:
        return [(sign.kind, sign.message) for sign in self.presence.signs(self.nodes)]

    def passes(self, seconds: float) -> list[tuple[SignKind, str]]:
        self.now += seconds
        return self.told()


@pytest.fixture
def world() -> World:
    return World()


def test_an_agent_that_is_stopped_is_told_at_once_and_once(world: World) -> None:
    assert world.pod() == []
    assert world.pod(ready=False) == [(SignKind.SILENT, f"the agent doesn't answer any more{UNSEEN}")]
    assert world.pod(ready=False) == []
    assert world.passes(10 * START_TAKES) == []
    assert world.pod() == [(SignKind.BACK, "the agent answers again")]
    assert world.pod() == []


def test_an_agent_that_is_killed(world: World) -> None:
    world.pod()
    killed = "Error, exit code 137"
    assert world.pod(restarts=1, ended=killed) == [
        (SignKind.RESTARTED, f"the agent came to its end ({killed}) and was started again{UNSEEN}")
    ]
    assert world.pod(restarts=1, ended=killed) == []
    assert world.pod(restarts=2, ready=False, ended=killed) == [
        (SignKind.RESTARTED, f"the agent came to its end ({killed}) and was started again{UNSEEN}")
    ]
    assert world.pod(restarts=2, ended=killed) == []


def test_an_agent_that_is_killed_and_not_started_at_once(world: World) -> None:
    world.pod()
    killed = "OOMKilled, exit code 137"
    assert world.pod(ready=False, ended=killed) == [(SignKind.SILENT, f"the agent came to its end ({killed}){UNSEEN}")]
    kinds = [kind for kind, _ in world.pod(restarts=1, ended=killed)]
    assert kinds == [SignKind.RESTARTED, SignKind.BACK]


def test_an_update_is_nothing_to_tell(world: World) -> None:
    world.pod()
    assert world.pod(leaving=True) == []
    assert world.pod(ready=False, leaving=True) == []
    assert world.pod(ready=False, exists=False) == []
    assert world.pod(uid="u2", ready=False) == []
    assert world.passes(START_TAKES - 1) == []
    assert world.pod(uid="u2") == []
    assert world.passes(10 * START_TAKES) == []


def test_the_old_pods_end_is_not_the_new_ones(world: World) -> None:
    world.pod()
    world.pod(uid="u2", ready=False)
    world.pod(uid="u2")
    assert world.pod(leaving=True, ready=False) == []
    assert world.pod(exists=False) == []
    assert world.passes(10 * START_TAKES) == []


def test_an_agent_that_never_comes_to_answer(world: World) -> None:
    """As after a start of the operator while an agent is silent."""
    assert world.pod(ready=False) == []
    assert world.passes(START_TAKES) == [(SignKind.SILENT, f"the agent has been started, and doesn't answer{UNSEEN}")]
    assert world.passes(START_TAKES) == []
    assert world.pod() == [(SignKind.BACK, "the agent answers again")]


def test_a_node_whose_agent_is_gone_for_good(world: World) -> None:
    world.pod()
    world.pod(exists=False)
    assert world.passes(START_TAKES) == [(SignKind.SILENT, f"there is no agent{UNSEEN}")]
    assert world.pod(uid="u2") == [(SignKind.BACK, "the agent answers again")]


def test_a_node_that_is_gone_is_forgotten(world: World) -> None:
    world.pod()
    world.pod(exists=False)
    world.nodes.remove("n1")
    assert world.passes(10 * START_TAKES) == []


def pod_body(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "agent-1", "uid": "u1"},
        "spec": {"nodeName": "n1"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], **status},
    }


def test_what_a_pod_says() -> None:
    assert agent_pod(pod_body()) == AgentPod("n1", "agent-1", "u1", True, 0)
    ended = {"terminated": {"reason": "Error\x1b[2J", "exitCode": 137}}
    container = {"restartCount": 3, "lastState": ended, "state": {"running": {}}}
    assert agent_pod(pod_body(containerStatuses=[container])) == AgentPod(
        "n1", "agent-1", "u1", True, 3, "Error\\x1b[2J, exit code 137"
    )
    leaving = pod_body(conditions=[])
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert agent_pod(leaving) == AgentPod("n1", "agent-1", "u1", False, 0, leaving=True)
    assert agent_pod({"metadata": {"name": "x", "uid": "y"}, "spec": {}}) is None


def test_the_event_is_on_the_node() -> None:
    event = node_event(Sign(SignKind.SILENT, "n1", "text"))
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "n1"}
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "AgentSilent", "text")
    assert event["metadata"]["namespace"] == "default"
    assert node_event(Sign(SignKind.BACK, "n1", "text"))["type"] == "Normal"
