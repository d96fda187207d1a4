"""The configuration of AlertSinks for the agents: which are in order, and the Secret with all that agents need."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from tiercel_engine.printable import printable
from tiercel_engine.resources.sink_config import FILE, WantedTest, write_sinks
from tiercel_engine.rule import Origin
from tiercel_engine.scope import SYSTEM_NAMESPACE
from tiercel_engine.units import KIBIBYTE
from tiercel_operator.bundle_config_maps import LABELS
from tiercel_operator.objects import StoredSink
from tiercel_operator.sinks.checks import MOST_SECRETS, is_reference, sink_errors

SECRET = "tiercel-sinks"  # noqa: S105 (its name)
MOST = 1 << 20
"""Bytes that a Secret holds."""
ROOM_FOR_TESTS = 1 << 16
"""What sinks leave of it, so that no test alert takes a sink out of force."""
MOST_OF_A_NAMESPACE = 20
"""AlertSinks of a tenant that are in force: each is a thread on every node, and a file that waits there."""
ROOM_OF_A_NAMESPACE = (MOST - ROOM_FOR_TESTS) // 4
"""What a tenant's sinks have of the Secret, so that none crowds out the others."""
_LONGEST = 1024


class NoSecret(Enum):
    """Why a Secret's content isn't known."""

    MISSING = "SecretMissing"
    FORBIDDEN = "SecretNotReadable"


SecretName = tuple[str, str]
"""Namespace and name."""
Secrets = Mapping[SecretName, Mapping[str, str] | NoSecret]
"""The content of Secrets, in base64, or why it isn't known."""
Problem = tuple[str, str]
"""Reason and message of what is wrong with a sink; ("", …) if it is in order."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A key of a Secret in the sink's own namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class SinkEntries:
    """Entries of the file, sorted, and the sinks for which there is no room in it, with a message for each."""

    fitting: Mapping[Origin, Mapping[str, Any]]
    too_large: Mapping[Origin, str]


def referred(sinks: Iterable[StoredSink]) -> set[SecretName]:
    """The Secrets that these name, as far as they may be in force: each is a request now and then."""
    found: set[SecretName] = set()
    every = list(sinks)
    beyond = too_many(every)
    for sink in every:
        names = {(sink.origin.namespace, each.name) for each in _references(sink.spec)}
        if len(names) <= MOST_SECRETS and sink.origin not in beyond:
            found |= names
    return found


def too_many(sinks: Iterable[StoredSink]) -> Mapping[Origin, Problem]:
    """Those of tenants that are beyond what a namespace may have: the youngest."""
    counts: Counter[str] = Counter()
    found: dict[Origin, Problem] = {}
    for sink in sorted(sinks, key=_precedence):
        namespace = sink.origin.namespace
        counts[namespace] += 1
        if counts[namespace] > MOST_OF_A_NAMESPACE and namespace != SYSTEM_NAMESPACE:
            message = f"the namespace has {MOST_OF_A_NAMESPACE} older AlertSinks, which is the most: remove some"
            found[sink.origin] = "TooMany", message
    return found


def problem_of(sink: StoredSink, secrets: Secrets) -> Problem:
    errors = sink_errors(sink.spec, sink.origin.namespace)
    if errors:
        return "Refused", printable("; ".join(errors))[:_LONGEST]
    for each in _references(sink.spec):
        content = secrets.get((sink.origin.namespace, each.name), NoSecret.MISSING)
        where = f"the Secret {each.name}"
        if content is NoSecret.MISSING:
            return content.value, f"there is no Secret {each.name} in the namespace {sink.origin.namespace}"
        if content is NoSecret.FORBIDDEN:
            return (
                content.value,
                f"{where} may not be read: allow tiercel-operator to get it, by a Role in its namespace",
            )
        if isinstance(content, Mapping) and each.key not in content:
            return "SecretKeyMissing", f"{where} has no key {each.key}: it has {', '.join(sorted(content)) or 'none'}"
    return "", "the sink is in order"


def sink_entries(sinks: Iterable[StoredSink], secrets: Secrets, addresses: Collection[str] = ()) -> SinkEntries:
    """What the file holds of these, which are in order, beside the addresses of the cluster.

    Where there isn't room for all, the system's come first, which no tenant crowds out, and older ones before younger.
    A tenant has a part of it.
    """
    fitting: dict[Origin, Mapping[str, Any]] = {}
    oversize: dict[Origin, int] = {}
    too_large: dict[Origin, str] = {}
    tenants: Counter[str] = Counter()
    used, whole = len(write_sinks((), addresses)), 0
    for sink in sorted(sinks, key=_precedence):
        entry = {
            "namespace": sink.origin.namespace,
            "name": sink.origin.name,
            "generation": sink.generation,
            "spec": dict(sink.spec),
            "secrets": dict(_values(sink, secrets)),
        }
        size = len(orjson.dumps(entry)) + len(",")
        whole += size
        namespace = sink.origin.namespace
        if namespace != SYSTEM_NAMESPACE and tenants[namespace] + size > ROOM_OF_A_NAMESPACE:
            too_large[sink.origin] = (
                f"this AlertSink with its secrets has {size / KIBIBYTE:.0f} KiB, and all of a namespace can have "
                f"{ROOM_OF_A_NAMESPACE // KIBIBYTE}: shorten its template and silences, or remove or suspend some sinks"
            )
        elif used + size <= MOST - ROOM_FOR_TESTS:
            used += size
            tenants[namespace] += size
            fitting[sink.origin] = entry
        else:
            oversize[sink.origin] = size
    too_large |= {origin: _too_large(size, whole) for origin, size in oversize.items()}
    return SinkEntries({origin: fitting[origin] for origin in sorted(fitting, key=_name)}, too_large)


def sinks_file(entries: SinkEntries, tests: Mapping[Origin, WantedTest], addresses: Collection[str] = ()) -> bytes:
    """The file, with as many of the tests as there is room for; the others' turn comes later."""
    room = ROOM_FOR_TESTS
    written: list[Mapping[str, Any]] = []
    for origin, entry in entries.fitting.items():
        test = tests.get(origin)
        if test is not None:
            more = {"test": {"id": test.id, "node": test.node}}
            size = len(orjson.dumps(more))
            if size <= room:
                room -= size
                written.append({**entry, **more})
                continue
        written.append(entry)
    return write_sinks(written, addresses)


