"""Listing what is in the cluster, in full, beside the events that tell of changes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from kubernetes.dynamic.exceptions import ForbiddenError, ResourceNotFoundError

from tiercel_engine.api_group import API_VERSION
from tiercel_engine.rule import Origin
from tiercel_operator.cluster.kube import Kube, error_text
from tiercel_operator.cluster.state import State

LOGGER = logging.getLogger(__name__)

LIST_EVERY = 300.0
"""Seconds."""


class ClusterListing:
    """Lists objects into a state: all of them before the first plan, since a bundle of some rules would take the others
    out of force; and now and then, in case an event was missed."""

    def __init__(self, kube: Kube, state: State) -> None:
        self.synced = False
        """Whether everything was listed once."""
        self._kube = kube
        self._state = state
        self._listed = float("-inf")

    def expire(self) -> None:
        """Has the next call of ``refresh`` list everything again."""
        self._listed = float("-inf")

    async def refresh(self) -> None:
        """Lists everything, if that was done more than ``LIST_EVERY`` ago. May raise one of ``kube.API_ERRORS``."""
        if time.monotonic() - self._listed < LIST_EVERY:
            return
        for kind, version, known in (
            ("SecurityRule", API_VERSION, lambda: dict(self._state.rules)),
            ("AlertSink", API_VERSION, lambda: dict(self._state.sinks)),
            ("Node", "v1", lambda: dict(self._state.nodes)),
        ):
            listed: set[Origin | str] = set()
            pages = self._kube.pages(version, kind)
            while (page := await asyncio.to_thread(next, pages, None)) is not None:
                listed.update(map(_key, page))
                for item in page:
                    self._state.take(kind, item, exists=True)
            for key in known():
                if key not in listed:
                    self._state.take(kind, {"metadata": _metadata(key)}, exists=False)
        if not self.synced:  # the first statuses count all agents, or they would say for a moment that there are none
            for item in await asyncio.to_thread(self._kube.list, API_VERSION, "NodeAgent"):
                self._state.take("NodeAgent", item, exists=True)
        self._state.api_addresses = await asyncio.to_thread(self._api_addresses)
        self._state.service_networks = await asyncio.to_thread(self._service_networks)
        self._listed = time.monotonic()
        self.synced = True

    def _api_addresses(self) -> tuple[str, ...]:
        """The addresses at which the API server itself listens, behind its Service."""
        try:
            endpoints = self._kube.get("v1", "Endpoints", "kubernetes", "default") or {}
        except ForbiddenError as error:
            LOGGER.warning("the addresses of the API server can't be read: %s", error_text(error))
            return self._state.api_addresses
        return tuple(
            sorted({each["ip"] for part in endpoints.get("subsets") or () for each in part.get("addresses") or ()})
        )

    def _service_networks(self) -> tuple[str, ...]:
        """The networks of Services, in CIDR notation. Kubernetes tells them from version 1.33 on."""
        try:
            listed = self._kube.list("networking.k8s.io/v1", "ServiceCIDR")
        except ResourceNotFoundError:
            return ()
        except ForbiddenError as error:
            LOGGER.warning("the networks of Services can't be read: %s", error_text(error))
            return self._state.service_networks
        return tuple(sorted({network for each in listed for network in (each.get("spec") or {}).get("cidrs") or ()}))


def _key(item: Mapping[str, Any]) -> Origin | str:
    metadata = item["metadata"]
    return Origin(metadata["namespace"], metadata["name"]) if "namespace" in metadata else str(metadata["name"])


def _metadata(key: object) -> dict[str, Any]:
    return {"namespace": key.namespace, "name": key.name} if isinstance(key, Origin) else {"name": key}
