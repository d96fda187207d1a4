"""The webhook's server, asked over HTTPS as the API server does, and by those who mean it ill."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any

import pytest

from tiercel_engine.rules.objects import RuleObject
from tiercel_operator.admission import webhook as module
from tiercel_operator.admission.certificates import Certificates, make
from tiercel_operator.admission.webhook import LARGEST_BODY, Webhook, webhook_configuration

RULE = {"rule": "r", "desc": "d", "condition": "evt.type = open", "output": "o", "priority": "NOTICE"}
BAD = {**RULE, "condition": "evt.type = open and proc.nmae = x"}
USES = {**RULE, "condition": "opened"}
MACRO = RuleObject("shop", "m", {"rules": [{"macro": "opened", "condition": "evt.type = open"}]})


class Running:
    """A webhook in an event loop of its own."""

    def __init__(self, webhook: Webhook, certificates: Certificates) -> None:
        self.webhook = webhook
        self.trusted = certificates.ca
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.port = self.run(webhook.start("127.0.0.1", 0, certificates))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def use(self, certificates: Certificates) -> None:
        async def change() -> None:
            self.webhook.use(certificates)

        self.run(change())

    def close(self) -> None:
        self.run(self.webhook.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def connection(self) -> http.client.HTTPSConnection:
        trust = ssl.create_default_context(cadata=self.trusted.decode())
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=trust)

    def ask(self, body: bytes, method: str = "POST", path: str = "/validate") -> tuple[int, bytes]:
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()

    def response(self, *items: Any) -> dict[str, Any]:
        status, text = self.ask(review_of(*items))
        assert status == 200
        return json.loads(text)["response"]


def review_of(*items: Any, uid: str = "7") -> bytes:
    request = {
        "uid": uid,
        "kind": {"group": "tiercel.dev", "version": "v1alpha1", "kind": "SecurityRule"},
        "operation": "CREATE",
        "namespace": "shop",
        "name": "a",
        "object": {"metadata": {"name": "a", "namespace": "shop"}, "spec": {"rules": items}},
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return make(["127.0.0.1"])


Serve = Callable[..., Running]


@pytest.fixture
def serve(certificates: Certificates) -> Iterator[Serve]:
    running: list[Running] = []

    def begin(
        others: Callable[[], Iterable[RuleObject]] = tuple,
        fresh: Callable[[], Awaitable[Iterable[RuleObject]]] | None = None,
    ) -> Running:
        running.append(Running(Webhook(others, fresh), certificates))
        return running[-1]

    yield begin
    for each in running:
        each.close()


def test_it_lets_in_and_refuses(serve: Serve) -> None:
    running = serve()
    assert running.response(RULE) == {"uid": "7", "allowed": True}
    refused = running.response(BAD)
    assert not refused["allowed"]
    assert refused["status"]["message"].endswith("^~~~~~~~~")
    assert running.ask(b"", "GET", "/healthz") == (200, b"ok\n")


def test_what_was_applied_a_moment_ago_counts(serve: Serve) -> None:
    """What is known here may be behind what the API server has."""
    lists = 0

    async def fresh() -> list[RuleObject]:
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
    assert b"the " in text
    assert b"Traceback" not in text
    assert running.response(RULE)["allowed"]


def test_a_body_that_is_too_large_is_refused_and_one_that_just_fits_is_not(serve: Serve) -> None:
    running = serve()
    large = review_of({**RULE, "desc": "x" * LARGEST_BODY})
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
        assert running.ask(large)[0] == 413
    fits = review_of({**RULE, "desc": "x" * (LARGEST_BODY - 1000)})
    assert running.ask(fits)[0] == 200


def test_other_paths_and_methods_are_none(serve: Serve) -> None:
    running = serve()
    assert running.ask(b"", "GET")[0] == 405
    assert running.ask(b"{}", "POST", "/other")[0] == 404


def test_a_failure_lets_in_with_a_warning(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> Iterable[RuleObject]:
        raise RuntimeError("boom")

    running = serve(fails)
    with caplog.at_level(logging.ERROR):
        response = running.response(BAD)
    assert response["allowed"]
    assert response["warnings"] == [module._NOT_CHECKED]
    assert "not checked: SecurityRule shop a" in caplog.text


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
    async def fails() -> list[RuleObject]:
        raise OSError("no API server")

    assert serve(fresh=fails).response(BAD)["allowed"]


def test_what_takes_too_long_is_let_in(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    go_on = threading.Event()
    monkeypatch.setattr(module, "review", lambda *_: go_on.wait())
    running = serve()
    try:
        assert running.response(BAD)["warnings"] == [module._NOT_CHECKED]
        assert running.response(BAD)["warnings"] == [module._NOT_CHECKED]  # behind the other
        assert not go_on.is_set(), "the answers came before the review ended"
        assert running.ask(b"", "GET", "/healthz")[0] == 200
    finally:
        go_on.set()


def test_a_new_certificate_is_used_without_a_restart(serve: Serve, certificates: Certificates) -> None:
    running = serve()
    with contextlib.closing(running.connection()) as kept:
        kept.request("GET", "/healthz")
        kept.getresponse().read()
        renewed = make(["127.0.0.1"])
        running.use(renewed)
        kept.request("GET", "/healthz")  # a connection stays as it is
        assert kept.getresponse().read() == b"ok\n"
    with pytest.raises(ssl.SSLCertVerificationError):
        running.response(RULE)
    running.trusted = renewed.ca
    assert running.response(RULE)["allowed"]


def test_old_tls_is_refused(serve: Serve) -> None:
    running = serve()
    trust = ssl.create_default_context(cadata=running.trusted.decode())
    trust.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        trust.minimum_version = trust.maximum_version = ssl.TLSVersion.TLSv1_1
    connection = http.client.HTTPSConnection("127.0.0.1", running.port, timeout=30, context=trust)
    with contextlib.closing(connection), pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|EOF"):
        connection.request("GET", "/healthz")


def test_after_the_end_nobody_answers(serve: Serve) -> None:
    running = serve()
    running.run(running.webhook.stop())
    with pytest.raises(ConnectionRefusedError):
        running.response(RULE)


def test_a_port_that_is_taken_is_an_error(serve: Serve, certificates: Certificates) -> None:
    running = serve()
    with pytest.raises(OSError, match="address already in use"):
        running.run(Webhook(tuple).start("127.0.0.1", running.port, certificates))


def test_the_configuration_never_blocks() -> None:
    configuration = webhook_configuration("tiercel-system", b"pem")
    (hook,) = configuration["webhooks"]
    assert (hook["failurePolicy"], hook["timeoutSeconds"], hook["sideEffects"]) == ("Ignore", 5, "None")
    (rule,) = hook["rules"]
    assert rule["operations"] == ["CREATE", "UPDATE"]
    assert rule["resources"] == ["securityrules", "alertsinks"]
    assert hook["clientConfig"] == {
        "service": {"name": "tiercel-webhook", "namespace": "tiercel-system", "path": "/validate", "port": 443},
        "caBundle": "cGVt",
    }
    (outside,) = webhook_configuration("tiercel-system", b"pem", "https://127.0.0.1:9443/validate")["webhooks"]
    assert outside["clientConfig"] == {"url": "https://127.0.0.1:9443/validate", "caBundle": "cGVt"}
