"""Where an agent gets its knowledge of workloads from."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiercel_agent.workloads.runtimes.model import DEFAULT_SOCKETS

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""The folder with a pod's token and with the certificates by which the API server is verified."""

PATIENCE = 0.5
"""Seconds for which the events of a new container wait for what its runtime and the API server say of it."""


class NoCluster(Exception):
    """The API server can't be reached as it is configured; the message says why."""


@dataclass(frozen=True, slots=True)
class WorkloadSettings:
    """``kubernetes``: whether an API server is asked. ``kubeconfig`` None: by the pod's service account."""

    sockets: tuple[Path, ...] = DEFAULT_SOCKETS
    kubernetes: bool = False
    kubeconfig: Path | None = None
    node: str = ""
    """The name of the node, as pods name it."""
    annotations: tuple[str, ...] = ()
    """Names of the pods' annotations that are kept."""
    patience: float = PATIENCE


def in_cluster() -> bool:
    """Whether this process runs in a pod with a service account."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").exists()


def found_here(
    sockets: Iterable[Path] = (), kubeconfig: Path | None = None, node: str = "", **others: Any
) -> WorkloadSettings:
    """Settings in which what isn't given is taken from this machine: the usual sockets, and the API server of the
    cluster that this process runs in."""
    return WorkloadSettings(
        sockets=tuple(sockets) or DEFAULT_SOCKETS,
        kubernetes=kubeconfig is not None or in_cluster(),
        kubeconfig=kubeconfig,
        node=node or os.environ.get("NODE_NAME") or platform.node().lower(),
        **others,
    )
