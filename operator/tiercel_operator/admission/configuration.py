"""The ValidatingWebhookConfiguration, by which the API server knows whom to ask."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from tiercel_engine.api_group import API_GROUP, VERSION
from tiercel_engine.resources.alert_sink import ALERT_SINK
from tiercel_engine.resources.security_rule import SECURITY_RULE
from tiercel_operator.admission.certificates import SERVICE

API_VERSION: Final = "admissionregistration.k8s.io/v1"
KIND: Final = "ValidatingWebhookConfiguration"
CONFIGURATION: Final = "tiercel"
"""The configuration's name."""
NAME: Final = f"validate.{API_GROUP}"
PATH: Final = "/validate"
EXEMPTION: Final = f"{API_GROUP}/admission"
"""The label by which an administrator exempts a namespace, with the value ``disabled``."""
TIMEOUT: Final = 5
"""Seconds that the API server waits for an answer."""


def webhook_configuration(namespace: str, ca: bytes, token: str, url: str | None = None) -> dict[str, Any]:
    """The configuration as JSON: for the Service in the operator's namespace, or for a URL at which the API server
    reaches an operator outside of the cluster, to which the token is added. It has all defaults that the API server
    would add."""
    bundle = base64.b64encode(ca).decode()
    service = {"name": SERVICE, "namespace": namespace, "path": f"{PATH}/{token}", "port": 443}
    address = {"url": f"{url.rstrip('/')}/{token}"} if url else {"service": service}
    rule = {
        "apiGroups": [API_GROUP],
        "apiVersions": [VERSION],
        "operations": ["CREATE", "UPDATE"],
        "resources": [SECURITY_RULE.plural, ALERT_SINK.plural],
        "scope": "Namespaced",
    }
    not_exempted = {"key": EXEMPTION, "operator": "NotIn", "values": ["disabled"]}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": CONFIGURATION, "labels": {"app.kubernetes.io/name": "tiercel"}},
        "webhooks": [
            {
                "name": NAME,
                "clientConfig": address | {"caBundle": bundle},
                "rules": [rule],
                "failurePolicy": "Ignore",
                "matchPolicy": "Equivalent",
                "namespaceSelector": {"matchExpressions": [not_exempted]},
                "objectSelector": {},
                "sideEffects": "None",
                "timeoutSeconds": TIMEOUT,
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


def trusts(configuration: Mapping[str, Any] | None, authority: bytes) -> bool:
    """Whether the API server trusts the authority, in PEM, wherever a stored configuration has it ask."""
    webhooks = (configuration or {}).get("webhooks") or ()
    return bool(webhooks) and all(authority.strip() in _bundle(each) for each in webhooks)


def _bundle(webhook: Mapping[str, Any]) -> bytes:
    try:
        return base64.b64decode((webhook.get("clientConfig") or {}).get("caBundle") or "")
    except binascii.Error:
        return b""
