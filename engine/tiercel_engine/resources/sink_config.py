"""The configuration of AlertSinks that the operator gives to agents: one JSON file with all secrets, in one Secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.encoding import from_json

FILE = "sinks.json"


@dataclass(frozen=True, slots=True)
class WantedTest:
    """A test alert that one node is to send; ``id`` is the annotation's value."""

    __test__ = False

    id: str
    node: str


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """An AlertSink as agents get it. ``secrets`` are the values it refers to, by name and key of the Secret:
    ``chat/url``."""

    namespace: str
    name: str
    generation: int
    spec: AlertSinkSpec
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    test: WantedTest | None = None


@dataclass(frozen=True, slots=True)
class UnreadSink:
    """An entry that can't be read, as far as it tells whose it is."""

    namespace: str
    name: str
    generation: int
    message: str


@dataclass(frozen=True, slots=True)
class SinkConfigs:
    """What the file holds. ``unread`` are entries that can't be read: the others are good all the same.

    ``cluster_addresses`` are those of the nodes and of the API server, which tenants' sinks may not reach.
    """

    sinks: tuple[SinkConfig, ...]
    unread: tuple[UnreadSink, ...] = ()
    cluster_addresses: tuple[str, ...] = ()


def write_sinks(sinks: Iterable[Mapping[str, Any]], cluster_addresses: Iterable[str] = ()) -> bytes:
    """The file: ``sinks`` are the entries, with the specs as the API server has them. The same for the same sinks, to
    the byte."""
    document = {"sinks": list(sinks), "clusterAddresses": sorted(cluster_addresses)}
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def read_sinks(content: bytes) -> SinkConfigs:
    """Raises ValueError if the whole can't be read."""
    document = orjson.loads(content)
    if not isinstance(document, dict) or not isinstance(document.get("sinks"), list):
        raise ValueError('it must hold a list "sinks"')
    found: dict[tuple[str, str], SinkConfig] = {}
    unread = []
    for entry in document["sinks"]:
        try:
            sink = _sink(entry)
            if found.setdefault((sink.namespace, sink.name), sink) is not sink:
                raise ValueError("there are two of this name")
        except Exception as error:  # whatever an operator of another version writes costs this one sink alone
            unread.append(_unread(entry, error))
    listed = document.get("clusterAddresses")
    addresses = tuple(each for each in listed if isinstance(each, str)) if isinstance(listed, list) else ()
    return SinkConfigs(tuple(found.values()), tuple(unread), addresses)


def _unread(entry: object, error: Exception) -> UnreadSink:
    known = entry if isinstance(entry, dict) else {}
    generation = known.get("generation")
    message = str(error) if isinstance(error, ValueError) else type(error).__name__
    return UnreadSink(
        str(known.get("namespace", "")),
        str(known.get("name", "")),
        generation if type(generation) is int else 0,
        f"this agent can't read it: {message}",
    )


def _sink(entry: Mapping[str, Any]) -> SinkConfig:
    if not entry["namespace"] or not entry["name"]:  # those without a namespace are the agent's own
        raise ValueError("it has no namespace or no name")
    test = entry.get("test")
    return SinkConfig(
        namespace=str(entry["namespace"]),
        name=str(entry["name"]),
        generation=int(entry["generation"]),
        spec=from_json(AlertSinkSpec, entry["spec"]),
        secrets={str(key): str(value) for key, value in entry["secrets"].items()},
        test=WantedTest(str(test["id"]), str(test["node"])) if test else None,
    )