def sinks_secret(content: bytes, namespace: str, owner: Mapping[str, Any] | None) -> dict[str, Any]:
    """The Secret that agents mount. ``owner`` is an owner reference."""
    metadata: dict[str, Any] = {"name": SECRET, "namespace": namespace, "labels": dict(LABELS)}
    if owner is not None:
        metadata["ownerReferences"] = [dict(owner)]
    data = {FILE: b64encode(content).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def _precedence(sink: StoredSink) -> tuple[bool, str, str, str]:
    return (sink.origin.namespace != SYSTEM_NAMESPACE, sink.created, *_name(sink.origin))


def _name(origin: Origin) -> tuple[str, str]:
    return origin.namespace, origin.name


def _too_large(size: int, whole: int) -> str:
    room = (MOST - ROOM_FOR_TESTS) // KIBIBYTE
    return (
        f"all AlertSinks with their secrets have {whole / KIBIBYTE:.0f} KiB, this one {size / KIBIBYTE:.0f}, and agents"
        f" can be given {room}: shorten its template and silences, or remove or suspend some sinks"
    )


def _values(sink: StoredSink, secrets: Secrets) -> Iterator[tuple[str, str]]:
    for each in _references(sink.spec):
        content = secrets.get((sink.origin.namespace, each.name))
        if isinstance(content, Mapping) and each.key in content:
            yield f"{each.name}/{each.key}", b64decode(content[each.key]).decode("utf-8", "replace")


def _references(value: object) -> Iterator[Reference]:
    """All ``secretRef`` in a spec that name what can be a Secret: another name might be a way to somebody else's, since
    it is a part of the address that is asked."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key != "secretRef":
                yield from _references(each)
            elif is_reference(each):
                yield Reference(each["name"], each["key"])
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _references(each)
