"""Alerts to real mail servers on loopback, that take them, refuse them and break off."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import pytest
from agent_support.http_receiver import Authority, refusing
from agent_support.smtp_receiver import Script, SmtpReceiver

from tiercel_agent.sinks.mail.email import open_email
from tiercel_agent.sinks.model import BadSink, Refused, Sink, SinkSettings, Unavailable
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import EmailSink, SecretRef, SecretSource, StartTls, Tls

TIME = 1_795_436_768_078_933_574
PASSWORD = "hunter2-password"
TO = ("ops@example.org",)


def alert(
    output: str = "read by cat", rule: str = "Read", priority: Priority = Priority.WARNING, **fields: Any
) -> Alert:
    known: dict[str, Any] = {"k8s.ns.name": "shop", "k8s.pod.name": "web-1", "container.name": "web"}
    known |= {name.replace("_", "."): value for name, value in fields.items()}
    return Alert(TIME, rule, priority, "syscall", "node-1", output, ("mitre",), known)


def secret(name: str) -> SecretSource:
    return SecretSource(SecretRef("s", name))


@cache
def authority() -> Authority:
    return Authority()


@cache
def context(name: str = "127.0.0.1") -> Any:
    return authority().issue(name).server()


TRUSTING = Tls(ca_from=secret("ca"))


def opened(port: int, start_tls: StartTls | None = StartTls.NEVER, *, timeout: float = 5.0, **more: Any) -> Sink:
    values = {"sender": "Tiercel <tiercel@example.org>", "to": TO, "server": "127.0.0.1", **more}
    secrets = {"s/ca": authority().pem, "s/password": PASSWORD + "\n"}
    sink = EmailSink(port=port, start_tls=start_tls, **values)
    return open_email(sink, SinkSettings("test", AlertSinkSpec(), secrets=secrets), "node_1.local\n", timeout=timeout)


def failure(sink: Sink) -> Unavailable:
    with pytest.raises(Unavailable) as raised:
        sink.send([alert()])
    return raised.value


def test_an_alert_is_a_mail_of_text_and_html() -> None:
    with SmtpReceiver() as receiver:
        sink = opened(receiver.port, to=("ops@example.org", "Ann <ann@example.org>"))
        assert (sink.batch, sink.wait) == (1, 0.0)
        sent = alert()
        sink.send([sent])
        mail = receiver.one()
    assert (mail.sender, mail.receivers) == ("tiercel@example.org", ("ops@example.org", "ann@example.org"))
    assert mail.greeting == "node-1.local"
    message = mail.message
    assert message["Subject"] == "[Tiercel] Warning: Read (shop/web-1)"
    assert message["From"] == "Tiercel <tiercel@example.org>"
    assert message["To"] == "ops@example.org, Ann <ann@example.org>"
    assert message["Message-ID"] == f"<{sent.id}@node-1.local>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime is not None
    for kind in ("plain", "html"):
        text = mail.part(kind)
        for shown in ("read by cat", "shop", "web-1", "mitre", "2026-11-23T", sent.id):
            assert shown in text


@pytest.mark.parametrize(
    "hostile",
    [
        "\r\nBcc: x@y.example\r\n\r\nbody",
        "=?utf-8?q?x=0D=0ABcc:_x@y.example?=",
        "=?utf-8?b?DQpCY2M6IHhAeS5leGFtcGxl?= =?utf-8?q?=0A?=",
        "</td><script>alert(1)</script>\" onload='x'",
        "\x1b[31mred\x00 \u202e\u200b \udcff\ud800",
        "x" * 70_000,
        "é☃\U0001f525" * 25_000,
        "(" * 2000 + '"' * 2000,
        ".\r\n.\r\nMAIL FROM:<a@b>",
        " ",
        "",
    ],
)
def test_nothing_of_an_attacker_is_a_header_or_a_tag(hostile: str) -> None:
    plain = alert()
    with SmtpReceiver() as receiver:
        sink, digest = opened(receiver.port), opened(receiver.port, digest="1m")
        sink.send([plain])
        known = set(receiver.one().message.keys())
        evil = alert(hostile, rule=hostile, k8s_ns_name=hostile, k8s_pod_name=hostile, container_name=hostile)
        sink.send([evil])
        digest.send([evil, evil])
        mails = [receiver.one(), receiver.one()]
    for mail in mails:
        message = mail.message
        assert set(message.keys()) == known
        assert mail.receivers == TO
        subject = message["Subject"]
        assert subject.isprintable()
        assert len(subject) <= 200
        assert max(len(line) for line in mail.raw.split(b"\r\n")) <= 998
        assert "<script" not in mail.part("html")
        assert "onload='" not in mail.part("html")
        assert mail.part("plain").replace("\n", "").isprintable()
        assert len(mail.raw) < 1_000_000


def test_a_digest_counts_the_rules_and_lists_the_alerts() -> None:
    alerts = [alert(f"output {number}") for number in range(38)]
    alerts += [alert(f"grave {number}", rule="Escape", priority=Priority.CRITICAL) for number in range(3)]
    with SmtpReceiver() as receiver:
        sink = opened(receiver.port, digest="1h30m")
        assert (sink.batch, sink.wait) == (200, 5400.0)
        sink.send(alerts)
        mail = receiver.one()
    assert mail.message["Subject"] == "[Tiercel] 41 alerts: 3 Critical, 38 Warning"
    text = mail.part("plain")
    assert text.startswith("    38  Read\n     3  Escape\n")
    for shown in alerts:
        assert shown.output in text
        assert shown.output in mail.part("html")
        assert shown.id in text


def test_a_digest_of_one_is_a_mail_of_one() -> None:
    with SmtpReceiver() as receiver:
        opened(receiver.port, digest="1m").send([alert()])
        assert receiver.one().message["Subject"] == "[Tiercel] Warning: Read (shop/web-1)"


@pytest.mark.parametrize("way", [None, StartTls.REQUIRED, StartTls.IMPLICIT])
def test_tls_and_login(way: StartTls | None) -> None:
    implicit = way is StartTls.IMPLICIT
    with SmtpReceiver(tls=context(), implicit=implicit, accounts={"ann": PASSWORD}) as receiver:
        opened(receiver.port, way, tls=TRUSTING, username="ann", password_from=secret("password")).send([alert()])
        mail = receiver.one()
    assert (mail.secure, mail.login) == (True, "ann")


@pytest.mark.parametrize("way", [StartTls.REQUIRED, StartTls.IMPLICIT])
def test_the_certificate_must_be_trusted_and_for_the_server(way: StartTls) -> None:
    implicit = way is StartTls.IMPLICIT
    with SmtpReceiver(tls=context(), implicit=implicit) as receiver:
        assert "isn't trusted" in str(failure(opened(receiver.port, way)))
    with SmtpReceiver(tls=context("mail.example"), implicit=implicit) as receiver:
        assert "isn't for the name" in str(failure(opened(receiver.port, way, tls=TRUSTING)))
        named = Tls(ca_from=secret("ca"), server_name="mail.example")
        opened(receiver.port, way, tls=named).send([alert()])
        assert receiver.one().secure
        opened(receiver.port, way, tls=Tls(insecure_skip_verify=True)).send([alert()])


def test_without_starttls_nothing_is_sent() -> None:
    with SmtpReceiver(accounts={"ann": PASSWORD}) as receiver:
        sink = opened(receiver.port, None, username="ann", password_from=secret("password"))
        assert "doesn't offer STARTTLS" in str(failure(sink))
        assert receiver.got.empty()
        assert "doesn't begin with TLS" in str(failure(opened(receiver.port, StartTls.IMPLICIT)))


def test_a_wrong_password_waits_and_isnt_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with SmtpReceiver(tls=context(), accounts={"ann": "another"}) as receiver:
        sink = opened(receiver.port, None, tls=TRUSTING, username="ann", password_from=secret("password"))
        message = str(failure(sink))
    assert "refuses the login (535)" in message
    assert "hunter2" not in message + caplog.text


@pytest.mark.parametrize(
    ("answer", "kind", "shown"),
    [
        ("450 4.2.0 greylisted hunter2", Unavailable, "answers 450"),
        ("451 4.3.0 later", Unavailable, "answers 451"),
        ("550 5.7.1 looks like spam hunter2", Refused, "refuses the mail (550)"),
        ("554 5.6.0 no", Refused, "refuses the mail (554)"),
        ("530 5.7.0 login first", Unavailable, "answers 530"),
    ],
)
def test_answers_to_the_mail(answer: str, kind: type[Exception], shown: str) -> None:
    with SmtpReceiver(data=[answer]) as receiver, pytest.raises(kind) as raised:
        opened(receiver.port).send([alert()])
    assert shown in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (("550 5.1.1 nobody", "553 5.1.3 bad"), Refused),
        (("550 5.1.1 nobody", "450 4.2.1 busy"), Unavailable),
        (("554 5.7.1 relay denied", "554 5.7.1 relay denied"), Unavailable),
    ],
)
def test_answers_to_the_receivers(answers: tuple[str, str], kind: type[Exception]) -> None:
    to = ("a@example.org", "b@example.org")
    scripted = dict(zip(to, answers, strict=True))
    with SmtpReceiver(rcpt=scripted) as receiver, pytest.raises(kind, match="refuses all receivers"):
        opened(receiver.port, to=to).send([alert()])


def test_one_receiver_is_enough() -> None:
    to = ("a@example.org", "b@example.org")
    with SmtpReceiver(rcpt={"a@example.org": "550 5.1.1 nobody"}) as receiver:
        opened(receiver.port, to=to).send([alert()])
        assert receiver.one().receivers == ("b@example.org",)


def test_a_refused_sender_can_be_mended() -> None:
    with SmtpReceiver(sender="553 5.7.1 not yours") as receiver:
        assert "refuses the sender (553)" in str(failure(opened(receiver.port)))


def test_a_mail_that_is_too_large_is_refused() -> None:
    with SmtpReceiver(data_size_limit=2000) as receiver, pytest.raises(Refused, match="too large"):
        opened(receiver.port).send([alert("x" * 5000)])


EHLO = b"250 there\r\n"


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ((b"554 no service for hunter2\r\n",), "greets with 554"),
        ((b"hello\r\n",), "greets with what isn't SMTP"),
        ((b"",), "ended the connection"),
        ((b"220 hi\r\n", EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"), ""),
        ((b"220 hi\r\n", EHLO, b"421 bye\r\n"), "refuses the sender (421)"),
        ((b"220-x\r\n" * 5000,), "connection"),
        ((b"220 hi\r\n", b"250-" + b"x" * 20000 + b"\r\n"), "answers 500"),
    ],
)
def test_servers_that_break_off(lines: tuple[bytes, ...], shown: str) -> None:
    with Script(*lines) as server:
        message = str(failure(opened(server.port)))
    assert shown in message
    assert "hunter2" not in message


def test_nobody_listens() -> None:
    with refusing() as port:
        assert str(failure(opened(port))) == "connection refused"
    assert "can't be resolved" in str(failure(opened(25, server="nowhere.invalid")))


def test_a_server_that_is_silent_isnt_waited_for_long() -> None:
    with Script(b"220 hi\r\n", EHLO, b"") as server:
        opened_sink = opened(server.port, timeout=0.2)
        # The connection stays open for as long as the script waits for another line.
        assert failure(opened_sink)


def test_addresses_with_other_letters_than_ascii() -> None:
    with SmtpReceiver(enable_SMTPUTF8=True) as receiver:
        opened(receiver.port, to=("jörg@bücher.example",)).send([alert()])
        assert receiver.one().receivers == ("jörg@xn--bcher-kva.example",)
    with SmtpReceiver(enable_SMTPUTF8=False) as receiver:
        opened(receiver.port, to=("ops@bücher.example",), sender="Jörg <j@example.org>").send([alert()])
        mail = receiver.one()
        assert mail.receivers == ("ops@xn--bcher-kva.example",)
        assert mail.message["From"] == "Jörg <j@example.org>"
        assert "other letters than ASCII" in str(failure(opened(receiver.port, to=("jörg@example.org",))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sender": "tiercel"}, "from: 'tiercel' is no address"),
        ({"sender": "a@b.example\r\nBcc: c@d.example"}, "from has a line break"),
        ({"to": ("a@b.example, c@d.example",)}, "to: .* is no address"),
        ({"to": ("a..b@c.example",)}, "to: .* is no address"),
        ({"to": ()}, "at least one"),
        ({"digest": "soon"}, "digest: 'soon' is not a duration"),
        ({"server": "mail example"}, "server must be a host's name"),
        ({"username": "ann", "password_from": secret("password")}, "a password isn't sent without TLS"),
        ({"username": "ann"}, "given together"),
        ({"tls": TRUSTING}, "tls is for startTls"),
    ],
)
def test_what_cant_be_right_is_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSink, match=message) as raised:
        opened(25, **changes)
    assert "hunter2" not in str(raised.value)
