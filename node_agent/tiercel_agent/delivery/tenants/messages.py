"""What the agent and the process of tenants' sinks send each other, as values and as bytes.

A message is a document of JSON, which alerts may follow in the form of the spool. The agent trusts nothing that comes
back: an answer is short, and of known members with known types.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address, ip_network
from struct import Struct
from typing import Any, TypeAlias

import orjson

from tiercel_agent.delivery.queues.stored_alert import decode, encode
from tiercel_agent.sinks.model import Place, SinkSettings
from tiercel_agent.sinks.network.egress_policy import EgressPolicy
from tiercel_engine.alert import Alert
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.encoding import from_json, to_json

MOST_PARTS = 1 << 12
LONGEST_ANSWER = 1 << 14
"""Bytes of an answer, at most."""
LONGEST_REQUEST = 1 << 28
_LONGEST_MESSAGE = 1024  # characters of an error
_LENGTH = Struct("!I")


class Failing(Enum):
    """Why something didn't work: as the exceptions of ``sinks.model`` mean it."""

    BAD = "bad"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Opened:
    """A sink is open: how many alerts it takes at once, and for how many seconds they are gathered."""

    batch: int
    wait: float


@dataclass(frozen=True, slots=True)
class Done:
    """What was asked for is done."""


@dataclass(frozen=True, slots=True)
class Failed:
    kind: Failing
    message: str
    retry_after: float | None = None
    """Seconds."""


Answer: TypeAlias = Opened | Done | Failed


@dataclass(frozen=True, slots=True)
class Opening:
    """Asks to open a sink. ``longest`` is the most seconds of a delivery."""

    settings: SinkSettings = field(repr=False)
    place: Place
    longest: float


def policy_message(policy: EgressPolicy) -> list[bytes]:
    document = {
        "allow": [str(each) for each in policy.allow],
        "forbid": [str(each) for each in policy.forbid],
        "services": [str(each) for each in policy.services],
        "addresses": [str(each) for each in policy.cluster_addresses],
    }
    return [orjson.dumps(document)]


def read_policy(parts: Sequence[bytes]) -> EgressPolicy:
    document = orjson.loads(parts[0])
    allow, forbid, services = (
        tuple(ip_network(each) for each in document[key]) for key in ("allow", "forbid", "services")
    )
    return EgressPolicy(allow, forbid, services, frozenset(map(ip_address, document["addresses"])))


def opening_message(opening: Opening) -> list[bytes]:
    settings, place = opening.settings, opening.place
    document = {
        "namespace": settings.namespace,
        "name": settings.name,
        "spec": to_json(settings.spec),
        "secrets": dict(settings.secrets),
        "hostname": place.hostname,
        "node": place.node,
        "longest": opening.longest,
    }
    return [orjson.dumps(document)]


def read_opening(parts: Sequence[bytes]) -> Opening:
    document = orjson.loads(parts[0])
    spec = from_json(AlertSinkSpec, document["spec"])
    settings = SinkSettings(document["name"], spec, document["namespace"], document["secrets"])
    return Opening(settings, Place(document["hostname"], document["node"]), document["longest"])


def alerts_message(alerts: Sequence[Alert]) -> list[bytes]:
    """Raises ValueError as ``encode`` does."""
    return [b"", *map(encode, alerts)]


def read_alerts(parts: Sequence[bytes]) -> list[Alert]:
    return [decode(part) for part in parts[1:]]


def answer_message(answer: Answer) -> list[bytes]:
    match answer:
        case Opened(batch, wait):
            document: Mapping[str, Any] = {"batch": batch, "wait": wait}
        case Done():
            document = {}
        case Failed(kind, message, retry_after):
            short = message.encode("utf-8", "replace").decode()[:_LONGEST_MESSAGE]
            document = {"kind": kind.value, "message": short, "retryAfter": retry_after}
    return [orjson.dumps(document)]


def read_answer(parts: Sequence[bytes]) -> Answer:
    """Raises ValueError for what is no answer."""
    if len(parts) != 1:
        raise ValueError("an answer of several parts")
    match orjson.loads(parts[0]):
        case {"batch": int(batch), "wait": int() | float() as wait} if 0 < batch <= MOST_PARTS // 2 and 0 <= wait < 1e6:
            return Opened(batch, float(wait))
        case {"kind": str(kind), "message": str(message), "retryAfter": None | int() | float() as retry_after}:
            return Failed(Failing(kind), message[:_LONGEST_MESSAGE], retry_after)
        case {**members} if not members:
            return Done()
    raise ValueError("an answer of another form")


def send(connection: socket.socket, parts: Sequence[bytes]) -> None:
    """Raises OSError, TimeoutError after the time of the socket."""
    lengths = b"".join(_LENGTH.pack(len(part)) for part in parts)
    connection.sendall(_LENGTH.pack(len(parts)) + lengths + b"".join(parts))


def receive(connection: socket.socket, longest: int) -> list[bytes]:
    """The parts of the next message, of ``longest`` bytes at most. Raises EOFError at the end, ValueError, OSError."""
    (count,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if count > MOST_PARTS:
        raise ValueError("a message of too many parts")
    lengths = [each for (each,) in _LENGTH.iter_unpack(_exactly(connection, count * _LENGTH.size))]
    if sum(lengths) > longest:
        raise ValueError("a message that is too long")
    return [_exactly(connection, length) for length in lengths]


def _exactly(connection: socket.socket, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        piece = connection.recv(min(length - len(content), 1 << 16))
        if not piece:
            raise EOFError
        content += piece
    return bytes(content)
