"""Writing the objects that the operator keeps, and the statuses of custom resources."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from kubernetes.dynamic.exceptions import DynamicApiError

from tiercel_operator.bundle_config_maps import is_there
from tiercel_operator.cluster.kube import API_ERRORS, Kube, error_text
from tiercel_operator.status_schedule import StatusWrite

LOGGER = logging.getLogger(__name__)

DEPLOYMENT = "tiercel-operator"
STATUSES_FOR = 1.0
"""Seconds for which statuses are written, before it is looked whether there is something more important to write."""
_REQUESTS_AT_ONCE = 8
_REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)


@dataclass(slots=True)
class Counts:
    """Totals since the start, for the metrics."""

    plans: int = 0
    writes: int = 0
    failures: int = 0
    plan_seconds: float = 0.0
    """How long the last plan took."""
    unreachable_at: float = float("-inf")
    """When a status or an Event could last not be written, in monotonic seconds."""


class ObjectWriter:
    """Writes into one cluster, and counts what it writes. All methods belong to one event loop; the requests are made
    in threads. Each method may raise one of ``kube.API_ERRORS``. ``namespace`` is the operator's own; ``again`` is
    called when something is left to write."""

    def __init__(
        self, kube: Kube, namespace: str, counts: Counts, again: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        self.namespace = namespace
        self._kube = kube
        self._counts = counts
        self._again = again
        self._clock = clock

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

    async def write_in_turns(
        self, writes: Iterable[StatusWrite], write_one: Callable[[StatusWrite], Awaitable[None]]
    ) -> bool:
        """Writes statuses, each by ``write_one``, for ``STATUSES_FOR`` seconds; whether these were all. Namespaces take
        turns, so that nobody's many objects keep others' from having theirs.

        An error is raised at the end: what fails for one object must not keep back others.
        """
        waiting, errors = in_turns(writes), list[Exception]()
        end = self._clock() + STATUSES_FOR

        async def write_some() -> None:
            while waiting and self._clock() < end:
                try:
                    await write_one(waiting.popleft())
                except Exception as error:
                    errors.append(error)

        await asyncio.gather(*(write_some() for _ in range(_REQUESTS_AT_ONCE)))
        for error in errors:
            raise error
        if waiting:
            self._again()
        return not waiting

    async def write_status(self, kind: str, write: StatusWrite) -> bool:
        """Writes a status; False if the object is gone, or the API server refuses this status."""
        origin = write.origin
        what = f"the status of the {kind} {origin.namespace}/{origin.name}"
        async with self._tolerant(what):
            is_written = await asyncio.to_thread(
                self._kube.write_status, kind, origin.name, origin.namespace, write.status, write.before
            )
            self._counts.writes += is_written
            return is_written
        return False

    async def post_event(self, event: Mapping[str, Any]) -> None:
        """Creates a Kubernetes Event, unless the API server refuses it."""
        about = event["involvedObject"]
        async with self._tolerant(f"an Event on {about['namespace']}/{about['name']}"):
            await asyncio.to_thread(self._kube.post_event, event)

    @contextlib.asynccontextmanager
    async def _tolerant(self, what: str) -> AsyncIterator[None]:
        """Counts a write that is refused for what is written, and doesn't raise that: another try gives no other
        answer."""
        try:
            yield
        except DynamicApiError as error:
            if error.status not in _REFUSED:
                self._counts.unreachable_at = time.monotonic()
                raise
            self._counts.failures += 1
            LOGGER.error("%s can't be written: %s", what, error_text(error))
        except API_ERRORS:
            self._counts.unreachable_at = time.monotonic()
            raise

    async def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> None:
        """Deletes an object, which may be gone already."""
        await asyncio.to_thread(self._kube.delete, api_version, kind, name, namespace)


def in_turns(writes: Iterable[StatusWrite]) -> deque[StatusWrite]:
    """The first of each namespace, then the second of each …"""
    numbers: Counter[str] = Counter()
    numbered: list[tuple[int, StatusWrite]] = []
    for each in writes:
        numbered.append((numbers[each.origin.namespace], each))
        numbers[each.origin.namespace] += 1
    return deque(each for _, each in sorted(numbered, key=lambda pair: pair[0]))
