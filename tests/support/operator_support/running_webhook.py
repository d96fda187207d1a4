"""A webhook that runs, asked over HTTPS as the API server does."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import ssl
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from tiercel_operator.admission.certificates import Certificates
from tiercel_operator.admission.webhook import Webhook

TOKEN = "a-token-that-nobody-but-the-api-server-knows"

RULE = {"rule": "r", "desc": "d", "condition": "evt.type = open", "output": "o", "priority": "NOTICE"}
BAD = {**RULE, "condition": "evt.type = open and proc.nmae = x"}


class Running:
    """A webhook in an event loop of its own."""

    def __init__(self, make_webhook: Callable[[], Webhook], certificates: Certificates) -> None:
        self.trusted = certificates.ca
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.webhook = make_webhook()
        self.port = self.run(self.webhook.start("127.0.0.1", 0, certificates))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def use(self, certificates: Certificates) -> None:
        async def change() -> None:
            self.webhook.use(certificates)

        self.run(change())

    def close(self) -> None:
        self.run(self.webhook.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def connection(self, presented: str = "") -> http.client.HTTPSConnection:
        trust = ssl.create_default_context(cadata=self.trusted.decode())
        if presented:
            trust.load_cert_chain(presented)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=trust)

    def ask(
        self, body: bytes, method: str = "POST", path: str = f"/validate/{TOKEN}", presented: str = ""
    ) -> tuple[int, bytes]:
        with contextlib.closing(self.connection(presented)) as connection:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()

    def response(self, *items: Any, namespace: str = "shop") -> dict[str, Any]:
        status, text = self.ask(review_of(*items, namespace=namespace))
        assert status == 200
        answered: dict[str, Any] = json.loads(text)["response"]
        return answered


def review_of(*items: Any, uid: str = "7", namespace: str = "shop") -> bytes:
    request = {
        "uid": uid,
        "kind": {"group": "tiercel.dev", "version": "v1alpha1", "kind": "SecurityRule"},
        "operation": "CREATE",
        "namespace": namespace,
        "name": "a",
        "object": {"metadata": {"name": "a", "namespace": namespace}, "spec": {"rules": items}},
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


Serve = Callable[..., Running]
"""Begins one. It ends with the test."""
