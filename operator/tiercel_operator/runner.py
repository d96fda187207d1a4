"""The operator at work: events in, and after a moment of quiet what follows from them out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubernetes.dynamic.exceptions import ForbiddenError

from tiercel_engine.api_group import API_VERSION
from tiercel_engine.rule import Origin
from tiercel_operator.bundle_config_maps import MOST_PARTS, bundle_config_maps, config_map_name, is_there
from tiercel_operator.kube import Kube, Trouble, said
from tiercel_operator.leadership import RENEW_EVERY, Leadership
from tiercel_operator.objects import StoredSink
from tiercel_operator.rules.events import validity_event
from tiercel_operator.rules.plan import Plan, Planner
from tiercel_operator.sinks.config import NoSecret, SecretName, referred, sinks_secret
from tiercel_operator.sinks.plan import SinkPlanner
from tiercel_operator.state import State
from tiercel_operator.status_schedule import StatusWrite

LOGGER = logging.getLogger("tiercel.operator")

QUIET = 0.1
"""Seconds without news after which what has come is worked on."""
LONGEST_WAIT = 1.0
"""Seconds for which news are waited on at most."""
LOOK_AGAIN = 30.0
"""Seconds between two looks at what was written, in case others have changed it, and at conditions that run out."""
LIST_AGAIN = 300.0
_AT_ONCE = 8
_NODE_IS_GONE_AFTER = 600.0


Others = Callable[[Mapping[str, Any] | None], Iterable[Mapping[str, Any]]]
"""Makes objects to be kept as they are, given the owner reference for them."""


@dataclass(slots=True)
class Counts:
    """What the metrics tell."""

    plans: int = 0
    writes: int = 0
    failures: int = 0
    plan_seconds: float = 0.0
    """What the last plan took."""


class Runner:
    """All methods belong to one event loop; requests are made in threads."""

    def __init__(self, kube: Kube, namespace: str, leadership: Leadership, others: Others) -> None:
        self._others = others
        self.state = State()
        self.counts = Counts()
        self.synced = False
        self._kube = kube
        self._namespace = namespace
        self._leadership = leadership
        self._planner = Planner()
        self._news = asyncio.Event()
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._bundle = ""
        self._looked = float("-inf")
        self._listed = float("-inf")
        self._gone_since: dict[str, float] = {}
        self._sink_planner = SinkPlanner()
        self._sinks: tuple[Mapping[Origin, StoredSink], int, set[str]] | None = None
        self._sinks_looked = float("-inf")
        self._sinks_content = b""
        self._secrets: dict[SecretName, Mapping[str, str] | NoSecret] = {}
        self._generations: Mapping[Origin, int] | None = None

    @property
    def leads(self) -> bool:
        return self._leadership.leads

    def rule_event(self, body: Mapping[str, Any], *, exists: bool) -> None:
        self._note(self.state.take_rule(body, exists=exists))

    def agent_event(self, body: Mapping[str, Any], *, exists: bool) -> None:
        self._note(self.state.take_agent(body, exists=exists, now=time.monotonic()))

    def sink_event(self, body: Mapping[str, Any], *, exists: bool) -> None:
        self._note(self.state.take_sink(body, exists=exists))

    def node_event(self, body: Mapping[str, Any], *, exists: bool) -> None:
        self._note(self.state.take_node(body, exists=exists))

    async def run(self) -> None:
        """Until it is cancelled."""
        leading = asyncio.create_task(self._lead())
        try:
            while True:
                await self._quiet()
                if self._leadership.leads:
                    await self._turn()
        finally:
            leading.cancel()
            with contextlib.suppress(*Trouble):
                await asyncio.to_thread(self._leadership.resign)

    def _note(self, new: bool) -> None:
        if new:
            self._news.set()

    async def _quiet(self) -> None:
        """Waits for news, and then until no more come."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), LOOK_AGAIN)
        end = time.monotonic() + LONGEST_WAIT
        while self._news.is_set() and time.monotonic() < end:
            self._news.clear()
            await asyncio.sleep(QUIET)
        self._news.clear()

    async def _lead(self) -> None:
        while True:
            before = self._leadership.leads
            try:
                leads = await asyncio.to_thread(self._leadership.attempt)
            except Trouble as error:
                LOGGER.warning("the lease can't be renewed: %s", said(error))
                leads = self._leadership.leads
            if leads and not before:
                LOGGER.info("this operator leads")
                self._listed = self._looked = self._sinks_looked = float("-inf")
                self._news.set()
            await asyncio.sleep(RENEW_EVERY)

    async def _turn(self) -> None:
        try:
            await self._list_again()
            started = time.monotonic()
            plan = await asyncio.to_thread(self._planner.plan, self.state.snapshot())
            self.counts.plans += 1
            self.counts.plan_seconds = time.monotonic() - started
            looks = await self._write_bundle(plan)
            await asyncio.gather(*(self._write_status(write) for write in plan.statuses))
            try:
                await self._work_on_sinks()
            finally:  # after the sinks, so that new agents have them at once, but whatever is wrong with those
                if looks:
                    await self._write_others()
            await self._remove_agents_of_gone_nodes()
            if plan.statuses:
                LOGGER.info("%d statuses in %.2f s", len(plan.statuses), time.monotonic() - started)
        except Trouble as error:
            self.counts.failures += 1
            LOGGER.warning("trouble with the API, trying again: %s", said(error))
            await self._try_again()
        except Exception:  # one object that nobody foresaw must not end the work on all others
            self.counts.failures += 1
            LOGGER.exception("a turn failed, please report it; trying again")
            await self._try_again()

    async def _try_again(self) -> None:
        await asyncio.sleep(1)
        self._news.set()

    async def _list_again(self) -> None:
        """All rules at the beginning, since a bundle of some would take others out of force; and now and then, in case
        an event was missed."""
        if time.monotonic() - self._listed < LIST_AGAIN:
            return
        for kind, version, take, known in (
            ("SecurityRule", API_VERSION, self.state.take_rule, lambda: dict(self.state.rules)),
            ("AlertSink", API_VERSION, self.state.take_sink, lambda: dict(self.state.sinks)),
            ("Node", "v1", self.state.take_node, lambda: dict(self.state.nodes)),
        ):
            items = await asyncio.to_thread(self._kube.list, version, kind)
            listed = {_key(item) for item in items}
            for item in items:
                take(item, exists=True)
            for key in known():
                if key not in listed:
                    take({"metadata": _metadata(key)}, exists=False)
        if not self.synced:  # statuses tell of all agents at once, or they would say for a moment that there are none
            for item in await asyncio.to_thread(self._kube.list, API_VERSION, "NodeAgent"):
                self.state.take_agent(item, exists=True, now=time.monotonic())
        self.state.api_addresses = await asyncio.to_thread(self._api_addresses)
        self._listed = time.monotonic()
        self.synced = True

    async def _write_bundle(self, plan: Plan) -> bool:
        """Writes what isn't there; now and then it is looked at whether it still is. Whether it was looked at."""
        new = plan.bundle.hash != self._bundle
        if not new and time.monotonic() - self._looked < LOOK_AGAIN:
            return False
        owner = await asyncio.to_thread(self._owner)
        if plan.too_large:
            LOGGER.error("the bundle stays as it is: %s", plan.too_large)
        for body in () if plan.too_large else bundle_config_maps(plan.bundle, self._namespace, owner):
            await self._keep(body)
        if new and self._bundle and not plan.too_large:
            for number in range(len(plan.bundle.parts), MOST_PARTS):
                await asyncio.to_thread(self._kube.delete, "v1", "ConfigMap", config_map_name(number), self._namespace)
        if new and not plan.too_large:
            LOGGER.info("bundle %s of %d SecurityRules", plan.bundle.hash, len(self.state.rules))
        self._bundle, self._looked = plan.bundle.hash, time.monotonic()
        return True

    async def _write_others(self) -> None:
        for other in self._others(await asyncio.to_thread(self._owner)):
            try:
                await self._keep(other)
            except Trouble as error:
                self.counts.failures += 1
                LOGGER.error("%s %s can't be written: %s", other["kind"], other["metadata"]["name"], said(error))

    async def _keep(self, body: Mapping[str, Any]) -> None:
        """Writes an object unless it is there as it should be."""
        metadata = body["metadata"]
        found = await asyncio.to_thread(
            self._kube.get, body["apiVersion"], body["kind"], metadata["name"], metadata.get("namespace")
        )
        if not is_there(body, found):
            await asyncio.to_thread(self._kube.apply, body)
            self.counts.writes += 1

    def _owner(self) -> dict[str, Any] | None:
        """The operator's Deployment: with it goes what it made."""
        found = self._kube.get("apps/v1", "Deployment", "tiercel-operator", self._namespace)
        if found is None:
            return None
        uid = found["metadata"]["uid"]
        return {"apiVersion": "apps/v1", "kind": "Deployment", "name": "tiercel-operator", "uid": uid}

    async def _write_status(self, write: StatusWrite) -> None:
        origin = write.origin
        async with self._at_once:
            if await self._put_status("SecurityRule", origin, write.status, write.before):
                self._planner.written(origin)
                stored = self.state.rules.get(origin)
                event = validity_event(stored, write) if stored is not None else None
                if event is not None:
                    await asyncio.to_thread(self._kube.post_event, event)

    async def _put_status(
        self, kind: str, origin: Origin, status: Mapping[str, Any], before: Mapping[str, Any]
    ) -> bool:
        """False if the object is gone."""
        done = await asyncio.to_thread(self._kube.write_status, kind, origin.name, origin.namespace, status, before)
        self.counts.writes += done
        return done

    async def _work_on_sinks(self) -> None:
        """Secrets aren't watched, which would take the right to read all of them: they are looked at now and then."""
        looks = time.monotonic() - self._sinks_looked >= LOOK_AGAIN
        state = self.state.snapshot()
        seen = state.sinks, state.delivery_changes, state.cluster_addresses()
        if not looks and seen == self._sinks:
            return
        generations = {origin: sink.generation for origin, sink in state.sinks.items()}
        if looks or generations != self._generations:
            names = sorted(referred(state.sinks.values()))
            self._secrets = {name: await asyncio.to_thread(self._secret, name) for name in names}
        plan = await asyncio.to_thread(self._sink_planner.plan, state, self._secrets)
        if looks or plan.content != self._sinks_content:
            owner = await asyncio.to_thread(self._owner)
            await self._keep(sinks_secret(plan.content, self._namespace, owner))
        self._sinks_content = plan.content
        done = await asyncio.gather(*map(self._write_sink_status, plan.statuses), return_exceptions=True)
        for error in filter(None, done):  # one that can't be written keeps no other from being
            raise error
        self._sinks, self._generations = seen, generations
        if looks:
            self._sinks_looked = time.monotonic()

    async def _write_sink_status(self, write: StatusWrite) -> None:
        async with self._at_once:
            if await self._put_status("AlertSink", write.origin, write.status, write.before):
                self._sink_planner.written(write.origin)

    def _api_addresses(self) -> tuple[str, ...]:
        """Where the API server itself listens, behind its Service."""
        try:
            found = self._kube.get("v1", "Endpoints", "kubernetes", "default") or {}
        except ForbiddenError:
            return self.state.api_addresses
        return tuple(
            sorted({each["ip"] for part in found.get("subsets") or () for each in part.get("addresses") or ()})
        )

    def _secret(self, name: SecretName) -> Mapping[str, str] | NoSecret:
        try:
            found = self._kube.get("v1", "Secret", name[1], name[0])
        except ForbiddenError:
            return NoSecret.FORBIDDEN
        return NoSecret.MISSING if found is None else dict(found.get("data") or {})

    async def _remove_agents_of_gone_nodes(self) -> None:
        now = time.monotonic()
        self._gone_since = {name: since for name, since in self._gone_since.items() if name in self.state.agents}
        for name in list(self.state.agents):
            if name in self.state.nodes or not self.synced:
                self._gone_since.pop(name, None)
            elif now - self._gone_since.setdefault(name, now) > _NODE_IS_GONE_AFTER:
                await asyncio.to_thread(self._kube.delete, API_VERSION, "NodeAgent", name)
                LOGGER.info("removed the NodeAgent of the node %s, which is gone", name)


def _key(item: Mapping[str, Any]) -> Origin | str:
    metadata = item["metadata"]
    return Origin(metadata["namespace"], metadata["name"]) if "namespace" in metadata else str(metadata["name"])


def _metadata(key: object) -> dict[str, Any]:
    return {"namespace": key.namespace, "name": key.name} if isinstance(key, Origin) else {"name": key}
