"""AlertSinks: which are in order, and what the agents are handed of them, secrets included, in one Secret."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from tiercel_engine.printable import printable
from tiercel_engine.resources.alert_sink import DESTINATIONS, AlertSinkStatus
from tiercel_engine.resources.encoding import to_json
from tiercel_engine.resources.resource import Condition, ConditionStatus
from tiercel_engine.rule import Origin
from tiercel_operator.conditions import dated
from tiercel_operator.owned import LABELS
from tiercel_operator.sink_rules import sink_errors

SECRET = "tiercel-sinks"  # noqa: S105 (its name)
FILE = "sinks.json"
VALID, READY = "Valid", "Ready"
_LONGEST = 1024


class NoSecret(Enum):
    """Why a Secret's content isn't known."""

    MISSING = "SecretMissing"
    FORBIDDEN = "SecretNotReadable"


SecretName = tuple[str, str]
"""Namespace and name."""
Secrets = Mapping[SecretName, Mapping[str, str] | NoSecret]
"""The content of Secrets, in base64, or why it isn't known."""


@dataclass(frozen=True, slots=True)
class StoredSink:
    """An AlertSink as the API server has it. ``spec`` and ``status`` are JSON."""

    origin: Origin
    generation: int
    spec: Mapping[str, Any]
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """A key of a Secret in the sink's own namespace."""

    name: str
    key: str


def referred(sinks: Iterable[StoredSink]) -> set[SecretName]:
    """The Secrets that these name."""
    return {(sink.origin.namespace, each.name) for sink in sinks for each in _references(sink.spec)}


def sink_status(sink: StoredSink, secrets: Secrets, now: str) -> dict[str, Any]:
    """The status as JSON. What agents tell of deliveries stays as it is."""
    reason, message = _problem(sink, secrets)
    valid = Condition(
        VALID, ConditionStatus.FALSE if reason else ConditionStatus.TRUE, reason or "InOrder", message, now
    )
    ready = Condition(
        READY,
        ConditionStatus.FALSE if reason else ConditionStatus.UNKNOWN,
        reason or "NoReceipts",
        message if reason else "no agent has told of a delivery yet",
        now,
    )
    kind = next((each for each in DESTINATIONS if sink.spec.get(each) is not None), "")
    conditions = tuple(dated(each, sink.status, sink.generation, now) for each in (valid, ready))
    status = AlertSinkStatus(observed_generation=sink.generation, conditions=conditions, type=kind)
    found: dict[str, Any] = to_json(status)
    return dict(sink.status) | found


def sinks_secret(
    sinks: Iterable[StoredSink], secrets: Secrets, namespace: str, owner: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The Secret with all sinks that are in order and not suspended, the same for the same sinks to the byte."""
    handed = [
        {
            "namespace": sink.origin.namespace,
            "name": sink.origin.name,
            "spec": dict(sink.spec),
            "secrets": dict(_values(sink, secrets)),
        }
        for sink in sorted(sinks, key=lambda each: (each.origin.namespace, each.origin.name))
        if not sink.spec.get("suspend") and not _problem(sink, secrets)[0]
    ]
    metadata: dict[str, Any] = {"name": SECRET, "namespace": namespace, "labels": dict(LABELS)}
    if owner is not None:
        metadata["ownerReferences"] = [dict(owner)]
    content = b64encode(orjson.dumps({"sinks": handed}, option=orjson.OPT_SORT_KEYS)).decode()
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": {FILE: content}}


def _problem(sink: StoredSink, secrets: Secrets) -> tuple[str, str]:
    """Reason and message of what is wrong with a sink; ("", …) if it is in order."""
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


def _values(sink: StoredSink, secrets: Secrets) -> Iterator[tuple[str, str]]:
    for each in _references(sink.spec):
        content = secrets.get((sink.origin.namespace, each.name))
        if isinstance(content, Mapping) and each.key in content:
            yield f"{each.name}/{each.key}", b64decode(content[each.key]).decode("utf-8", "replace")


def _references(value: object) -> Iterator[Reference]:
    """All ``secretRef`` in a spec."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key == "secretRef" and isinstance(each, Mapping):
                name, of = each.get("name"), each.get("key")
                if isinstance(name, str) and isinstance(of, str):
                    yield Reference(name, of)
            else:
                yield from _references(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _references(each)
