"""Webhooks that run as long as a test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest
from operator_support.running_webhook import TOKEN, Running, Serve

from tiercel_engine.rules.objects import RuleObject
from tiercel_operator.admission.certificates import Certificates, make
from tiercel_operator.admission.door import ClientCertificates
from tiercel_operator.admission.webhook import FreshObjects, Webhook
from tiercel_operator.workers.pool import WorkerPool
from tiercel_operator.workers.slots import FairSlots


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return make(["127.0.0.1"])


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerPool]:
    workers = WorkerPool(["tiercel_operator.admission.review"])
    yield workers
    workers.close()


@pytest.fixture
def serve(certificates: Certificates, workers: WorkerPool) -> Iterator[Serve]:
    running: list[Running] = []

    def begin(
        others: Callable[[], Iterable[RuleObject]] = tuple,
        fresh: FreshObjects | None = None,
        clients: ClientCertificates | None = None,
    ) -> Running:
        def webhook() -> Webhook:
            return Webhook(others, workers, FairSlots(2), fresh, tokens=[TOKEN], clients=clients)

        running.append(Running(webhook, certificates))
        return running[-1]

    yield begin
    for each in running:
        each.close()
