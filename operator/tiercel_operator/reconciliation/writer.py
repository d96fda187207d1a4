"""Writing the objects that the operator keeps, and the statuses of custom resources."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tiercel_operator.bundle_config_maps import is_there
from tiercel_operator.kube import Kube
from tiercel_operator.status_schedule import StatusWrite

DEPLOYMENT = "tiercel-operator"
_REQUESTS_AT_ONCE = 8


@dataclass(slots=True)
class Counts:
    """Totals since the start, for the metrics."""

    plans: int = 0
    writes: int = 0
    failures: int = 0
    plan_seconds: float = 0.0
    """How long the last plan took."""


class ObjectWriter:
    """Writes into one cluster, and counts what it writes. All methods belong to one event loop; the requests are made
    in threads. Each method may raise one of ``kube.API_ERRORS``. ``namespace`` is the operator's own."""

    def __init__(self, kube: Kube, namespace: str, counts: Counts) -> None:
        self.namespace = namespace
        self._kube = kube
        self._counts = counts
        self._slots = asyncio.Semaphore(_REQUESTS_AT_ONCE)

    async def owner(self) -> dict[str, Any] | None:
        """An owner reference to the operator's Deployment: what it owns is deleted together with it. None if there is
        no such Deployment."""
        deployment = await asyncio.to_thread(self._kube.get, "apps/v1", "Deployment", DEPLOYMENT, self.namespace)
        if deployment is None:
            return None
        uid = deployment["metadata"]["uid"]
        return {"apiVersion": "apps/v1", "kind": "Deployment", "name": DEPLOYMENT, "uid": uid}

    async def keep(self, body: Mapping[str, Any]) -> None:
        """Writes an object unless the cluster has it as it should be."""
        metadata = body["metadata"]
        stored = await asyncio.to_thread(
            self._kube.get, body["apiVersion"], body["kind"], metadata["name"], metadata.get("namespace")
        )
        if not is_there(body, stored):
            await asyncio.to_thread(self._kube.apply, body)
            self._counts.writes += 1

    async def write_status(self, kind: str, write: StatusWrite) -> bool:
        """Writes a status; False if the object is gone."""
        origin = write.origin
        async with self._slots:
            is_written = await asyncio.to_thread(
                self._kube.write_status, kind, origin.name, origin.namespace, write.status, write.before
            )
        self._counts.writes += is_written
        return is_written

    async def post_event(self, event: Mapping[str, Any]) -> None:
        """Creates a Kubernetes Event."""
        async with self._slots:
            await asyncio.to_thread(self._kube.post_event, event)

    async def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> None:
        """Deletes an object, which may be gone already."""
        await asyncio.to_thread(self._kube.delete, api_version, kind, name, namespace)
