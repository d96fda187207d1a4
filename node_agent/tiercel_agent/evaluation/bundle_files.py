"""The rules' bundle as the kubelet mounts it: a file that names its hash and its parts, and the parts.

Each part comes from a ConfigMap of its own, and the kubelet replaces them one after the other. Until all parts are of
one bundle there is none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from tiercel_engine.rules.bundle import INDEX, Bundle, BundleError, part_name, unpack
from tiercel_engine.rules.objects import RuleObject


def read_bundle(folder: Path) -> tuple[str, tuple[RuleObject, ...]]:
    """The hash and the objects of the bundle in a folder. Raises BundleError if it isn't there, or not whole yet."""
    index = _index(folder)
    try:
        parts = tuple((folder / part_name(number)).read_bytes() for number in range(index["parts"]))
    except OSError as error:
        raise BundleError(f"{error.filename}: {error.strerror}: the bundle {index['hash']} isn't whole yet") from error
    return index["hash"], unpack(Bundle(index["hash"], parts))


def _index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        index = orjson.loads(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}: there is no bundle of rules yet") from error
    except orjson.JSONDecodeError as error:
        raise BundleError(f"{path}: {error}") from error
    if not isinstance(index, dict) or not isinstance(index.get("hash"), str) or not isinstance(index.get("parts"), int):
        raise BundleError(f"{path}: it must name hash and parts of a bundle")
    return index
