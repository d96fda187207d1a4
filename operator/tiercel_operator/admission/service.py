"""Running the webhook: its keyring is in a Secret that all replicas share, and its configuration follows from it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from tiercel_engine.api_group import API_VERSION
from tiercel_engine.rules.objects import RuleObject
from tiercel_engine.scope import SYSTEM_NAMESPACE
from tiercel_operator.admission import configuration
from tiercel_operator.admission.certificates import service_names
from tiercel_operator.admission.configuration import CONFIGURATION, KIND, trusts, webhook_configuration
from tiercel_operator.admission.door import ClientCertificates
from tiercel_operator.admission.keyring import Keyring, advanced, begun, to_secret
from tiercel_operator.admission.webhook import Webhook
from tiercel_operator.cluster.budgets import TENANT, Size
from tiercel_operator.cluster.kube import API_ERRORS, Kube, error_text
from tiercel_operator.cluster.state import State
from tiercel_operator.workers.pool import WorkerPool
from tiercel_operator.workers.slots import FairSlots

LOGGER = logging.getLogger(__name__)

SECRET = "tiercel-webhook"  # noqa: S105 (its name)
_CHECK_EVERY = 60.0
"""Seconds between two readings of the Secret."""
_SOON = 5.0
"""Seconds between two of them while a new certificate waits. It is served once its authority was found in the
configuration twice: the API server hears of a change a moment after it is made."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the webhook listens. ``url`` is its address for an API server that doesn't reach it by its Service."""

    host: str = "0.0.0.0"  # noqa: S104 (in a pod)
    port: int = 8443
    url: str | None = None
    names: tuple[str, ...] = ()
    """Names and addresses by which it is called besides the Service's."""
    clients: ClientCertificates | None = None
    """Which client certificates the API server presents, if it was configured to."""


class AdmissionService:
    """Serves the webhook with certificates that are renewed in time. ``namespace`` is the operator's own, ``tenant``
    the budget of a tenant's namespace."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        state: State,
        endpoint: Endpoint,
        workers: WorkerPool,
        slots: FairSlots,
        tenant: Size = TENANT,
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._endpoint = endpoint
        self._names = service_names(namespace, endpoint.names)
        self.port = endpoint.port
        self._keyring: Keyring | None = None
        self._trusted = b""
        """The authority of a coming certificate that the configuration had when it was last looked at."""
        self._owner: dict[str, Any] | None = None
        self._webhook = Webhook(
            lambda: list(state.objects()), workers, slots, self._list_rules, clients=endpoint.clients, tenant=tenant
        )

    async def run(self) -> None:
        """Works until it is cancelled."""
        try:
            while True:
                try:
                    await self.refresh()
                except API_ERRORS as error:
                    LOGGER.warning("the webhook's certificates can't be read or written: %s", error_text(error))
                is_settled = self._keyring is not None and self._keyring.coming is None
                await asyncio.sleep(_CHECK_EVERY if is_settled else 1.0 if self._keyring is None else _SOON)
        finally:
            await self.stop()

    async def refresh(self) -> None:
        """Serves as the Secret says it, which is changed if it is time to. May raise one of ``kube.API_ERRORS``."""
        await self._take(await asyncio.to_thread(self._shared_keyring))

    async def stop(self) -> None:
        await self._webhook.stop()

    def configuration(self) -> dict[str, Any] | None:
        """The ValidatingWebhookConfiguration as JSON; None as long as the webhook doesn't serve."""
        if self._keyring is None:
            return None
        body = webhook_configuration(self._namespace, self._keyring.trusted, self._keyring.token, self._endpoint.url)
        if self._owner is not None:
            body["metadata"]["ownerReferences"] = [self._owner]
        return body

    async def _take(self, keyring: Keyring) -> None:
        before, webhook = self._keyring, self._webhook
        # whoever was told another one goes on to be answered until the configuration has the new one
        webhook.tokens = tuple(dict.fromkeys((keyring.token, *webhook.tokens[:1])))
        if before is None:
            self.port = await webhook.start(self._endpoint.host, self._endpoint.port, keyring.serving)
            LOGGER.info("the webhook listens at %s:%d", self._endpoint.host, self.port)
        elif keyring.serving != before.serving:
            webhook.use(keyring.serving)
            LOGGER.info("the webhook serves with a new certificate")
        self._keyring = keyring

    def _shared_keyring(self) -> Keyring:
        """The keyring of the Secret. What changes in it is written there, unless another replica does so first. Raises
        one of ``kube.API_ERRORS``."""
        namespace = self._kube.get("v1", "Namespace", self._namespace)
        if namespace is not None:  # the webhook's configuration is deleted together with the namespace
            uid = namespace["metadata"]["uid"]
            self._owner = {"apiVersion": "v1", "kind": "Namespace", "name": self._namespace, "uid": uid}
        for _ in range(3):
            secret = self._kube.get("v1", "Secret", SECRET, self._namespace)
            data = (secret or {}).get("data") or {}
            keyring = begun(data, self._names)
            keyring = advanced(keyring, self._names, coming_is_trusted=self._is_coming_trusted(keyring))
            wanted = to_secret(keyring)
            if data == wanted:
                return keyring
            body: dict[str, Any] = secret or {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": SECRET, "namespace": self._namespace},
                "type": "kubernetes.io/tls",
            }
            body["data"] = wanted
            if self._kube.replace(body) if secret is not None else self._kube.create(body):
                return keyring
        raise OSError("the Secret of the webhook was changed by others at each of three attempts")

    def _is_coming_trusted(self, keyring: Keyring) -> bool:
        """Whether the API server has the authority of the coming certificate, and had it a while ago."""
        if keyring.coming is None:
            return False
        before, self._trusted = self._trusted, b""
        if trusts(self._kube.get(configuration.API_VERSION, KIND, CONFIGURATION), keyring.coming.ca):
            self._trusted = keyring.coming.ca
        return before == self._trusted == keyring.coming.ca

    async def _list_rules(self, namespace: str) -> list[RuleObject]:
        """Those of the namespace and the system's; all of them for the system's."""
        everywhere = namespace in ("", SYSTEM_NAMESPACE)
        items: list[dict[str, Any]] = []
        for each in (None,) if everywhere else (namespace, SYSTEM_NAMESPACE):
            items += await asyncio.to_thread(self._kube.list, API_VERSION, "SecurityRule", each)
        return [
            RuleObject(item["metadata"]["namespace"], item["metadata"]["name"], item.get("spec") or {})
            for item in items
        ]
