"""Starting the operator: kopf watches the cluster, and the runner reconciles it."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import kopf

from tiercel_engine.api_group import API_GROUP, VERSION
from tiercel_engine.memory import keep_large_pieces_apart
from tiercel_engine.resources.alert_sink import ALERT_SINK
from tiercel_engine.resources.node_agent import NODE_AGENT
from tiercel_engine.resources.security_rule import SECURITY_RULE
from tiercel_engine.scope import SYSTEM_NAMESPACE
from tiercel_operator.admission.service import AdmissionService, Endpoint
from tiercel_operator.agents.config import agent_config_map
from tiercel_operator.agents.daemonset import daemonset
from tiercel_operator.agents.policies import POLICIES_SINCE, agent_policies
from tiercel_operator.agents.settings import AgentSettings
from tiercel_operator.agents.watch import AgentWatch
from tiercel_operator.bundle_config_maps import MOST_PARTS
from tiercel_operator.cluster.budgets import TENANT, Size
from tiercel_operator.cluster.kube import Kube
from tiercel_operator.cluster.watch_session import bounded
from tiercel_operator.cluster.watching import watch
from tiercel_operator.health import serve_health
from tiercel_operator.leadership import Leadership
from tiercel_operator.runner import Runner
from tiercel_operator.workers.pool import WorkerPool
from tiercel_operator.workers.slots import FairSlots

LOGGER = logging.getLogger(__name__)

WORK: Final = ("tiercel_operator.admission.review", "tiercel_operator.rules.checking")
"""The modules of what workers do."""
WORKERS: Final = 3
"""Namespaces for which a worker is at work at once, and one more that takes longer than usual. All together they stay
below the operator's limit of memory."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the operator is run. Without ``kubeconfig`` it uses the service account of its pod. Without ``endpoint``
    there is no webhook, without ``agents`` no DaemonSet, and without ``health_port`` no server for probes and
    metrics."""

    namespace: str = SYSTEM_NAMESPACE
    kubeconfig: Path | None = None
    endpoint: Endpoint | None = None
    agents: AgentSettings | None = None
    health_port: int | None = None
    tenant: Size = TENANT
    """The budget of each namespace's SecurityRules, but for the system's."""


def run(settings: Settings) -> None:
    """Runs the operator until SIGTERM or SIGINT."""
    keep_large_pieces_apart()  # such as SecurityRules of a megabyte that come and are left out
    if settings.kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(settings.kubeconfig)  # kopf's own login reads it
    asyncio.run(operate(settings))


async def operate(settings: Settings) -> None:
    """Runs the operator in the present event loop until it is cancelled or gets SIGTERM or SIGINT."""
    kube = await asyncio.to_thread(Kube, settings.kubeconfig)
    version = await asyncio.to_thread(kube.version)
    agents = replace(settings.agents, kubernetes=version) if settings.agents is not None else None
    cluster_owner = await asyncio.to_thread(_namespace_owner, kube, settings.namespace)
    identity = f"{platform.node()}-{uuid.uuid4().hex[:8]}"
    admission: AdmissionService | None = None

    def fixed_objects(owner: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
        if agents is not None:
            yield agent_config_map(agents, owner)
            yield daemonset(agents, MOST_PARTS, owner)
            if version >= POLICIES_SINCE:
                yield from agent_policies(agents, cluster_owner)
        configuration = admission.configuration() if admission is not None else None
        if configuration is not None:
            yield configuration

    leadership = Leadership(kube, settings.namespace, identity)
    workers, slots = WorkerPool(WORK), FairSlots(WORKERS)
    runner = Runner(kube, settings.namespace, leadership, fixed_objects, workers, slots, settings.tenant)
    working = [asyncio.create_task(runner.run())]
    if agents is not None:
        watched = AgentWatch(kube, agents.namespace, lambda: runner.leads, lambda: runner.state.nodes)
        working.append(asyncio.create_task(watched.run()))
    if settings.endpoint is not None:
        admission = AdmissionService(
            kube, settings.namespace, runner.state, settings.endpoint, workers, slots, settings.tenant
        )
        working.append(asyncio.create_task(admission.run()))
    health = None
    if settings.health_port:
        health = await serve_health(runner, "0.0.0.0", settings.health_port, settings.namespace)  # noqa: S104
    try:
        await watch(_registry(runner, settings), kube)
    finally:
        for task in working:
            task.cancel()
        for outcome in await asyncio.gather(*working, return_exceptions=True):
            if isinstance(outcome, Exception):
                LOGGER.error("a task of the operator failed", exc_info=outcome)
        workers.close()
        if health is not None:
            await health.cleanup()


def _namespace_owner(kube: Kube, namespace: str) -> dict[str, Any] | None:
    """An owner reference to the namespace, for what has none itself: it is deleted together with the namespace."""
    found = kube.get("v1", "Namespace", namespace)
    if found is None:
        return None
    return {"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": found["metadata"]["uid"]}


def _registry(runner: Runner, settings: Settings) -> kopf.OperatorRegistry:
    """The handlers of events. They only change the state, in the event loop of the runner: each reconciliation follows
    from the whole state, so no event has to be handled again."""
    registry = kopf.OperatorRegistry()
    login = kopf.login_with_kubeconfig if settings.kubeconfig is not None else kopf.login_with_service_account
    kopf.on.login(registry=registry)(bounded(login))
    loop = asyncio.get_running_loop()

    def tell(group: str, version: str, plural: str, take: Callable[..., None]) -> None:
        @kopf.on.event(group, version, plural, registry=registry)
        async def happened(type: str | None, body: kopf.Body, **_: Any) -> None:
            loop.call_soon_threadsafe(partial(take, body, exists=type != "DELETED"))

    tell(API_GROUP, VERSION, SECURITY_RULE.plural, runner.rule_event)
    tell(API_GROUP, VERSION, NODE_AGENT.plural, runner.agent_event)
    tell(API_GROUP, VERSION, ALERT_SINK.plural, runner.sink_event)
    tell("", "v1", "nodes", runner.node_event)
    return registry
