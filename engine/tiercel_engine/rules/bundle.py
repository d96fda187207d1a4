"""The bundle: all SecurityRules that agents are to run, as the operator hands them over in ConfigMaps.

It is the same for the same rules, to the byte, so that nothing is written or loaded anew for nothing; its hash names it
everywhere. A part is what one ConfigMap holds.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tiercel_engine.rules.objects import RuleObject

FORMAT = 1
INDEX = "bundle.json"
"""The file that names hash and parts of a bundle, beside the parts' own."""

MOST_OF_A_PART = 700_000
"""Bytes: base64 makes a third more of them, and a ConfigMap takes 1 MiB."""

_CARRIED = ("selector", "rules")
_LARGEST = 256 << 20  # bytes of a bundle, unpacked
_HASH_LENGTH = 16


class BundleError(Exception):
    """What was found is no whole bundle; the message says what lacks."""


@dataclass(frozen=True, slots=True)
class Bundle:
    hash: str
    parts: tuple[bytes, ...]


def part_name(number: int) -> str:
    """The name of a part's file."""
    return f"part-{number:03d}"


def index_of(bundle: Bundle) -> bytes:
    """What the file ``INDEX`` says of a bundle."""
    return orjson.dumps({"hash": bundle.hash, "parts": len(bundle.parts)})


def files_of(bundle: Bundle) -> Mapping[str, bytes]:
    """All files of a bundle, by name."""
    return {INDEX: index_of(bundle)} | {part_name(number): part for number, part in enumerate(bundle.parts)}


def pack(objects: Iterable[RuleObject], most: int = MOST_OF_A_PART) -> Bundle:
    """The bundle of these objects, without those that are suspended."""
    carried = [
        {
            "namespace": rule_object.namespace,
            "name": rule_object.name,
            "spec": {key: rule_object.spec[key] for key in _CARRIED if rule_object.spec.get(key) is not None},
        }
        for rule_object in sorted(objects, key=lambda each: (each.namespace, each.name))
        if not rule_object.spec.get("suspend")
    ]
    document = orjson.dumps({"format": FORMAT, "objects": carried}, option=orjson.OPT_SORT_KEYS)
    packed = gzip.compress(document, mtime=0)
    parts = tuple(packed[start : start + most] for start in range(0, len(packed), most))
    return Bundle(_hash(document), parts)


def unpack(bundle: Bundle) -> tuple[RuleObject, ...]:
    """The objects of a bundle. Raises BundleError for one that isn't whole, or not what its hash says."""
    try:
        document = _decompressed(bundle.parts)
    except (zlib.error, EOFError) as error:
        raise BundleError(f"the rules' bundle {bundle.hash} can't be unpacked: {error}") from error
    if _hash(document) != bundle.hash:
        raise BundleError(
            f"what was content is not the rules' bundle {bundle.hash}: a part of another one may be among it"
        )
    content = orjson.loads(document)
    if content["format"] != FORMAT:
        raise BundleError(f"the rules' bundle has the format {content['format']}, this version reads {FORMAT}")
    return tuple(map(_object, content["objects"]))


def _decompressed(parts: Sequence[bytes]) -> bytes:
    unzip = zlib.decompressobj(wbits=31)
    document = unzip.decompress(b"".join(parts), _LARGEST)
    if not unzip.eof:
        raise EOFError("it ends early, or is too large")
    return document


def _object(document: Mapping[str, Any]) -> RuleObject:
    return RuleObject(document["namespace"], document["name"], document["spec"])


def _hash(document: bytes) -> str:
    return hashlib.sha256(document).hexdigest()[:_HASH_LENGTH]
