"""Replicas of the webhook that share a Secret: a new certificate is served only once the API server trusts it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tiercel_operator.admission.certificates import service_names
from tiercel_operator.admission.keyring import begun, to_secret
from tiercel_operator.admission.service import SECRET, AdmissionService, Endpoint
from tiercel_operator.cluster.state import State
from tiercel_operator.workers.pool import WorkerPool
from tiercel_operator.workers.slots import FairSlots

SYSTEM = "tiercel-system"
NAMES = service_names(SYSTEM, ["127.0.0.1"])


class FakeKube:
    """An API in memory, whose objects have versions."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.version = 0

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        return self.objects.get((kind, name))

    def create(self, body: Mapping[str, Any]) -> bool:
        if (body["kind"], body["metadata"]["name"]) in self.objects:
            return False
        self.store(body)
        return True

    def replace(self, body: Mapping[str, Any]) -> bool:
        stored = self.objects[body["kind"], body["metadata"]["name"]]
        if stored["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            return False
        self.store(body)
        return True

    def store(self, body: Mapping[str, Any]) -> None:
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        self.objects[body["kind"], metadata["name"]] = {**body, "metadata": metadata}


def replica(kube: Any) -> AdmissionService:
    endpoint = Endpoint("127.0.0.1", 0, names=("127.0.0.1",))
    return AdmissionService(kube, SYSTEM, State(), endpoint, WorkerPool([]), FairSlots(1))


async def is_trusted(service: AdmissionService, authorities: bytes) -> bool:
    trust = ssl.create_default_context(cadata=authorities.decode())
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", service.port, ssl=trust)
    except ssl.SSLCertVerificationError:
        return False
    writer.close()
    return True


def run(work: Callable[..., Coroutine[Any, Any, None]], kube: FakeKube, count: int) -> None:
    async def running() -> None:
        replicas = [replica(kube) for _ in range(count)]
        try:
            await work(*replicas)
        finally:
            for each in replicas:
                await each.stop()

    asyncio.run(running())


def configured(kube: FakeKube, service: AdmissionService) -> bytes:
    """The leader writes the configuration. Returns the authorities that the API server trusts from then on."""
    body = service.configuration()
    assert body is not None
    kube.store(body)
    assert service._keyring is not None
    return service._keyring.trusted


def test_replicas_share_what_the_first_of_them_makes() -> None:
    async def work(one: AdmissionService, two: AdmissionService) -> None:
        await one.refresh()
        await two.refresh()
        assert one.configuration() == two.configuration()
        assert await is_trusted(two, configured(kube, one))

    kube = FakeKube()
    run(work, kube, 2)


@pytest.mark.parametrize("rounds", [1, 5])
def test_at_no_moment_of_a_change_a_certificate_is_served_that_isnt_trusted(rounds: int) -> None:
    kube = FakeKube()
    old = begun(None, NAMES, now=datetime.now(UTC) - timedelta(days=61))
    kube.store({"kind": "Secret", "metadata": {"name": SECRET}, "data": to_secret(old)})

    async def work(leader: AdmissionService, other: AdmissionService) -> None:
        trusted = old.trusted
        for _ in range(rounds):  # the leader is slow to write the configuration
            for each in (other, leader):
                await each.refresh()
                assert await is_trusted(each, trusted)
        served = {old.serving.certificate}
        for _ in range(4):
            trusted = configured(kube, leader)
            for each in (other, leader):
                await each.refresh()
                assert await is_trusted(each, trusted)
                assert each._keyring is not None
                served.add(each._keyring.serving.certificate)
        assert len(served) == 2, "there was a change"
        assert not await is_trusted(other, old.trusted)

    run(work, kube, 2)


def test_a_secret_that_is_gone_is_made_anew_and_the_path_before_is_answered_still() -> None:
    async def work(service: AdmissionService) -> None:
        await service.refresh()
        before = service._webhook.tokens
        del kube.objects["Secret", SECRET]
        await service.refresh()
        assert len(service._webhook.tokens) == 2
        assert service._webhook.tokens[1:] == before

    kube = FakeKube()
    run(work, kube, 1)
