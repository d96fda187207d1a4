"""Which agents no longer answer, by the statuses of their pods.

The kubelet asks each agent every few seconds whether it is there (its readiness probe), and writes the pod's status
only when the answer changes. So silence is known within 15 seconds, and thousands of agents that are well cost the API
server nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tiercel_engine.printable import printable

START_TAKES = 120.0
"""Seconds that a new agent has until it has to answer. Compiling its programs takes most of them."""
_LONGEST = 200  # characters of what a node's kubelet says


class SignKind(Enum):
    """What became of an agent. The values are reasons of Events."""

    SILENT = "AgentSilent"
    RESTARTED = "AgentRestarted"
    BACK = "AgentBack"


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that is to be told of the agent of a node."""

    kind: SignKind
    node: str
    message: str


@dataclass(frozen=True, slots=True)
class AgentPod:
    """A pod of an agent. ``ended`` says how its container last came to its end, "" if it never did; ``leaving``: the
    pod is being deleted."""

    node: str
    name: str
    uid: str
    ready: bool
    restarts: int
    ended: str = ""
    leaving: bool = False


def agent_pod(body: Mapping[str, Any]) -> AgentPod | None:
    """The pod, as JSON, of an agent; None as long as it has no node."""
    metadata, status = body["metadata"], body.get("status") or {}
    node = (body.get("spec") or {}).get("nodeName")
    if not node:
        return None
    containers: Sequence[Mapping[str, Any]] = status.get("containerStatuses") or ()
    return AgentPod(
        node=node,
        name=metadata["name"],
        uid=metadata["uid"],
        ready=any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ()),
        restarts=sum(each.get("restartCount") or 0 for each in containers),
        ended=next(filter(None, map(_ended, containers)), ""),
        leaving="deletionTimestamp" in metadata,
    )


def _ended(container: Mapping[str, Any]) -> str:
    for state in (container.get("state") or {}, container.get("lastState") or {}):
        ended = state.get("terminated")
        if ended:
            text = f"{ended.get('reason') or 'ended'}, exit code {ended.get('exitCode')}"
            return printable(text)[:_LONGEST]
    return ""


@dataclass(slots=True)
class _Known:
    """What is known of a node's agent. ``since`` is when it was last seen to be well, or first seen; ``told``: that it
    is silent has been told."""

    pod: AgentPod | None
    since: float
    was_ready: bool = False
    told: bool = False


@dataclass(slots=True)
class Presence:
    """The agents of all nodes. One thread calls all methods. ``clock`` is monotonic seconds."""

    clock: Callable[[], float] = time.monotonic
    _known: dict[str, _Known] = field(default_factory=dict)
    _signs: list[Sign] = field(default_factory=list)

    def take(self, pod: AgentPod, *, exists: bool) -> None:
        """Takes the news of a pod: that it is there, has changed, or is gone."""
        known = self._known.setdefault(pod.node, _Known(None, self.clock()))
        before = known.pod
        if pod.leaving or not exists:
            if before is not None and before.uid == pod.uid:
                known.pod, known.since, known.was_ready = None, self.clock(), False
            return
        known.pod = pod
        if before is None or before.uid != pod.uid:
            known.since, known.was_ready = self.clock(), False
        elif pod.restarts > before.restarts:
            known.since, known.was_ready = self.clock(), False
            how = f" ({pod.ended})" if pod.ended else ""
            self._sign(SignKind.RESTARTED, pod.node, f"the agent came to its end{how} and was started again")
        if pod.ready:
            if known.told:
                self._sign(SignKind.BACK, pod.node, "the agent answers again")
            known.since, known.was_ready, known.told = self.clock(), True, False
        elif known.was_ready and not known.told:
            known.told = True
            ended = pod.ended and (before is None or before.ended != pod.ended)
            what = f"came to its end ({pod.ended})" if ended else "doesn't answer any more"
            self._sign(SignKind.SILENT, pod.node, f"the agent {what}")

    def signs(self, nodes: Container[str]) -> list[Sign]:
        """What is to be told since the last call. ``nodes`` are those that there are."""
        late = self.clock() - START_TAKES
        for node in [node for node in self._known if node not in nodes]:
            if self._known[node].pod is None:
                del self._known[node]
        for node, known in self._known.items():
            if known.was_ready or known.told or known.since > late:
                continue
            known.told = True
            what = "there is no agent" if known.pod is None else "the agent has been started, and doesn't answer"
            self._sign(SignKind.SILENT, node, what)
        signs, self._signs = self._signs, []
        return signs

    def _sign(self, kind: SignKind, node: str, what: str) -> None:
        effect = "" if kind is SignKind.BACK else ": what happens on this node may go unseen"
        self._signs.append(Sign(kind, node, what + effect))
