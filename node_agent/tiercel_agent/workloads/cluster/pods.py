"""A pod's JSON as a ``Pod``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from tiercel_agent.workloads.model import Owner, Pod

_CONFIG_HASHES = ("kubernetes.io/config.mirror", "kubernetes.io/config.hash")
_LONGEST_ANNOTATION = 4096  # characters
_MOST_LABEL_CHARACTERS = 1 << 16
_PROBES = (("livenessProbe", "liveness"), ("readinessProbe", "readiness"))


def pod_of(json: Mapping[str, Any], annotations: Collection[str]) -> Pod:
    """The pod, with those of its annotations that are asked for, and with the nearest owner only.

    Raises KeyError, TypeError or AttributeError for JSON that is no pod.
    """
    metadata, spec, status = json["metadata"], json.get("spec") or {}, json.get("status") or {}
    noted: Mapping[str, str] = metadata.get("annotations") or {}
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        labels=bounded(metadata.get("labels") or {}),
        annotations={key: noted[key][:_LONGEST_ANNOTATION] for key in sorted(annotations) if key in noted},
        service_account=spec.get("serviceAccountName") or "",
        ip=status.get("podIP") or "",
        owners=controller(metadata),
        probes=dict(_probes(spec.get("containers") or ())),
        config_hash=next((noted[key] for key in _CONFIG_HASHES if key in noted), ""),
    )


def controller(metadata: Mapping[str, Any]) -> tuple[Owner, ...]:
    """The one owner that controls an object, if any."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            group, slash, _ = owner.get("apiVersion", "").partition("/")
            return (Owner(owner["kind"], owner["name"], owner["uid"], group if slash else ""),)
    return ()


def bounded(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Labels as far as they are of a sane size: nothing else bounds their number."""
    room, kept = _MOST_LABEL_CHARACTERS, {}
    for key, value in labels.items():
        room -= len(key) + len(value)
        if room < 0:
            break
        kept[key] = value
    return kept


def _probes(containers: Iterable[Mapping[str, Any]]) -> Iterator[tuple[tuple[str, str], str]]:
    for container in containers:
        for key, kind in _PROBES:
            command = ((container.get(key) or {}).get("exec") or {}).get("command")
            if command:
                yield (container["name"], kind), " ".join(command)
