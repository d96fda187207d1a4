"""What a kubelet does for an agent, where none is."""

from __future__ import annotations

import base64
import time
from pathlib import Path

from kubernetes.client import ApiClient, CoreV1Api

from cluster_support.custom_resources import SYSTEM


def mount_bundle(api: ApiClient, folder: Path) -> bool:
    """What is in the bundle's ConfigMaps as files of the folder ``current``, swapped by one rename; whether there is a
    bundle."""
    files: dict[str, bytes] = {}
    for config_map in CoreV1Api(api).list_namespaced_config_map(SYSTEM).items:
        if config_map.metadata.name.startswith("tiercel-bundle-"):
            files |= {name: base64.b64decode(data) for name, data in (config_map.binary_data or {}).items()}
            files |= {name: data.encode() for name, data in (config_map.data or {}).items()}
    return _mount(files, folder)


def mount_sinks(api: ApiClient, folder: Path) -> bool:
    """The same of the Secret with the AlertSinks; whether there is one."""
    secrets = CoreV1Api(api).list_namespaced_secret(SYSTEM, field_selector="metadata.name=tiercel-sinks").items
    return _mount({name: base64.b64decode(data) for each in secrets for name, data in each.data.items()}, folder)


def _mount(files: dict[str, bytes], folder: Path) -> bool:
    current = folder / "current"
    if {path.name: path.read_bytes() for path in current.glob("*")} == files:
        return bool(files)
    new = folder / str(time.monotonic_ns())
    new.mkdir(parents=True)
    for name, data in files.items():
        (new / name).write_bytes(data)
    (folder / "next").symlink_to(new.name)
    (folder / "next").rename(current)
    return bool(files)
