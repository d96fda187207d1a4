"""The bundle: all SecurityRules that agents have to run, in the form in which the operator puts them into ConfigMaps.

The same rules always give the same bytes, so that unchanged rules are neither written nor loaded again. The hash of a
bundle identifies it everywhere. A part is the content of one ConfigMap.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tiercel_engine.rules.carried import carried
from tiercel_engine.rules.objects import RuleObject

FORMAT = 1
INDEX = "bundle.json"
"""The name of the file that holds the hash of a bundle and the number of its parts. The parts are beside it."""

MOST_OF_A_PART = 700_000
"""The most bytes of a part: base64 makes them a third larger, and a ConfigMap can hold 1 MiB."""

_LARGEST = 256 << 20  # bytes of a bundle when it is unpacked
_HASH_LENGTH = 16
_HEAD, _END = orjson.dumps({"format": FORMAT, "objects": []})[:-2], b"]}"
_GZIP, _RAW = 31, -15  # forms of zlib's
_LEVEL = 6  # higher ones take much longer for little


class BundleError(Exception):
    """The parts do not make a complete bundle. The message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A packed bundle: its hash, and its parts in their order."""

    hash: str
    parts: tuple[bytes, ...]


def part_name(number: int) -> str:
    """The name of the file of a part."""
    return f"part-{number:03d}"


def index_of(bundle: Bundle) -> bytes:
    """The content of the file ``INDEX`` of a bundle."""
    return orjson.dumps({"hash": bundle.hash, "parts": len(bundle.parts)})


def files_of(bundle: Bundle) -> Mapping[str, bytes]:
    """The content of all files of a bundle, by name."""
    return {INDEX: index_of(bundle)} | {part_name(number): part for number, part in enumerate(bundle.parts)}


def packed_size(rule_object: RuleObject) -> tuple[int, int]:
    """How many bytes an object adds to a bundle at most, unpacked and packed, whatever else there is in it. Raises
    TypeError for what can't be JSON."""
    document = _document(rule_object) + b","
    return len(document), len(_apart([document], _RAW))


def pack(objects: Iterable[RuleObject], most: int = MOST_OF_A_PART, room: int | None = None) -> Bundle:
    """The bundle of the objects that are not suspended. ``most`` is the largest size of a part, in bytes.

    The objects are compressed together, which is much smaller as a rule. Where that takes more bytes than there is
    ``room``, since some were made for that, each is compressed by itself, which takes what ``packed_size`` says.
    """
    carried_by_name = sorted(
        (each for each in objects if not each.spec.get("suspend")), key=lambda each: (each.namespace, each.name)
    )
    pieces = [_HEAD, *_separated(map(_document, carried_by_name)), _END]
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    packed = gzip.compress(b"".join(pieces), _LEVEL, mtime=0)
    if room is not None and len(packed) > room:
        packed = _apart(pieces, _GZIP)
    parts = tuple(packed[start : start + most] for start in range(0, len(packed), most))
    return Bundle(digest.hexdigest()[:_HASH_LENGTH], parts)


def _document(rule_object: RuleObject) -> bytes:
    kept = carried(rule_object)
    document = {"namespace": kept.namespace, "name": kept.name, "spec": kept.spec}
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _separated(documents: Iterable[bytes]) -> Iterator[bytes]:
    """The documents, each but the first after a comma."""
    for number, document in enumerate(documents):
        yield b"," + document if number else document


def _apart(pieces: Iterable[bytes], form: int) -> bytes:
    """The pieces, compressed each by itself, so that none changes the size of another."""
    compressor = zlib.compressobj(_LEVEL, wbits=form)
    compressed = [compressor.compress(piece) + compressor.flush(zlib.Z_FULL_FLUSH) for piece in pieces]
    return b"".join([*compressed, compressor.flush()])


def unpack(bundle: Bundle) -> tuple[RuleObject, ...]:
    """The objects of a bundle. Raises BundleError if it is incomplete, or its content does not fit its hash."""
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
