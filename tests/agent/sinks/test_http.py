"""Alerts to real HTTP servers on loopback, that answer, fail and lie in all ways."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import cache
from typing import Any

import pytest
from agent_support.http_receiver import Answer, Authority, Certificate, HttpReceiver, refusing, self_signed

from tiercel_agent.sinks.http.http import open_http
from tiercel_agent.sinks.model import BadSink, Refused, Sink, SinkSettings, Unavailable
from tiercel_agent.sinks.network.http_client import LONGEST_ANSWER, Timeouts
from tiercel_agent.sinks.network.tls import tls_context
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec, Format
from tiercel_engine.resources.destinations import (
    Batch,
    Compression,
    Header,
    HttpSink,
    SecretRef,
    SecretSource,
    Tls,
)

TIME = 1_795_436_768_078_933_574
HOSTILE = 'quote" back\\slash \n\r\x00\x1b[31m \u202e \udcff </script> {{ rule }} é'
QUICK = Timeouts(connect=5.0, read=0.2)
SECRET = "hunter2-token"


def alert(output: str = "read by cat") -> Alert:
    fields: dict[str, Any] = {"proc.name": HOSTILE, "k8s.ns.name": "shop", "k8s.pod.name": "web-1"}
    return Alert(TIME, "Read", Priority.WARNING, "syscall", "node-1", output, ("a",), fields)


def secret(name: str) -> SecretSource:
    return SecretSource(SecretRef("s", name))


def opened(
    url: str,
    *,
    secrets: Mapping[str, str] | None = None,
    spec: AlertSinkSpec | None = None,
    timeouts: Timeouts | None = None,
    **more: Any,
) -> Sink:
    values = {f"s/{name}": value for name, value in (secrets or {}).items()}
    settings = SinkSettings("test", spec or AlertSinkSpec(), secrets=values)
    return open_http(HttpSink(url=url, **more), settings, timeouts)


def failure(sink: Sink) -> Unavailable:
    with pytest.raises(Unavailable) as raised:
        sink.send([alert()])
    return raised.value


@cache
def authority() -> Authority:
    return Authority()


@cache
def local() -> Certificate:
    return authority().issue("127.0.0.1", "localhost")


TRUSTING = Tls(ca_from=secret("ca"))


def secure(receiver: HttpReceiver, tls: Tls = TRUSTING, **secrets: str) -> Sink:
    return opened(receiver.url, tls=tls, secrets={"ca": authority().pem, **secrets})


def test_an_alert_is_a_request() -> None:
    with HttpReceiver() as receiver:
        sent = alert(HOSTILE)
        opened(f"{receiver.url}/hook?key=a%20b").send([sent])
        request = receiver.one()
    assert (request.method, request.path) == ("POST", "/hook?key=a%20b")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == sent.id
    assert request.headers["user-agent"].startswith("tiercel/")
    document = json.loads(request.body)
    assert (document["uuid"], document["rule"], document["priority"]) == (sent.id, "Read", "Warning")
    assert document["output_fields"]["proc.name"] == HOSTILE.replace("\udcff", "\ufffd")
    assert document["output"].endswith(HOSTILE.replace("\udcff", "\ufffd"))
    assert not [byte for byte in request.body if byte < 0x20 or byte == 0x7F]


def test_the_method_and_the_headers_are_the_configured_ones() -> None:
    with HttpReceiver() as receiver:
        sink = opened(
            receiver.url,
            method="PUT",
            headers=(
                Header("X-Team", value="blue"),
                Header("Authorization", value_from=secret("token")),
                Header("content-type", value="text/x-mine"),
            ),
            secrets={"token": f"Bearer {SECRET}\n"},  # as `kubectl create secret --from-file` makes them
        )
        sink.send([alert()])
        request = receiver.one()
    assert request.method == "PUT"
    assert (request.headers["x-team"], request.headers["authorization"]) == ("blue", f"Bearer {SECRET}")
    assert request.headers["content-type"] == "text/x-mine"


def test_credentials_of_the_address_are_basic_authentication() -> None:
    with HttpReceiver() as receiver:
        opened(receiver.url.replace("//", "//ann:p%40ss@")).send([alert()])
        request = receiver.one()
    assert request.headers["authorization"] == "Basic YW5uOnBAc3M="
    assert "ann" not in request.headers["host"] + request.path


def test_a_batch_is_an_array_whatever_its_size() -> None:
    with HttpReceiver() as receiver:
        sink = opened(receiver.url, batch=Batch(10, "1m30s"))
        assert (sink.batch, sink.wait) == (10, 90.0)
        sent = [alert("first"), alert("second")]
        sink.send(sent)
        sink.send(sent[:1])
        many, one = receiver.one(), receiver.one()
    assert [each["uuid"] for each in json.loads(many.body)] == [each.id for each in sent]
    assert [each["uuid"] for each in json.loads(one.body)] == [sent[0].id]


def test_compression() -> None:
    with HttpReceiver() as receiver:
        opened(receiver.url, compression=Compression.GZIP).send([alert()])
        request = receiver.one()
    assert request.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(request.body))["rule"] == "Read"


def test_a_template_of_json_holds_whatever_an_alert_says() -> None:
    spec = AlertSinkSpec(format=Format.TEMPLATE, template='{"text": "{{ output }}", "who": {{ proc.name | json }}}')
    with HttpReceiver() as receiver:
        opened(receiver.url, spec=spec).send([alert('", "admin": "yes')])
        request = receiver.one()
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"text": '", "admin": "yes', "who": HOSTILE.replace("\udcff", "\ufffd")}


def test_a_connection_is_kept() -> None:
    with HttpReceiver([Answer(), Answer(503, body=b"busy"), Answer(204)]) as receiver:
        sink = opened(receiver.url)
        sink.send([alert()])
        failure(sink)
        sink.send([alert()])
        assert [request.connection for request in receiver.all()] == [1, 1, 1]


def test_a_kept_connection_that_has_ended_fails_nothing() -> None:
    with HttpReceiver([Answer(hangs_up=True)]) as receiver:
        sink = opened(receiver.url)
        sink.send([alert("first")])
        assert receiver.hung_up.acquire(timeout=30)
        sink.send([alert("second")])
        assert [request.connection for request in receiver.all()] == [1, 2]


def test_a_kept_connection_that_ends_under_a_request_is_tried_anew_once() -> None:
    with HttpReceiver([Answer(), Answer(silent=True), Answer(), Answer(silent=True), Answer(silent=True)]) as receiver:
        sink = opened(receiver.url)
        sink.send([alert("first")])
        sink.send([alert("second")])
        assert [request.connection for request in receiver.all()] == [1, 1, 2]
        assert "closed before" in str(failure(sink))


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_is_refused_for_good(status: int) -> None:
    with HttpReceiver([Answer(status, body=b"no")]) as receiver, pytest.raises(Refused, match=f"answers {status}"):
        opened(receiver.url).send([alert()])


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (302, "answers 302: redirects aren't followed, configure the final address"),
        (304, "redirects aren't followed"),
        (401, "answers 401 Unauthorized: are its credentials right"),
        (404, "is the path of its address right"),
        (429, "answers 429 Too Many Requests"),
        (500, "answers 500 Internal Server Error"),
        (799, "answers 799"),
    ],
)
def test_what_may_be_taken_later(status: int, says: str) -> None:
    with HttpReceiver() as elsewhere, HttpReceiver([Answer(status, {"Location": elsewhere.url})]) as receiver:
        assert says in str(failure(opened(receiver.url)))
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("7", 7.0),
        (" 0120 ", 120.0),
        ("999999", 3600.0),
        ("Thu, 26 Nov 2099 00:00:00 GMT", 3600.0),
        ("Thu, 26 Nov 1999 00:00:00 GMT", None),
        ("0", None),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("Thu, 99 Nov 2099 00:00:00 GMT", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_how_long_the_other_side_wants_to_be_left_alone(status: int, header: str, wanted: float | None) -> None:
    with HttpReceiver([Answer(status, {"Retry-After": header})]) as receiver:
        assert failure(opened(receiver.url)).retry_after == wanted


def test_a_date_to_come_back_at() -> None:
    with HttpReceiver([Answer(503, {"Retry-After": formatdate(time.time() + 1800, usegmt=True)})]) as receiver:
        wanted = failure(opened(receiver.url)).retry_after
    assert wanted is not None
    assert 1000 < wanted <= 1800


def test_answers_that_fail() -> None:
    with HttpReceiver([Answer(reset=True, body=b"half"), Answer(silent=True)]) as receiver:
        sink = opened(receiver.url)
        assert str(failure(sink)) == "the connection was closed before the answer was complete"
        assert str(failure(sink)) == "the connection was closed before the answer was complete"
        sink.send([alert()])


def test_an_answer_that_does_not_come() -> None:
    with HttpReceiver([Answer(held=True)]) as receiver:
        assert str(failure(opened(receiver.url, timeouts=QUICK))) == "no answer within 0.2 s"


def test_the_status_counts_where_the_rest_of_a_refusal_is_lost() -> None:
    with HttpReceiver([Answer(413, reset=True, body=b"too")]) as receiver, pytest.raises(Refused):
        opened(receiver.url).send([alert()])


def test_a_long_answer_is_not_read_to_its_end() -> None:
    with HttpReceiver([Answer(body=b"x" * (LONGEST_ANSWER * 40)), Answer()]) as receiver:
        sink = opened(receiver.url)
        sink.send([alert()])
        sink.send([alert()])
        assert [request.connection for request in receiver.all()] == [1, 2]


def test_nobody_there() -> None:
    with refusing() as port:
        assert str(failure(opened(f"http://127.0.0.1:{port}/"))) == "connection refused"
    assert str(failure(opened("http://no-such-host.invalid/"))) == "the name in its address can't be resolved"
    assert str(failure(opened(f"http://{'a' * 70}.example/"))) == "the name in its address isn't valid"


def test_what_is_no_http() -> None:
    with HttpReceiver(tls=local().server()) as receiver:
        failure(opened(receiver.url.replace("https", "http")))
    with HttpReceiver() as receiver:
        assert "doesn't speak TLS" in str(failure(opened(receiver.url.replace("http", "https"))))


def test_tls() -> None:
    with HttpReceiver(tls=local().server()) as receiver:
        secure(receiver).send([alert()])
        assert json.loads(receiver.one().body)["rule"] == "Read"
        assert "isn't trusted: unable to get local issuer certificate" in str(failure(opened(receiver.url)))
        assert receiver.all() == []


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: authority().issue("127.0.0.1", expired=True),
            "the certificate isn't trusted: certificate has expired",
        ),
        (lambda: self_signed("127.0.0.1"), "the certificate isn't trusted: self-signed certificate"),
        (lambda: authority().issue("other.example"), "the certificate isn't for the name in its address"),
    ],
    ids=["expired", "self-signed", "wrong name"],
)
def test_certificates_that_prove_nothing(make: Any, says: str) -> None:
    with HttpReceiver(tls=make().server()) as receiver:
        assert says in str(failure(secure(receiver)))
        assert receiver.all() == []
        secure(receiver, Tls(insecure_skip_verify=True)).send([alert()])
        assert len(receiver.all()) == 1


def test_a_certificate_for_another_name() -> None:
    with HttpReceiver(tls=authority().issue("other.example").server()) as receiver:
        secure(receiver, Tls(ca_from=secret("ca"), server_name="other.example")).send([alert()])
        assert len(receiver.all()) == 1


def test_both_sides_have_certificates() -> None:
    me = authority().issue("agent.example")
    mutual = Tls(ca_from=secret("ca"), cert_from=secret("cert"), key_from=secret("key"))
    with HttpReceiver(tls=local().server(clients=authority().pem)) as receiver:
        secure(receiver, mutual, cert=me.certificate, key=me.key).send([alert()])
        assert receiver.one().peer["subjectAltName"] == (("DNS", "agent.example"),)
        failure(secure(receiver))
        assert receiver.all() == []


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"ca": "nonsense"}, "tls.caFrom isn't certificates in PEM"),
        ({"ca": "\udcff"}, "tls.caFrom isn't certificates in PEM"),
        ({"cert": "nonsense"}, "tls.certFrom isn't a certificate in PEM"),
        ({"cert": "\udcff"}, "tls.certFrom isn't a certificate in PEM"),
        ({"key": "other"}, "tls.keyFrom isn't the key of the certificate"),
        ({"key": "encrypted"}, "tls.keyFrom is encrypted"),
    ],
)
def test_what_is_no_pem(names: Mapping[str, str], says: str) -> None:
    values = {"ca": authority().pem, "cert": local().certificate, "key": local().key, **names}
    if values["key"] == "other":
        values["key"] = authority().key_pem
    if values["key"] == "encrypted":
        values["key"] = encrypted()
    tls = Tls(ca_from=secret("ca"), cert_from=secret("cert"), key_from=secret("key"))
    settings = SinkSettings("t", AlertSinkSpec(), secrets={f"s/{name}": value for name, value in values.items()})
    with pytest.raises(BadSink, match=says) as raised:
        tls_context(tls, settings)
    assert "BEGIN PRIVATE" not in str(raised.value)


def encrypted() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    protection = serialization.BestAvailableEncryption(b"x")
    form = serialization.PrivateFormat.PKCS8
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(serialization.Encoding.PEM, form, protection).decode()


@pytest.mark.parametrize(
    ("url", "more", "says"),
    [
        ("ftp://x/", {}, "isn't one of HTTP"),
        ("x.example/hook", {}, "isn't one of HTTP"),
        ("http:///x", {}, "isn't one of HTTP"),
        ("http://x:99999/", {}, "can't be read"),
        ("http://x/a b", {}, "has a space"),
        ("http://x/\r\nX: y", {}, "has a space or a control character"),
        ("http://x/", {"headers": (Header("X", value=f"{SECRET}\r\nY: z"),)}, "the value of X has a line break"),
        ("http://x/", {"headers": (Header("X y", value="1"),)}, "headers: a name has other characters"),
        ("http://x/", {"headers": (Header("Content-Length", value="1"),)}, "Content-Length is up to the agent"),
        ("http://x/", {"headers": (Header("X", value_from=secret("missing")),)}, "isn't known here"),
        ("http://x/", {"batch": Batch(5, "soon")}, "batch.wait: 'soon' is not a duration"),
        ("https://x/", {"tls": Tls(server_name="a\0b")}, "tls.serverName must be a host's name or address"),
        ("https://x/", {"tls": Tls(server_name="." * 100)}, "tls.serverName must be a host's name or address"),
    ],
)
def test_what_is_configured_wrongly(url: str, more: Mapping[str, Any], says: str) -> None:
    with pytest.raises(BadSink, match=says) as raised:
        opened(url, **more)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, body=f"you sent {SECRET}".encode()),
        Answer(401, {"WWW-Authenticate": SECRET}),
        Answer(302, {"Location": f"http://127.0.0.1/{SECRET}"}),
        Answer(400, body=SECRET.encode()),
        Answer(reset=True, body=SECRET.encode()),
        Answer(200, {"Content-Length": SECRET}),
        Answer(429, {"Retry-After": SECRET}),
        Answer(silent=True),
        Answer(held=True),
    ],
)
def test_no_error_tells_a_secret(answer: Answer, caplog: pytest.LogCaptureFixture) -> None:
    with HttpReceiver([answer]) as receiver:
        url = f"{receiver.url.replace('//', f'//ann:{SECRET}@')}/{SECRET}?key={SECRET}"
        headers = (Header("X-Key", value_from=secret("key")),)
        sink = opened(url, headers=headers, secrets={"key": SECRET}, timeouts=QUICK)
        with pytest.raises((Unavailable, Refused)) as raised:
            sink.send([alert()])
        told = f"{raised.value!r} {raised.value.__cause__!r}"
        assert SECRET not in told
        assert "127.0.0.1" not in told
        assert receiver.one().headers["x-key"] == SECRET
    assert SECRET not in "".join(record.getMessage() for record in caplog.records if record.levelname != "DEBUG")


def test_a_proxy_is_for_trusted_sinks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpReceiver() as proxy, HttpReceiver() as receiver:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//ann:pw@"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        opened("http://far.example/x").send([alert()])
        request = proxy.one()
        assert request.path == "http://far.example/x"
        assert request.headers["proxy-authorization"] == "Basic YW5uOnB3"
        opened(receiver.url).send([alert()])
        assert len(receiver.all()) == 1
        monkeypatch.delenv("no_proxy")
        tenant = SinkSettings("test", AlertSinkSpec(), namespace="shop")
        open_http(HttpSink(url=receiver.url), tenant).send([alert()])
        assert len(receiver.all()) == 1
        assert proxy.all() == []
