"""Starting the operator: kopf watches, the runner works."""

from __future__ import annotations

import asyncio
import os
import platform
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kopf

from tiercel_operator.kube import Kube
from tiercel_operator.leadership import Leadership
from tiercel_operator.runner import Runner

GROUP, VERSION = "tiercel.dev", "v1alpha1"


@dataclass(frozen=True, slots=True)
class Settings:
    """``kubeconfig`` None is the way of a pod's service account."""

    namespace: str = "tiercel-system"
    kubeconfig: Path | None = None


def run(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT."""
    if settings.kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(settings.kubeconfig)  # kopf's own login reads it
    asyncio.run(operate(settings))


async def operate(settings: Settings) -> None:
    kube = await asyncio.to_thread(Kube, settings.kubeconfig)
    identity = f"{platform.node()}-{uuid.uuid4().hex[:8]}"
    runner = Runner(kube, settings.namespace, Leadership(kube, settings.namespace, identity))
    working = asyncio.create_task(runner.run())
    try:
        await kopf.operator(registry=_registry(runner, settings), clusterwide=True, settings=_kopf_settings())
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def _kopf_settings() -> kopf.OperatorSettings:
    """Nothing of kopf's own in the objects, and no Events of its own beside the operator's."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.watching.connect_timeout = 10
    settings.watching.server_timeout = 300
    return settings


def _registry(runner: Runner, settings: Settings) -> kopf.OperatorRegistry:
    """Events are only noted: what follows from them is worked out of the whole, so none needs to be handled twice."""
    registry = kopf.OperatorRegistry()
    login = kopf.login_with_kubeconfig if settings.kubeconfig is not None else kopf.login_with_service_account
    kopf.on.login(registry=registry)(login)

    @kopf.on.event(GROUP, VERSION, "securityrules", registry=registry)
    async def rule(type: str | None, body: kopf.Body, **_: Any) -> None:
        runner.rule_event(body, exists=type != "DELETED")

    @kopf.on.event(GROUP, VERSION, "nodeagents", registry=registry)
    async def agent(type: str | None, body: kopf.Body, **_: Any) -> None:
        runner.agent_event(body, exists=type != "DELETED")

    @kopf.on.event("nodes", registry=registry)
    async def node(type: str | None, body: kopf.Body, **_: Any) -> None:
        runner.node_event(body, exists=type != "DELETED")

    return registry
