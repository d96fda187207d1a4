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
from tiercel_operator.cluster.objects import Problem, StoredSink
from tiercel_operator.sinks.checks import MOST_SECRETS, is_reference, sink_errors

SECRET = "tiercel-sinks"  # noqa: S105 (its name)
MOST = 1 << 20
"""The most bytes that a Secret holds."""
ROOM_FOR_TESTS = 1 << 16
"""Bytes of it that are reserved for test alerts, so that none takes a sink out of force."""
MOST_OF_A_NAMESPACE = 20
"""The most AlertSinks of a tenant that are in force: each has a thread and a spool on every node."""
ROOM_OF_A_NAMESPACE = (MOST - ROOM_FOR_TESTS) // 4
"""Bytes of the Secret that the sinks of a tenant can have, so that no tenant crowds out the others."""
_LONGEST = 1024


class NoSecret(Enum):
    """Why the content of a Secret isn't known."""

    MISSING = "SecretMissing"
    FORBIDDEN = "SecretNotReadable"


SecretName = tuple[str, str]
"""Namespace and name."""
Secrets = Mapping[SecretName, Mapping[str, str] | NoSecret]
"""The content of Secrets, in base64, or why it isn't known."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A key of a Secret in the sink's own namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class ClusterNetwork:
    """What decides where tenants' sinks may connect to: the addresses of nodes and of the API server, and the networks
    of Services in CIDR notation."""

    addresses: Collection[str] = ()
    services: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class SinkEntries:
    """The entries of the file by sink, sorted, and the sinks for which there is no room in it, with a message for
    each."""

    fitting: Mapping[Origin, Mapping[str, Any]]
    too_large: Mapping[Origin, str]


def referred(sinks: Iterable[StoredSink]) -> set[SecretName]:
    """The Secrets that these sinks name. Those of sinks that can't be in force are left out, since each Secret is a
    request now and then."""
    referred_to: set[SecretName] = set()
    every = list(sinks)
    beyond = too_many(every)
    for sink in every:
        names = {(sink.origin.namespace, each.name) for each in _references(sink.spec)}
        if len(names) <= MOST_SECRETS and sink.origin not in beyond:
            referred_to |= names
    return referred_to


def too_many(sinks: Iterable[StoredSink]) -> Mapping[Origin, Problem]:
    """The sinks of tenants that are too many for their namespace: the youngest ones, with what is wrong with them."""
    counts: Counter[str] = Counter()
    problems: dict[Origin, Problem] = {}
    for sink in sorted(sinks, key=_precedence):
        namespace = sink.origin.namespace
        counts[namespace] += 1
        if counts[namespace] > MOST_OF_A_NAMESPACE and namespace != SYSTEM_NAMESPACE:
            message = f"the namespace has {MOST_OF_A_NAMESPACE} older AlertSinks, which is the most: remove some"
            problems[sink.origin] = "TooMany", message
    return problems


def problem_of(sink: StoredSink, secrets: Secrets) -> Problem:
    """What is wrong with a sink or with the Secrets that it refers to."""
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


def sink_entries(
    sinks: Iterable[StoredSink], secrets: Secrets, network: ClusterNetwork = ClusterNetwork()
) -> SinkEntries:
    """The entries of these sinks, which are in order, in a file that also holds the cluster's network.

    If there isn't room for all, sinks of the system come first, so that no tenant crowds them out, and then older sinks
    before younger ones. Each tenant can have only a part of the room.
    """
    fitting: dict[Origin, Mapping[str, Any]] = {}
    oversize: dict[Origin, int] = {}
    too_large: dict[Origin, str] = {}
    tenants: Counter[str] = Counter()
    used, whole = len(write_sinks((), network.addresses, network.services)), 0
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


def sinks_file(entries: SinkEntries, tests: Mapping[Origin, WantedTest], network: ClusterNetwork) -> bytes:
    """The content of the file, with as many of the test alerts as there is room for. The others follow later."""
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
    return write_sinks(written, network.addresses, network.services)


def sinks_secret(content: bytes, namespace: str, owner: Mapping[str, Any] | None) -> dict[str, Any]:
    """The Secret that agents mount, as JSON. ``owner`` is an owner reference."""
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
    """All ``secretRef`` in a spec whose name can be that of a Secret. The name becomes a part of the request's path,
    where another text might lead to the Secret of another namespace."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key != "secretRef":
                yield from _references(each)
            elif is_reference(each):
                yield Reference(each["name"], each["key"])
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _references(each)
