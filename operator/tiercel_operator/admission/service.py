"""Running the webhook: its certificates are in a Secret that all replicas share, and its configuration names them."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

from tiercel_engine.api_group import API_VERSION
from tiercel_engine.rules.objects import RuleObject
from tiercel_operator.admission.certificates import Certificates, kept_or_made, service_names, to_secret
from tiercel_operator.admission.webhook import Webhook, webhook_configuration
from tiercel_operator.kube import API_ERRORS, Kube, error_text
from tiercel_operator.rules.budgets import TENANT, Size
from tiercel_operator.state import State

LOGGER = logging.getLogger(__name__)

SECRET = "tiercel-webhook"  # noqa: S105 (its name)
_CHECK_EVERY = 60.0  # seconds between two readings of the Secret


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the webhook listens. ``url`` is its address for an API server that doesn't reach it by its Service."""

    host: str = "0.0.0.0"  # noqa: S104 (in a pod)
    port: int = 8443
    url: str | None = None
    names: tuple[str, ...] = ()
    """Names and addresses by which it is called besides the Service's."""


class AdmissionService:
    """Serves the webhook with certificates that are renewed in time. ``namespace`` is the operator's own, ``tenant``
    the budget of a tenant's namespace."""

    def __init__(self, kube: Kube, namespace: str, state: State, endpoint: Endpoint, tenant: Size = TENANT) -> None:
        self._kube = kube
        self._namespace = namespace
        self._endpoint = endpoint
        self._certificates: Certificates | None = None
        self._owner: dict[str, Any] | None = None
        self._webhook = Webhook(lambda: list(state.objects()), self._list_rules, tenant)

    async def run(self) -> None:
        """Works until it is cancelled."""
        try:
            while True:
                try:
                    await self._take(await asyncio.to_thread(self._shared_certificates))
                except API_ERRORS as error:
                    LOGGER.warning("the webhook's certificates can't be read or written: %s", error_text(error))
                await asyncio.sleep(_CHECK_EVERY if self._certificates is not None else 1.0)
        finally:
            await self._webhook.stop()

    def configuration(self) -> dict[str, Any] | None:
        """The ValidatingWebhookConfiguration as JSON; None as long as the webhook doesn't serve."""
        if self._certificates is None:
            return None
        configuration = webhook_configuration(self._namespace, self._certificates.ca, self._endpoint.url)
        if self._owner is not None:
            configuration["metadata"]["ownerReferences"] = [self._owner]
        return configuration

    async def _take(self, certificates: Certificates) -> None:
        if self._certificates is None:
            await self._webhook.start(self._endpoint.host, self._endpoint.port, certificates)
            LOGGER.info("the webhook listens at %s:%d", self._endpoint.host, self._endpoint.port)
        elif certificates != self._certificates:
            self._webhook.use(certificates)
        self._certificates = certificates

    def _shared_certificates(self) -> Certificates:
        """The certificates of the Secret. New ones are written to it if needed, unless another replica does so first.
        Raises one of ``kube.API_ERRORS``."""
        namespace = self._kube.get("v1", "Namespace", self._namespace)
        if namespace is not None:  # the webhook's configuration is deleted together with the namespace
            uid = namespace["metadata"]["uid"]
            self._owner = {"apiVersion": "v1", "kind": "Namespace", "name": self._namespace, "uid": uid}
        names = service_names(self._namespace, self._endpoint.names)
        for _ in range(3):
            secret = self._kube.get("v1", "Secret", SECRET, self._namespace)
            data = (secret or {}).get("data") or {}
            certificates = kept_or_made(data, names)
            wanted = to_secret(certificates)
            if all(data.get(key) == value for key, value in wanted.items()):
                return certificates
            body: dict[str, Any] = secret or {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": SECRET, "namespace": self._namespace},
                "type": "kubernetes.io/tls",
            }
            body["data"] = {**data, **wanted}
            if self._kube.replace(body) if secret is not None else self._kube.create(body):
                return certificates
            time.sleep(0.2)
        raise OSError("the Secret of the webhook was changed by others at each of three attempts")

    async def _list_rules(self) -> list[RuleObject]:
        items = await asyncio.to_thread(self._kube.list, API_VERSION, "SecurityRule")
        return [
            RuleObject(item["metadata"]["namespace"], item["metadata"]["name"], item.get("spec") or {})
            for item in items
        ]
