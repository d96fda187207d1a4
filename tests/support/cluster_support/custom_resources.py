"""Tiercel's custom resources in a cluster: their definitions, and objects of them as people write them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiClient, ApiException, ApiextensionsV1Api

from cluster_support.waiting import until
from tiercel_engine.api_group import API_GROUP, API_VERSION, VERSION
from tiercel_engine.scope import SYSTEM_NAMESPACE

SYSTEM = SYSTEM_NAMESPACE
API = (API_GROUP, VERSION)
"""Group and version, as ``CustomObjectsApi`` takes them."""
_CRDS = Path(__file__).parents[3] / "crds"


def unless_there(create: Callable[[], object]) -> None:
    """Calls what creates an object; nothing happens if the object is there already."""
    try:
        create()
    except ApiException as error:
        if error.status != HTTPStatus.CONFLICT:
            raise


def define_custom_resources(api: ApiClient) -> None:
    """Has the API server know the custom resources, and waits until it serves them."""
    extensions = ApiextensionsV1Api(api)
    for path in sorted(_CRDS.glob(f"{API_GROUP}_*.yaml")):
        definition = yaml.safe_load(path.read_text())
        unless_there(partial(extensions.create_custom_resource_definition, definition))
        name = definition["metadata"]["name"]

        def is_established(name: str = name) -> bool:
            conditions = extensions.read_custom_resource_definition(name).status.conditions or ()
            return any(each.type == "Established" and each.status == "True" for each in conditions)

        until(is_established, f"established {name}")


def rule(name: str, condition: str = "evt.type = execve", **more: Any) -> dict[str, Any]:
    """A rule as an item of a SecurityRule."""
    return {"rule": name, "desc": "d", "condition": condition, "output": "o", "priority": "NOTICE"} | more


def custom_object(kind: str, name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def security_rule(name: str, namespace: str, *items: Any, **spec: Any) -> dict[str, Any]:
    return custom_object("SecurityRule", name, namespace, rules=list(items), **spec)


def alert_sink(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    return custom_object("AlertSink", name, namespace, **spec)
