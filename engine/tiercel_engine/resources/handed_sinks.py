"""What the operator hands the agents of AlertSinks: one JSON file, secrets included, mounted from one Secret."""

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
class HandedSink:
    """An AlertSink as agents get it. ``secrets`` are the values it refers to, by name and key of the Secret:
    ``chat/url``."""

    namespace: str
    name: str
    generation: int
    spec: AlertSinkSpec
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    test: WantedTest | None = None


def write_sinks(sinks: Iterable[Mapping[str, Any]]) -> bytes:
    """The file: ``sinks`` are the entries, with the specs as the API server has them. The same for the same sinks, to
    the byte."""
    return orjson.dumps({"sinks": list(sinks)}, option=orjson.OPT_SORT_KEYS)


def read_sinks(content: bytes) -> tuple[tuple[HandedSink, ...], tuple[str, ...]]:
    """The sinks of the file, and a line for each entry that can't be read: the others are good all the same.

    Raises ValueError if the whole can't be read.
    """
    document = orjson.loads(content)
    if not isinstance(document, dict) or not isinstance(document.get("sinks"), list):
        raise ValueError('it must hold a list "sinks"')
    found, problems = [], []
    for number, entry in enumerate(document["sinks"]):
        try:
            found.append(_sink(entry))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            name = f"{entry.get('namespace')}/{entry.get('name')}" if isinstance(entry, dict) else f"entry {number}"
            problems.append(f"{name}: {error}")
    return tuple(found), tuple(problems)


def _sink(entry: Mapping[str, Any]) -> HandedSink:
    test = entry.get("test")
    return HandedSink(
        namespace=str(entry["namespace"]),
        name=str(entry["name"]),
        generation=int(entry["generation"]),
        spec=from_json(AlertSinkSpec, entry["spec"]),
        secrets={str(key): str(value) for key, value in entry["secrets"].items()},
        test=WantedTest(str(test["id"]), str(test["node"])) if test else None,
    )
