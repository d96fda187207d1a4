"""What the agent and the process of tenants' sinks send each other."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tiercel_agent.delivery.tenants.messages import (
    LONGEST_ANSWER,
    Done,
    Failed,
    Failing,
    Opened,
    Opening,
    alerts_message,
    answer_message,
    opening_message,
    policy_message,
    read_alerts,
    read_answer,
    read_opening,
    read_policy,
    receive,
    send,
)
from tiercel_agent.sinks.model import Place, SinkSettings
from tiercel_agent.sinks.network.egress_policy import EgressPolicy
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import HttpSink, SecretRef, SecretSource


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_settings_and_policies_come_over_as_they_were() -> None:
    spec = AlertSinkSpec(http=HttpSink(url_from=SecretSource(SecretRef("chat", "url"))))
    opening = Opening(SinkSettings("chat", spec, "shop", {"chat/url": "http://h/é"}), Place("host", "node-1"), 5.0)
    assert read_opening(opening_message(opening)) == opening
    policy = EgressPolicy(
        *((ip_network("10.1.0.0/16"),), (ip_network("fd00::/8"),), (ip_network("10.96.0.0/12"),)),
        frozenset({ip_address("10.96.0.1"), ip_address("fd00::1")}),
    )
    assert read_policy(policy_message(policy)) == policy


def test_alerts_come_over_as_they_were(pair: tuple[socket.socket, socket.socket]) -> None:
    fields: dict[str, Any] = {"a": b"\xff\x00", "b": ["x", "\udcff"], "c": None, "d": 5, "e": True}
    alerts = [Alert(1, "R\ud800", Priority.WARNING, "syscall", "h", "\x00", ("t",), fields) for _ in range(3)]
    send(pair[0], alerts_message(alerts))
    came = read_alerts(receive(pair[1], 1 << 20))
    assert came == alerts
    assert [each.id for each in came] == [each.id for each in alerts]


@pytest.mark.parametrize(
    "answer", [Opened(64, 0.5), Done(), *(Failed(kind, "why", wait) for kind in Failing for wait in (None, 3.5))]
)
def test_answers_come_over_as_they_were(answer: Opened | Done | Failed) -> None:
    assert read_answer(answer_message(answer)) == answer


@pytest.mark.parametrize(
    "parts",
    [
        *([], [b""], [b"{"], [b"[]"], [b"5"], [b"{}", b""], [b'{"x": 1}'], [b"\xff"], [b"[" * 9000]),
        *([b'{"batch": 0, "wait": 0}'], [b'{"batch": 1e9, "wait": 0}'], [b'{"batch": 99999999, "wait": 0}']),
        *([b'{"batch": 1, "wait": -1}'], [b'{"batch": 1}'], [b'{"batch": "1", "wait": 0}']),
        [b'{"kind": "other", "message": "", "retryAfter": null}'],
        [b'{"kind": "bad", "message": 5, "retryAfter": null}'],
        [b'{"kind": "bad", "message": "", "retryAfter": "soon"}'],
    ],
)
def test_what_is_no_answer(parts: list[bytes]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_answer(parts)


def test_an_error_is_short_and_unicode() -> None:
    answer = read_answer(answer_message(Failed(Failing.REFUSED, "\udcff" + "x" * 10_000)))
    assert isinstance(answer, Failed)
    assert len(answer.message) == 1024


@pytest.mark.parametrize("head", [struct.pack("!I", 1 << 31), struct.pack("!II", 1, 1 << 31)])
def test_no_memory_is_taken_for_what_is_only_announced(pair: tuple[socket.socket, socket.socket], head: bytes) -> None:
    pair[0].sendall(head)
    with pytest.raises(ValueError, match="too"):
        receive(pair[1], LONGEST_ANSWER)


def test_the_end(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].sendall(struct.pack("!II", 1, 10) + b"half")
    pair[0].close()
    with pytest.raises(EOFError):
        receive(pair[1], LONGEST_ANSWER)
