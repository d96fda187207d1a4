"""A pod's JSON as a ``Pod``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from tiercel_agent.workloads.bounds import bounded, chosen
from tiercel_agent.workloads.model import Owner, Pod

_CONFIG_HASHES = ("kubernetes.io/config.mirror", "kubernetes.io/config.hash")
_PROBES = (("livenessProbe", "liveness"), ("readinessProbe", "readiness"))


def pod_of(json: Mapping[str, Any], annotations: Collection[str]) -> Pod:
    """The pod, with the named annotations and with its nearest owner only.

    Raises KeyError, TypeError or AttributeError for JSON that is no pod.
    """
    metadata, spec, status = json["metadata"], json.get("spec") or {}, json.get("status") or {}
    noted: Mapping[str, str] = metadata.get("annotations") or {}
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        labels=bounded(metadata.get("labels") or {}),
        annotations=chosen(noted, annotations),
        service_account=spec.get("serviceAccountName") or "",
        ip=status.get("podIP") or "",
        owners=controller(metadata),
        probes=dict(_probes(spec.get("containers") or ())),
        config_hash=next((noted[key] for key in _CONFIG_HASHES if key in noted), ""),
    )


def controller(metadata: Mapping[str, Any]) -> tuple[Owner, ...]:
    """The owner that controls an object, as a tuple of one; empty if there is none."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            group, slash, _ = owner.get("apiVersion", "").partition("/")
            return (Owner(owner["kind"], owner["name"], owner["uid"], group if slash else ""),)
    return ()


def _probes(containers: Iterable[Mapping[str, Any]]) -> Iterator[tuple[tuple[str, str], str]]:
    for container in containers:
        for key, kind in _PROBES:
            command = ((container.get(key) or {}).get("exec") or {}).get("command")
            if command:
                yield (container["name"], kind), " ".join(command)
