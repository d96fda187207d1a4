"""Leadership: of several operators only the one writes that holds a Lease (coordination.k8s.io/v1), and renews it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

DURATION = 15.0
"""Seconds after which a leader that hasn't renewed its lease leads no more."""
RENEW_EVERY = 5.0
"""Seconds between two renewals."""
_TRIES = 3

_LEASE = ("coordination.k8s.io/v1", "Lease")
_NAME = "tiercel-operator"


class Leases(Protocol):
    """The requests of the API server that leadership needs. They may raise one of ``kube.API_ERRORS``."""

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None: ...

    def create(self, body: dict[str, Any]) -> bool:
        """Returns False if the object is there already."""

    def replace(self, body: dict[str, Any]) -> bool:
        """Returns False if somebody has changed the object meanwhile."""


class Leadership:
    """This process's share in the lease. ``attempt`` has to be called every ``RENEW_EVERY`` seconds.

    Whether another's lease has run out is measured by this process's own clock, from when it last saw the lease change,
    since the clocks of machines differ.
    """

    def __init__(
        self, leases: Leases, namespace: str, identity: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._leases = leases
        self._namespace = namespace
        self._identity = identity
        self._clock = clock
        self._seen: tuple[str, float] | None = None
        self._renewed = float("-inf")

    @property
    def leads(self) -> bool:
        """Whether this process may write now."""
        return self._clock() - self._renewed < DURATION

    def attempt(self) -> bool:
        """Renews the lease, or takes it if nobody holds it. Returns whether this process leads."""
        now = self._clock()
        lease = self._leases.get(*_LEASE, _NAME, self._namespace)
        if lease is None:
            taken = self._leases.create(self._body({}))
        else:
            version = lease["metadata"]["resourceVersion"]
            if self._seen is None or self._seen[0] != version:
                self._seen = version, now
            holder = (lease.get("spec") or {}).get("holderIdentity")
            if holder not in ("", None, self._identity) and now - self._seen[1] < DURATION:
                self._renewed = float("-inf")
                return False
            taken = self._leases.replace(self._body(lease))
        self._renewed = now if taken else float("-inf")
        return taken

    def resign(self) -> None:
        """Gives up the lease, so that another operator can lead at once."""
        if not self.leads:
            return
        self._renewed = float("-inf")
        for _ in range(_TRIES):  # a renewal may be under way
            lease = self._leases.get(*_LEASE, _NAME, self._namespace)
            if lease is None or lease["spec"].get("holderIdentity") != self._identity:
                return
            lease["spec"]["holderIdentity"] = ""
            if self._leases.replace(lease):
                return

    def _body(self, lease: dict[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = lease.get("spec") or {}
        same = before.get("holderIdentity") == self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(DURATION),
            "renewTime": now,
            "acquireTime": before["acquireTime"] if same and "acquireTime" in before else now,
            "leaseTransitions": (before.get("leaseTransitions") or 0) + (not same),
        }
        metadata = lease.get("metadata") or {"name": _NAME, "namespace": self._namespace}
        return {"apiVersion": _LEASE[0], "kind": _LEASE[1], "metadata": metadata, "spec": spec}
