"""The webhook's server, asked over HTTPS as the API server does, and by those who mean it ill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import threading
from collections.abc import Iterable

import pytest
from operator_support.costly_checks import with_slow_tests
from operator_support.running_webhook import BAD, RULE, Serve, review_of

from tiercel_engine.rules.objects import RuleObject
from tiercel_operator.admission import webhook as module
from tiercel_operator.admission.certificates import Certificates
from tiercel_operator.admission.webhook import LARGEST_BODY, Webhook
from tiercel_operator.workers.limits import Limits
from tiercel_operator.workers.pool import WorkerPool
from tiercel_operator.workers.slots import FairSlots

USES = {**RULE, "condition": "opened"}
MACRO = RuleObject("shop", "m", {"rules": [{"macro": "opened", "condition": "evt.type = open"}]})


def test_it_lets_in_and_refuses(serve: Serve) -> None:
    running = serve()
    assert running.response(RULE) == {"uid": "7", "allowed": True}
    refused = running.response(BAD)
    assert not refused["allowed"]
    assert refused["status"]["message"].endswith("^~~~~~~~~")


def test_what_was_applied_a_moment_ago_counts(serve: Serve) -> None:
    """What is known here may be behind what the API server has."""
    lists = 0

    async def fresh(_namespace: str) -> list[RuleObject]:
        nonlocal lists
        lists += 1
        return [MACRO]

    running = serve(fresh=fresh)
    assert running.response(USES)["allowed"]
    assert not running.response(BAD)["allowed"]
    assert lists == 2
    assert running.response(RULE)["allowed"]
    assert lists == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b'{"kind": "AdmissionReview"',
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"[]",
        b"3",
        b"{}",
        b'{"apiVersion": "v1", "kind": "Pod"}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {}}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", '
        b'"operation": "CREATE", "kind": {"group": "tiercel.dev", "kind": "SecurityRule"}}}',
    ],
)
def test_what_cant_be_read_is_an_error(serve: Serve, body: bytes) -> None:
    running = serve()
    status, text = running.ask(body)
    assert status == 400
    assert b"the " in text or b"couldn't" in text
    assert b"Traceback" not in text
    assert running.response(RULE)["allowed"]


def test_a_body_that_is_too_large_is_refused_and_one_that_just_fits_is_not(serve: Serve) -> None:
    running = serve()
    large = review_of({**RULE, "desc": "x" * LARGEST_BODY})
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
        assert running.ask(large)[0] == 413
    fits = review_of({**RULE, "desc": "x" * (LARGEST_BODY - 1000)})
    assert running.ask(fits)[0] == 200


def test_a_review_about_another_namespace_than_its_beginning_says_is_none(serve: Serve) -> None:
    body = review_of(RULE).replace(b'"request": {', b'"request": {"x": {"namespace": "bank"}, ')
    assert serve().ask(body)[0] == 400


def test_a_failure_lets_in_with_a_warning(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> Iterable[RuleObject]:
        raise RuntimeError("boom")

    running = serve(fails)
    with caplog.at_level(logging.ERROR):
        response = running.response(BAD)
    assert response["allowed"]
    assert response["warnings"] == [module._NOT_CHECKED]
    assert "not checked: shop/a" in caplog.text


@pytest.mark.parametrize("levels", [255, 5000])
def test_what_is_nested_as_deeply_as_the_api_server_stores_it_is_refused(serve: Serve, levels: int) -> None:
    exceptions = b'[{"name": "x", "fields": "proc.name", "values": [' + b"[" * levels + b"]" * levels + b"]}]"
    body = review_of(RULE | {"exceptions": "here"}).replace(b'"here"', exceptions)
    status, text = serve().ask(body)
    assert status == 200
    response = json.loads(text)["response"]
    assert not response["allowed"]
    assert "exceptions[0].values[0][0]… is nested deeper than 64 levels" in response["status"]["message"]


def test_the_api_servers_failure_lets_in(serve: Serve) -> None:
    async def fails(_namespace: str) -> list[RuleObject]:
        raise OSError("no API server")

    assert serve(fresh=fails).response(BAD)["allowed"]


def costly() -> bytes:
    body = json.loads(review_of())
    body["request"]["object"]["spec"] = with_slow_tests("shop", "a").spec
    return json.dumps(body).encode()


def test_a_review_that_takes_too_much_is_let_in_with_a_warning_and_holds_up_no_other_namespace(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "REVIEW", Limits(processor=1, time=60, memory=96 << 20))
    monkeypatch.setattr(module, "_PATIENCE", 60.0)
    running, body = serve(), costly()
    answers: list[tuple[int, bytes]] = []
    hostile = [threading.Thread(target=lambda: answers.append(running.ask(body))) for _ in range(4)]
    for each in hostile:
        each.start()
    assert not running.response(BAD, namespace="bank")["allowed"], "it was checked"
    assert len(answers) < len(hostile), "before all of the others"
    for each in hostile:
        each.join()
    assert {status for status, _ in answers} == {200}
    told = {"uid": "7", "allowed": True, "warnings": [module._NOT_CHECKED]}
    assert [json.loads(text)["response"] for _, text in answers] == [told] * len(hostile)
    assert "not checked: shop/a: it took more than 1 s of a processor" in caplog.text


def test_a_body_that_takes_too_much_to_read_is_let_in_with_a_warning(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REVIEW", Limits(processor=10, time=20, memory=32 << 20))
    body = review_of("here").replace(b'"here"', b",".join([b"[]"] * (1 << 20)))
    status, text = serve().ask(body)
    assert status == 200
    assert json.loads(text)["response"] == {"uid": "7", "allowed": True, "warnings": [module._NOT_CHECKED]}


def test_what_isnt_checked_in_time_is_let_in(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.1)

    async def never(_namespace: str) -> list[RuleObject]:
        await asyncio.Event().wait()
        return []

    assert serve(fresh=never).response(BAD)["warnings"] == [module._NOT_CHECKED]


def test_after_the_end_nobody_answers(serve: Serve) -> None:
    running = serve()
    running.run(running.webhook.stop())
    with pytest.raises(ConnectionRefusedError):
        running.response(RULE)


def test_a_port_that_is_taken_is_an_error(serve: Serve, certificates: Certificates, workers: WorkerPool) -> None:
    running = serve()
    with pytest.raises(OSError, match="Address already in use"):
        running.run(Webhook(tuple, workers, FairSlots(1)).start("127.0.0.1", running.port, certificates))
