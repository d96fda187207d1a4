"""The webhook's server, asked over HTTPS as the API server does, and by those who mean it ill."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import random
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tiercel_engine.rules.objects import RuleObject
from tiercel_operator.admission import door
from tiercel_operator.admission import webhook as module
from tiercel_operator.admission.certificates import Certificates, make, split
from tiercel_operator.admission.configuration import trusts, webhook_configuration
from tiercel_operator.admission.door import ClientCertificates
from tiercel_operator.admission.request_head import HEAD
from tiercel_operator.admission.webhook import LARGEST_BODY, FreshObjects, Webhook
from tiercel_operator.workers.limits import Limits
from tiercel_operator.workers.pool import WorkerPool
from tiercel_operator.workers.slots import FairSlots

TOKEN = "a-token-that-nobody-but-the-api-server-knows"

RULE = {"rule": "r", "desc": "d", "condition": "evt.type = open", "output": "o", "priority": "NOTICE"}
BAD = {**RULE, "condition": "evt.type = open and proc.nmae = x"}
USES = {**RULE, "condition": "opened"}
MACRO = RuleObject("shop", "m", {"rules": [{"macro": "opened", "condition": "evt.type = open"}]})


class Running:
    """A webhook in an event loop of its own."""

    def __init__(self, make_webhook: Callable[[], Webhook], certificates: Certificates) -> None:
        self.trusted = certificates.ca
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.webhook = make_webhook()
        self.port = self.run(self.webhook.start("127.0.0.1", 0, certificates))

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

    def connection(self, presented: str = "") -> http.client.HTTPSConnection:
        trust = ssl.create_default_context(cadata=self.trusted.decode())
        if presented:
            trust.load_cert_chain(presented)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=trust)

    def ask(
        self, body: bytes, method: str = "POST", path: str = f"/validate/{TOKEN}", presented: str = ""
    ) -> tuple[int, bytes]:
        with contextlib.closing(self.connection(presented)) as connection:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()

    def response(self, *items: Any, namespace: str = "shop") -> dict[str, Any]:
        status, text = self.ask(review_of(*items, namespace=namespace))
        assert status == 200
        return json.loads(text)["response"]


def review_of(*items: Any, uid: str = "7", namespace: str = "shop") -> bytes:
    request = {
        "uid": uid,
        "kind": {"group": "tiercel.dev", "version": "v1alpha1", "kind": "SecurityRule"},
        "operation": "CREATE",
        "namespace": namespace,
        "name": "a",
        "object": {"metadata": {"name": "a", "namespace": namespace}, "spec": {"rules": items}},
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return make(["127.0.0.1"])


Serve = Callable[..., Running]


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerPool]:
    workers = WorkerPool(["tiercel_operator.admission.review"])
    yield workers
    workers.close()


@pytest.fixture
def serve(certificates: Certificates, workers: WorkerPool) -> Iterator[Serve]:
    running: list[Running] = []

    def begin(
        others: Callable[[], Iterable[RuleObject]] = tuple,
        fresh: FreshObjects | None = None,
        clients: ClientCertificates | None = None,
    ) -> Running:
        def webhook() -> Webhook:
            return Webhook(others, workers, FairSlots(2), fresh, tokens=[TOKEN], clients=clients)

        running.append(Running(webhook, certificates))
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


@pytest.mark.parametrize(
    "path", ["/validate", "/validate/", "/validate/guess", f"/validate/{TOKEN[:-1]}", f"/validate/{TOKEN}/", "/other"]
)
def test_whoever_doesnt_know_the_path_is_answered_before_the_body_is_read(serve: Serve, path: str) -> None:
    running = serve()
    with contextlib.closing(running.connection()) as connection:
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(LARGEST_BODY))
        connection.endheaders()  # and no body
        assert connection.getresponse().status == 404
    assert running.response(RULE)["allowed"]


def test_a_change_of_the_token_goes_by_without_a_gap(serve: Serve) -> None:
    running = serve()
    running.webhook.tokens = ("the-next-token", TOKEN)
    assert running.response(RULE)["allowed"]
    assert running.ask(review_of(RULE), path="/validate/the-next-token")[0] == 200


def test_a_client_certificate_is_asked_for_if_the_api_server_has_one(serve: Serve, tmp_path: Path) -> None:
    mine, other, kubelets = (
        client_certificate(tmp_path / file, name)
        for file, name in (("mine", "api-server"), ("other", "api-server"), ("kubelet", "kubelet"))
    )
    running = serve(clients=ClientCertificates(mine.read_text() + kubelets.read_text(), ("api-server",)))
    assert running.ask(review_of(RULE), presented=str(mine))[0] == 200
    assert running.ask(review_of(RULE), presented=str(kubelets))[0] == 403
    for unknown in ("", str(other)):
        with pytest.raises((ssl.SSLError, OSError)):
            running.ask(review_of(RULE), presented=unknown)


def client_certificate(file: Path, name: str) -> Path:
    """Writes a certificate of a client, which is its own authority, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(certificate.public_bytes(pem) + private)
    return file


