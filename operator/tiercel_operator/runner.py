"""The operator at work: events change the state, and after a moment of quiet a reconciliation writes what follows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

from tiercel_operator.cluster.budgets import TENANT, Size
from tiercel_operator.cluster.kube import API_ERRORS, Kube, error_text
from tiercel_operator.cluster.state import State
from tiercel_operator.leadership import RENEW_EVERY, Leadership
from tiercel_operator.reconciliation.gone_nodes import GoneNodes
from tiercel_operator.reconciliation.listing import ClusterListing
from tiercel_operator.reconciliation.rules import RuleReconciler
from tiercel_operator.reconciliation.sinks import SinkReconciler
from tiercel_operator.reconciliation.writer import Counts, ObjectWriter
from tiercel_operator.rules.checks import RuleChecks
from tiercel_operator.workers.pool import WorkerPool
from tiercel_operator.workers.slots import FairSlots

LOGGER = logging.getLogger(__name__)

QUIET = 0.1
"""Seconds without an event after which a reconciliation begins."""
LONGEST_WAIT = 1.0
"""Seconds after which it begins although events keep coming."""
CHECK_EVERY = 30.0
"""Seconds between two checks of what was written, in case others have changed it, and of conditions that run out."""
_RETRY_AFTER = 1.0
"""Seconds until another attempt without a change. Each further one waits for twice as long."""
_LONGEST_RETRY = 5.0

FixedObjects = Callable[[Mapping[str, Any] | None], Iterable[Mapping[str, Any]]]
"""Makes the objects that don't depend on the cluster's state, such as the agents' DaemonSet, given the owner reference
for them."""


class Runner:
    """Keeps the cluster as the custom resources want it, as long as this operator leads. All methods belong to one
    event loop; requests are made in threads."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        leadership: Leadership,
        fixed_objects: FixedObjects,
        workers: WorkerPool,
        slots: FairSlots,
        tenant: Size = TENANT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = State(tenant=tenant)
        self.counts = Counts()
        self._leadership = leadership
        self._fixed_objects = fixed_objects
        self._changed = asyncio.Event()
        self._writer = ObjectWriter(kube, namespace, self.counts, self._changed.set, clock)
        self._listing = ClusterListing(kube, self.state)
        self._checks = RuleChecks(workers, slots, self._changed.set)
        self.rules = RuleReconciler(kube, self._writer, self.state, self.counts, self._checks, tenant)
        self._sinks = SinkReconciler(kube, self._writer, self.state)
        self._gone_nodes = GoneNodes(self._writer, self.state)
        self._clock = clock
        self._checked = float("-inf")
        self._wait = CHECK_EVERY
        self._failed_before = False
        self._sound = clock()

    @property
    def leads(self) -> bool:
        """Whether this operator is the one that writes."""
        return self._leadership.leads

    @property
    def synced(self) -> bool:
        """Whether all objects of the cluster are known."""
        return self._listing.synced

    @property
    def failing_for(self) -> float:
        """For how many seconds no reconciliation has come to its end but by this operator's own fault: each one has
        failed with an error that nobody foresaw, or one doesn't end. 0 while it doesn't lead.

        That the API server is away or refuses something is no such fault.
        """
        return self._clock() - max(self._sound, self.counts.unreachable_at) if self.leads else 0.0

    def rule_event(self, body: Mapping[str, Any], *, exists: bool) -> None:
        self._note(self.state.take("SecurityRule", body, exists=exists))

    def agent_event(self, body: Mapping[str, Any], *, exists: bool) -> None:
        self._note(self.state.take("NodeAgent", body, exists=exists))

    def sink_event(self, body: Mapping[str, Any], *, exists: bool) -> None:
        self._note(self.state.take("AlertSink", body, exists=exists))

    def node_event(self, body: Mapping[str, Any], *, exists: bool) -> None:
        self._note(self.state.take("Node", body, exists=exists))

    async def run(self) -> None:
        """Works until it is cancelled."""
        leading = asyncio.create_task(self._keep_leading())
        try:
            while True:
                await self._wait_for_changes()
                if self._leadership.leads:
                    await self._try_to_reconcile()
                else:
                    self._sound = self._clock()
        finally:
            leading.cancel()
            await self._checks.stop()
            await self._resign()

    def _note(self, is_change: bool) -> None:
        if is_change:
            self._changed.set()

    async def _wait_for_changes(self) -> None:
        """Waits for a change, and then until no more come; without any, until it is time to check or to try again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wait):  # wait_for of Python 3.11 may swallow a cancellation
                await self._changed.wait()
        end = time.monotonic() + LONGEST_WAIT
        while self._changed.is_set() and time.monotonic() < end:
            self._changed.clear()
            await asyncio.sleep(QUIET)
        self._changed.clear()

    async def _keep_leading(self) -> None:
        while True:
            led_before = self._leadership.leads
            try:
                leads = await asyncio.to_thread(self._leadership.attempt)
            except API_ERRORS as error:
                LOGGER.warning("the lease can't be renewed: %s", error_text(error))
                leads = self._leadership.leads
            if leads and not led_before:
                LOGGER.info("this operator leads")
                self._checked = float("-inf")
                self._listing.expire()
                self.rules.expire()
                self._sinks.expire()
                self._changed.set()
            await asyncio.sleep(RENEW_EVERY)

    async def _resign(self) -> None:
        try:
            await asyncio.to_thread(self._leadership.resign)
        except API_ERRORS as error:
            LOGGER.warning("the lease can't be given up, and runs out by itself: %s", error_text(error))

    async def _try_to_reconcile(self) -> None:
        """Does each part of a reconciliation, whatever becomes of the others."""
        is_check = self._clock() - self._checked >= CHECK_EVERY
        parts: list[Callable[[], Awaitable[None]]] = [partial(self._reconcile_rules, is_check), self._sinks.reconcile]
        if is_check:  # after the sinks, so that new agents have them at once
            parts.append(self._keep_fixed_objects)
        parts.append(self._gone_nodes.remove_agents)
        failed, own_fault = await self._try(self._listing.refresh)
        for part in parts if self.synced else ():
            part_failed, part_own_fault = await self._try(part)
            failed, own_fault = failed or part_failed, own_fault or part_own_fault
        if not own_fault:
            self._sound = self._clock()
        self.counts.failures += failed
        wait = min(2 * self._wait, _LONGEST_RETRY) if self._failed_before else _RETRY_AFTER
        self._wait = wait if failed else CHECK_EVERY
        self._failed_before = failed

    async def _try(self, part: Callable[[], Awaitable[None]]) -> tuple[bool, bool]:
        """Whether a part failed, and whether that was this operator's own fault."""
        try:
            await part()
        except API_ERRORS as error:
            LOGGER.warning("a request to the API server failed, trying again: %s", error_text(error))
            return True, False
        except Exception:
            LOGGER.exception("a part of a reconciliation failed, please report it; trying again")
            return True, True
        return False, False

    async def _reconcile_rules(self, is_check: bool) -> None:
        started = self._clock()
        plan = await self.rules.plan()
        if is_check or self.rules.is_new(plan):
            await self.rules.write_bundle(plan)
            self._checked = self._clock()
        await self.rules.write_statuses(plan)
        if plan.statuses:
            LOGGER.info("%d statuses in %.2f s", len(plan.statuses), self._clock() - started)

    async def _keep_fixed_objects(self) -> None:
        for body in self._fixed_objects(await self._writer.owner()):
            try:
                await self._writer.keep(body)
            except API_ERRORS as error:
                self.counts.failures += 1
                name = body["metadata"]["name"]
                LOGGER.error("%s %s can't be written: %s", body["kind"], name, error_text(error))
