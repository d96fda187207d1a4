"""SecurityRules: they are checked, the bundle for the agents is planned and written, then the statuses and their
Events."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from tiercel_engine.api_group import API_VERSION
from tiercel_engine.located import located
from tiercel_engine.rule import Origin
from tiercel_engine.rules.bundle import BundleError, unpack
from tiercel_engine.rules.objects import RuleObject
from tiercel_operator.bundle_config_maps import MOST_PARTS, bundle_config_maps, config_map_name, written_bundle
from tiercel_operator.cluster.budgets import TENANT, Size
from tiercel_operator.cluster.kube import Kube
from tiercel_operator.cluster.state import State
from tiercel_operator.reconciliation.writer import Counts, ObjectWriter
from tiercel_operator.rules.checks import RuleChecks
from tiercel_operator.rules.events import validity_event
from tiercel_operator.rules.plan import Plan, Planner
from tiercel_operator.status_schedule import StatusWrite

LOGGER = logging.getLogger(__name__)

PATIENCE: Final = 1.0
"""Seconds that checks are waited for, so that a change gives one bundle and one status as a rule."""


class RuleReconciler:
    """All methods belong to one event loop, and may raise one of ``kube.API_ERRORS``."""

    def __init__(
        self, kube: Kube, writer: ObjectWriter, state: State, counts: Counts, checks: RuleChecks, tenant: Size = TENANT
    ) -> None:
        self.planner = Planner(tenant=tenant)
        self._kube = kube
        self._checks = checks
        self._writer = writer
        self._state = state
        self._counts = counts
        self._written_bundle = ""
        self._has_begun = False

    def expire(self) -> None:
        """Has the next plan read what agents have got: another operator may have written it."""
        self._has_begun = False

    async def plan(self) -> Plan:
        """What follows from the state as it is now. Planning takes a thread of its own: it may take seconds.

        Checks that aren't done soon are waited for no longer: there is another plan when they are.
        """
        if not self._has_begun:  # what agents have got stays in force until it was checked
            self.planner.begin_with(await asyncio.to_thread(self._written_objects))
            self._has_begun = True
        started = time.monotonic()
        for origin in await asyncio.to_thread(self.planner.missing, self._state.snapshot()):
            await self._bring_back(origin)
        self._checks.want(await asyncio.to_thread(self.planner.candidates, self._state.snapshot()))
        await self._checks.settle(PATIENCE)
        plan = await asyncio.to_thread(self.planner.plan, self._state.snapshot(), self._checks.verdicts())
        self._counts.plans += 1
        self._counts.plan_seconds = time.monotonic() - started
        return plan

    async def _bring_back(self, origin: Origin) -> None:
        """Has an object in memory again that was left out."""
        body = await asyncio.to_thread(self._kube.get, API_VERSION, "SecurityRule", origin.name, origin.namespace)
        if body is not None:
            self._state.take_rule(body, exists=True, whole=True)

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

    def _written_objects(self) -> tuple[RuleObject, ...]:
        """The objects of the bundle that the cluster has; none if there is no whole one."""
        names = map(config_map_name, range(MOST_PARTS))
        maps = [self._kube.get("v1", "ConfigMap", name, self._writer.namespace) for name in names]
        bundle = written_bundle([each for each in maps if each is not None])
        try:
            return unpack(bundle) if bundle is not None else ()
        except (BundleError, ValueError, KeyError, TypeError) as error:
            LOGGER.warning("the bundle in the cluster can't be read, and is made anew: %s", located(error))
            return ()

    async def write_statuses(self, plan: Plan) -> None:
        """Writes statuses of the plan for a moment. The next plan has those that are left, as they are then."""
        await self._writer.write_in_turns(plan.statuses, self._write_status)

    async def _write_status(self, write: StatusWrite) -> None:
        if not await self._writer.write_status("SecurityRule", write):
            return
        self.planner.written(write.origin)
        stored = self._state.rules.get(write.origin)
        event = validity_event(stored, write) if stored is not None else None
        if event is not None:
            await self._writer.post_event(event)
