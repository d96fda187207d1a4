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
    """A test alert that one node has to send. ``id`` is the value of the annotation that asks for it."""

    __test__ = False

    id: str
    node: str


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """An AlertSink as agents get it. ``secrets`` are the values that the spec refers to, by name and key of the Secret:
    ``chat/url``."""

    namespace: str
    name: str
    generation: int
    spec: AlertSinkSpec
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    test: WantedTest | None = None


@dataclass(frozen=True, slots=True)
class UnreadSink:
    """An entry that can't be read: whose it is, as far as it says so, and why it can't be read."""

    namespace: str
    name: str
    generation: int
    message: str


@dataclass(frozen=True, slots=True)
class SinkConfigs:
    """The content of the file. ``unread`` are entries that can't be read, which doesn't affect the others.

    ``cluster_addresses`` are those of the nodes and of the API server, which tenants' sinks may not reach, and
    ``service_networks`` those of the cluster's Services, which they may.
    """

    sinks: tuple[SinkConfig, ...]
    unread: tuple[UnreadSink, ...] = ()
    cluster_addresses: tuple[str, ...] = ()
    service_networks: tuple[str, ...] = ()


def write_sinks(
    sinks: Iterable[Mapping[str, Any]], cluster_addresses: Iterable[str] = (), service_networks: Iterable[str] = ()
) -> bytes:
    """The content of the file. ``sinks`` are its entries, with the specs as the API server has them. The same sinks
    always give the same bytes."""
    document = {
        "sinks": list(sinks),
        "clusterAddresses": sorted(cluster_addresses),
        "serviceNetworks": sorted(service_networks),
    }
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def read_sinks(content: bytes) -> SinkConfigs:
    """Reads the file. Raises ValueError if it can't be read as a whole."""
    document = orjson.loads(content)
    if not isinstance(document, dict) or not isinstance(document.get("sinks"), list):
        raise ValueError('it must hold a list "sinks"')
    configs: dict[tuple[str, str], SinkConfig] = {}
    unread = []
    for entry in document["sinks"]:
        try:
            sink = _sink(entry)
            if configs.setdefault((sink.namespace, sink.name), sink) is not sink:
                raise ValueError("there are two of this name")
        except Exception as error:  # an entry of an operator of another version affects this one sink only
            unread.append(_unread(entry, error))
    addresses, networks = _texts(document.get("clusterAddresses")), _texts(document.get("serviceNetworks"))
    return SinkConfigs(tuple(configs.values()), tuple(unread), addresses, networks)


def _texts(listed: object) -> tuple[str, ...]:
    return tuple(each for each in listed if isinstance(each, str)) if isinstance(listed, list) else ()


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
    if not entry["namespace"] or not entry["name"]:  # sinks without a namespace are the agent's own
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
