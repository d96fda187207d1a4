"""AlertSinks: their Secrets are read, the Secret for the agents is written, then the statuses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from kubernetes.dynamic.exceptions import ForbiddenError

from tiercel_engine.rule import Origin
from tiercel_operator.cluster.kube import Kube
from tiercel_operator.cluster.objects import StoredSink
from tiercel_operator.cluster.state import State
from tiercel_operator.reconciliation.writer import ObjectWriter
from tiercel_operator.sinks.config import NoSecret, SecretName, referred, sinks_secret
from tiercel_operator.sinks.plan import SinkPlanner
from tiercel_operator.status_schedule import StatusWrite

CHECK_EVERY = 30.0
"""Seconds between two readings of all Secrets. They aren't watched: that would take the right to read every Secret."""


class SinkReconciler:
    """All methods belong to one event loop, and may raise one of ``kube.API_ERRORS``."""

    def __init__(self, kube: Kube, writer: ObjectWriter, state: State) -> None:
        self._kube = kube
        self._writer = writer
        self._state = state
        self._planner = SinkPlanner()
        self._checked = float("-inf")
        self._handled: tuple[Mapping[Origin, StoredSink], int, set[str], tuple[str, ...]] | None = None
        """The part of the state that was dealt with last."""
        self._generations: Mapping[Origin, int] | None = None
        self._secrets: dict[SecretName, Mapping[str, str] | NoSecret] = {}
        self._written = b""

    def expire(self) -> None:
        """Has the next call of ``reconcile`` read all Secrets again, and check what was written."""
        self._checked = float("-inf")

    async def reconcile(self) -> None:
        """Writes what follows from the AlertSinks if anything about them has changed, or if it is time to check."""
        is_due = time.monotonic() - self._checked >= CHECK_EVERY
        state = self._state.snapshot()
        current = state.sinks, state.delivery_changes, state.cluster_addresses(), state.service_networks
        if not is_due and current == self._handled:
            return
        generations = {origin: sink.generation for origin, sink in state.sinks.items()}
        if is_due or generations != self._generations:
            names = sorted(referred(state.sinks.values()))
            self._secrets = {name: await asyncio.to_thread(self._read_secret, name) for name in names}
        plan = await asyncio.to_thread(self._planner.plan, state, self._secrets)
        if is_due or plan.content != self._written:
            owner = await self._writer.owner()
            await self._writer.keep(sinks_secret(plan.content, self._writer.namespace, owner))
        self._written = plan.content
        if not await self._writer.write_in_turns(plan.statuses, self._write_status):
            return  # the next plan has the others
        self._handled, self._generations = current, generations
        if is_due:
            self._checked = time.monotonic()

    async def _write_status(self, write: StatusWrite) -> None:
        if await self._writer.write_status("AlertSink", write):
            self._planner.written(write.origin)

    def _read_secret(self, name: SecretName) -> Mapping[str, str] | NoSecret:
        try:
            secret = self._kube.get("v1", "Secret", name[1], name[0])
        except ForbiddenError:
            return NoSecret.FORBIDDEN
        return NoSecret.MISSING if secret is None else dict(secret.get("data") or {})