def test_connections_that_say_nothing_keep_nobody_out(serve: Serve) -> None:
    running = serve()
    silent = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(3 * door.MOST_STRANGERS)]
    try:
        assert running.response(RULE)["allowed"]
        until(lambda: sum(not is_closed(each) for each in silent) <= door.MOST_STRANGERS)
    finally:
        for each in silent:
            each.close()


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_no_more_than_the_beginning_is_here_of_what_waits_for_its_turn(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each namespace one body is read at once, and of all as many as there are turns."""
    running = serve()
    begun = [module._read]
    monkeypatch.setattr(module, "_PATIENCE", 60.0)
    read: list[int] = []

    async def reads(content: Any, most: int = LARGEST_BODY) -> bytes:
        part: bytes = await begun[0](content, most)
        read.append(len(part))
        return part

    monkeypatch.setattr(module, "_read", reads)
    body = review_of({**RULE, "desc": "x" * 3_000_000})
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            sending = stack.enter_context(contextlib.closing(running.connection()))
            sending.putrequest("POST", f"/validate/{TOKEN}")
            sending.putheader("Content-Length", str(len(body)))
            sending.endheaders(body[:HEAD])  # the first of them holds the turn of its namespace
        until(lambda: len(read) == 8)
        assert max(read) < 100_000
        assert running.response(RULE, namespace="bank")["allowed"]
        assert sum(read) < 1_000_000


def until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it didn't come about")


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
    """A review of 200 KB whose tests match slowly: rules with patterns that make new states for each character."""
    pattern = 'evt.type = execve and proc.args regex "[ab]*a[ab]{14}[ab]*c'
    rules = [{**RULE, "rule": f"r{number}", "condition": f'{pattern}{number}"'} for number in range(300)]
    text = random.Random(1)
    events = [{"evt.type": "execve", "proc.args": "".join(text.choices("ab", k=5000))} for _ in range(20)]
    tests = [{"name": f"t{number}", "event": event, "expect": []} for number, event in enumerate(events * 10)]
    body = json.loads(review_of(*rules))
    body["request"]["object"]["spec"]["tests"] = tests
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


def test_a_new_certificate_is_used_without_a_restart(serve: Serve, certificates: Certificates) -> None:
    running = serve()
    with contextlib.closing(running.connection()) as kept:
        kept.request("POST", f"/validate/{TOKEN}", review_of(RULE))
        kept.getresponse().read()
        renewed = make(["127.0.0.1"])
        running.use(renewed)
        kept.request("POST", f"/validate/{TOKEN}", review_of(RULE))  # a connection stays as it is
        assert kept.getresponse().status == 200
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
        connection.request("GET", "/")


def test_after_the_end_nobody_answers(serve: Serve) -> None:
    running = serve()
    running.run(running.webhook.stop())
    with pytest.raises(ConnectionRefusedError):
        running.response(RULE)


def test_a_port_that_is_taken_is_an_error(serve: Serve, certificates: Certificates, workers: WorkerPool) -> None:
    running = serve()
    with pytest.raises(OSError, match="Address already in use"):
        running.run(Webhook(tuple, workers, FairSlots(1)).start("127.0.0.1", running.port, certificates))


def test_the_configuration_never_blocks() -> None:
    configuration = webhook_configuration("tiercel-system", b"pem", TOKEN)
    (hook,) = configuration["webhooks"]
    assert (hook["failurePolicy"], hook["timeoutSeconds"], hook["sideEffects"]) == ("Ignore", 5, "None")
    (rule,) = hook["rules"]
    assert rule["operations"] == ["CREATE", "UPDATE"]
    assert rule["resources"] == ["securityrules", "alertsinks"]
    path = f"/validate/{TOKEN}"
    assert hook["clientConfig"] == {
        "service": {"name": "tiercel-webhook", "namespace": "tiercel-system", "path": path, "port": 443},
        "caBundle": "cGVt",
    }
    url = "https://127.0.0.1:9443/validate"
    (outside,) = webhook_configuration("tiercel-system", b"pem", TOKEN, url)["webhooks"]
    assert outside["clientConfig"] == {"url": f"{url}/{TOKEN}", "caBundle": "cGVt"}


def test_a_configuration_trusts_an_authority_that_each_of_its_webhooks_has() -> None:
    one, two = make(["a"]).ca, make(["a"]).ca
    configuration = webhook_configuration("tiercel-system", one + two, TOKEN)
    assert all(trusts(configuration, each) for each in split(one + two))
    assert not trusts(configuration, make(["a"]).ca)
    assert not trusts(None, one)
    configuration["webhooks"] *= 2
    configuration["webhooks"][1] = webhook_configuration("tiercel-system", two, TOKEN)["webhooks"][0]
    assert not trusts(configuration, one)
    assert trusts(configuration, two)
