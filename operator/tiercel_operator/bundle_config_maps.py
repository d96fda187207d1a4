"""The ConfigMaps that hold the bundle, and whether an object in the cluster is as it should be."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from tiercel_engine.rules.bundle import INDEX, Bundle, index_of, part_name

MOST_PARTS = 8
"""The number of ConfigMaps that agents mount. The projected volume of their DaemonSet names them one by one."""

LABELS = {"app.kubernetes.io/name": "tiercel", "app.kubernetes.io/managed-by": "tiercel-operator"}


def config_map_name(number: int) -> str:
    return f"tiercel-bundle-{number}"


def bundle_config_maps(bundle: Bundle, namespace: str, owner: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The ConfigMaps of a bundle as JSON, in the order in which they have to be written: the first ConfigMap, whose
    index names the bundle, comes last.

    The bundle has ``MOST_PARTS`` parts at most. ``owner`` is an owner reference.
    """
    maps = [_config_map(number, namespace, owner, part) for number, part in enumerate(bundle.parts)]
    maps[0]["data"] = {INDEX: index_of(bundle).decode()}
    return list(reversed(maps))


def written_bundle(maps: Iterable[Mapping[str, Any]]) -> Bundle | None:
    """The bundle that stored ConfigMaps hold; None if there is no index among them, or a part is missing. May raise
    ValueError, KeyError or TypeError for others' content."""
    parts: dict[str, str] = {}
    index: Mapping[str, Any] = {}
    for each in maps:
        parts |= each.get("binaryData") or {}
        if INDEX in (each.get("data") or {}):
            index = orjson.loads(each["data"][INDEX])
    names = [part_name(number) for number in range(min(index.get("parts", 0), MOST_PARTS))]
    if not names or not parts.keys() >= {*names}:
        return None
    return Bundle(index["hash"], tuple(b64decode(parts[name]) for name in names))


def _config_map(number: int, namespace: str, owner: Mapping[str, Any] | None, part: bytes) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": config_map_name(number), "namespace": namespace, "labels": dict(LABELS)}
    if owner is not None:
        metadata["ownerReferences"] = [dict(owner)]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "binaryData": {part_name(number): b64encode(part).decode()},
    }


def is_there(wanted: Mapping[str, Any], stored: Mapping[str, Any] | None) -> bool:
    """Whether the stored object has everything that the wanted one has, and no other keys in its data."""
    if stored is None or not _holds(wanted, stored):
        return False
    return all((stored.get(key) or {}).keys() == (wanted.get(key) or {}).keys() for key in ("data", "binaryData"))


def _holds(wanted: Any, stored: Any) -> bool:
    """Whether a part of an object is as wanted, apart from what the API server has added."""
    if isinstance(wanted, Mapping):
        return isinstance(stored, Mapping) and all(_holds(value, stored.get(key)) for key, value in wanted.items())
    if isinstance(wanted, (list, tuple)):
        if not isinstance(stored, list) or len(stored) != len(wanted):
            return not wanted and stored is None
        return all(map(_holds, wanted, stored))
    return wanted == stored or (not wanted and stored is None)
