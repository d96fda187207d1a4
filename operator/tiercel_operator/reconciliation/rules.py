"""SecurityRules: the bundle for the agents is planned and written, then the statuses and their Events."""

from __future__ import annotations

import asyncio
import logging
import time

from tiercel_operator.bundle_config_maps import MOST_PARTS, bundle_config_maps, config_map_name
from tiercel_operator.reconciliation.writer import Counts, ObjectWriter, all_of
from tiercel_operator.rules.budgets import TENANT, Size
from tiercel_operator.rules.events import validity_event
from tiercel_operator.rules.plan import Plan, Planner
from tiercel_operator.state import State
from tiercel_operator.status_schedule import StatusWrite

LOGGER = logging.getLogger(__name__)


class RuleReconciler:
    """All methods belong to one event loop, and may raise one of ``kube.API_ERRORS``."""

    def __init__(self, writer: ObjectWriter, state: State, counts: Counts, tenant: Size = TENANT) -> None:
        self.planner = Planner(tenant=tenant)
        self._writer = writer
        self._state = state
        self._counts = counts
        self._written_bundle = ""

    async def plan(self) -> Plan:
        """What follows from the state as it is now. Planning takes a thread of its own: it may take seconds."""
        started = time.monotonic()
        plan = await asyncio.to_thread(self.planner.plan, self._state.snapshot())
        self._counts.plans += 1
        self._counts.plan_seconds = time.monotonic() - started
        return plan

    def is_new(self, plan: Plan) -> bool:
        """Whether the plan's bundle is another one than was written last."""
        return plan.bundle.hash != self._written_bundle

    async def write_bundle(self, plan: Plan) -> None:
        """Writes the ConfigMaps of the bundle that the cluster doesn't have as they should be."""
        is_new = self.is_new(plan)
        owner = await self._writer.owner()
        for body in bundle_config_maps(plan.bundle, self._writer.namespace, owner):
            await self._writer.keep(body)
        if is_new and self._written_bundle:
            for number in range(len(plan.bundle.parts), MOST_PARTS):
                await self._writer.delete("v1", "ConfigMap", config_map_name(number), self._writer.namespace)
        if is_new:
            LOGGER.info("bundle %s of %d SecurityRules", plan.bundle.hash, len(self._state.rules))
        self._written_bundle = plan.bundle.hash

    async def write_statuses(self, plan: Plan) -> None:
        await all_of(map(self._write_status, plan.statuses))

    async def _write_status(self, write: StatusWrite) -> None:
        if not await self._writer.write_status("SecurityRule", write):
            return
        self.planner.written(write.origin)
        stored = self._state.rules.get(write.origin)
        event = validity_event(stored, write) if stored is not None else None
        if event is not None:
            await self._writer.post_event(event)
