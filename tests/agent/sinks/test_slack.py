"""Alerts to a server that answers as Slack does, by a webhook and by chat.postMessage."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from agent_support.http_receiver import Answer, HttpReceiver, Request

from tiercel_agent.sinks.chat.slack import open_slack
from tiercel_agent.sinks.model import BadSink, Refused, Sink, SinkSettings, Unavailable
from tiercel_agent.sinks.network.http_client import Timeouts
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import SecretRef, SecretSource, SlackSink

TIME = 1_795_436_768_078_933_574
TOKEN = "xoxb-1234-hunter2"
PATH = "/services/T000/B000/hunter2"
SECRET = SecretSource(SecretRef("chat", "value"))
QUICK = Timeouts(connect=5.0, read=5.0)


def alert(output: str = "read by cat", rule: str = "Read", **fields: Any) -> Alert:
    known: dict[str, Any] = {"k8s.ns.name": "shop", "k8s.pod.name": "web-1", "container.name": "web"}
    known |= {name.replace("_", "."): value for name, value in fields.items()}
    return Alert(TIME, rule, Priority.WARNING, "syscall", "node-1", output, ("mitre", "file"), known)


def settings(value: str, namespace: str = "") -> SinkSettings:
    return SinkSettings("test", AlertSinkSpec(), namespace=namespace, secrets={"chat/value": value})


def webhook(receiver: HttpReceiver) -> Sink:
    return open_slack(SlackSink(url_from=SECRET), settings(receiver.url + PATH + "\n"), timeouts=QUICK)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def bot(receiver: HttpReceiver, clock: Clock | None = None) -> Sink:
    return open_slack(
        SlackSink(token_from=SECRET, channel="C024BE91L"),
        settings(TOKEN + "\n"),
        base_url=f"{receiver.url}/api/",
        timeouts=QUICK,
        clock=clock or Clock(),
    )


def said(**answer: Any) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())


def posted(number: int) -> Answer:
    return said(ok=True, channel="C024BE91L", ts=f"{number}.000100", message={"text": "x"})


def texts(value: object) -> Iterator[Mapping[str, Any]]:
    """All text objects of a message."""
    if isinstance(value, dict):
        if value.get("type") in ("plain_text", "mrkdwn"):
            yield value
        for member in value.values():
            yield from texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from texts(member)


def content(request: Request) -> dict[str, Any]:
    document = json.loads(request.body)
    assert isinstance(document, dict)
    return document


def test_a_webhook_gets_the_alert_in_blocks() -> None:
    with HttpReceiver([Answer(200, body=b"ok")]) as receiver:
        sent = alert()
        webhook(receiver).send([sent])
        request = receiver.one()
    assert (request.method, request.path) == ("POST", PATH)
    document = content(request)
    assert document["text"] == "🟡 Warning: Read: read by cat"
    assert (document["unfurl_links"], document["unfurl_media"]) == (False, False)
    shown = [text["text"] for text in texts(document)]
    assert shown[:2] == ["🟡 Warning: Read", "read by cat"]
    assert {"Namespace: shop", "Pod: web-1", "Container: web", "Node: node-1", "Tags: mitre, file"} < set(shown)
    assert sent.id in shown
    assert "2026-11-23T" in " ".join(shown)


def test_nothing_of_an_attacker_is_a_mention_a_link_or_markup() -> None:
    hostile = "<!channel> <@U1> <http://evil|click> *bold* `code` @here &lt; \r\n\x1b[31m \udcff \u202e :fire:"
    with HttpReceiver() as receiver:
        webhook(receiver).send([alert(hostile, rule=hostile, k8s_ns_name=hostile, container_name=hostile)])
        document = content(receiver.one())
    shown = list(texts(document))
    assert all(text["type"] == "plain_text" and text["emoji"] is False for text in shown)
    everything = [document["text"], *(text["text"] for text in shown)]
    for text in everything:
        assert "<" not in text
        assert ">" not in text
        assert text.isprintable()
    assert "&lt;!channel&gt;" in shown[1]["text"]
    assert "&amp;lt;" in shown[1]["text"]
    assert "`" not in document["text"]
    assert "@here" not in document["text"]
    assert document["mrkdwn"] is False


@pytest.mark.parametrize("filling", ["x", "&", "\U0001f525", "\x00", "\udcff", " "])
def test_messages_keep_to_the_limits_of_slack(filling: str) -> None:
    long = filling * 70_000
    with HttpReceiver() as receiver:
        webhook(receiver).send([alert(long, rule=long, k8s_ns_name=long, k8s_pod_name=long)])
        document = content(receiver.one())
    for block in [*document["blocks"], *document["attachments"][0]["blocks"]]:
        most = {"header": 150, "section": 3000, "context": 3000}[block["type"]]
        assert len(block.get("elements", [])) <= 10
        for text in texts(block):
            assert 0 < len(text["text"].encode("utf-16-le")) // 2 <= most
            # No entity is cut.
            assert text["text"].count("&") == text["text"].count("&amp;")
    output = document["attachments"][0]["blocks"][0]["text"]["text"]
    assert output.endswith("…") or filling == " "


@pytest.mark.parametrize("reason", ["invalid_payload", "too_many_attachments", "no_text"])
def test_a_webhook_refuses_a_message(reason: str) -> None:
    with HttpReceiver([Answer(400, body=reason.encode())]) as receiver, pytest.raises(Refused, match=reason):
        webhook(receiver).send([alert()])


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, b"no_service", "Slack answers no_service: the webhook was removed"),
        (410, b"channel_is_archived", "Slack answers channel_is_archived: choose"),
        (403, b"action_prohibited", "Slack answers action_prohibited"),
        (400, b"user_not_found", "Slack answers user_not_found"),
        (403, b"<script>secret hunter2</script>", "answers 403 Forbidden"),
        (500, b"rollup_error", "Slack answers rollup_error"),
        (503, b"", "answers 503 Service Unavailable"),
    ],
)
def test_what_an_admin_can_mend_waits(status: int, body: bytes, message: str) -> None:
    with HttpReceiver([Answer(status, body=body)]) as receiver, pytest.raises(Unavailable) as raised:
        webhook(receiver).send([alert()])
    assert str(raised.value).startswith(message)
    assert "hunter2" not in str(raised.value)


def test_a_reason_isnt_that_of_the_message_before() -> None:
    silent = Answer(silent=True)  # twice: a connection that was kept may have ended just then
    answers = [Answer(404, body=b"no_service"), silent, silent]
    with HttpReceiver(answers) as receiver:
        sink = webhook(receiver)
        with pytest.raises(Unavailable, match="no_service"):
            sink.send([alert()])
        with pytest.raises(Unavailable, match="closed"):
            sink.send([alert()])


@pytest.mark.parametrize("opener", [webhook, bot])
def test_slack_says_when_it_takes_messages_again(opener: Any) -> None:
    limited = Answer(429, {"Retry-After": "30"}, b"rate_limited")
    with HttpReceiver([limited]) as receiver, pytest.raises(Unavailable) as raised:
        opener(receiver).send([alert()])
    assert raised.value.retry_after == 30.0
    assert not receiver.answers


@pytest.mark.parametrize("opener", [webhook, bot])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_arent_followed(opener: Any, status: int) -> None:
    with HttpReceiver() as other:
        moved = Answer(status, {"Location": other.url + "/stolen"})
        with HttpReceiver([moved]) as receiver, pytest.raises(Unavailable, match="redirects aren't followed"):
            opener(receiver).send([alert()])
        assert other.connections == 0


def test_a_bots_messages_of_one_incident_make_a_thread() -> None:
    clock = Clock()
    with HttpReceiver([posted(number) for number in range(1, 8)]) as receiver:
        sink = bot(receiver, clock)

        def sent(value: Alert) -> dict[str, Any]:
            sink.send([value])
            request = receiver.one()
            assert request.path == "/api/chat.postMessage"
            assert request.headers["authorization"] == f"Bearer {TOKEN}"
            return content(request)

        first = sent(alert("one"))
        assert (first["channel"], first.get("thread_ts")) == ("C024BE91L", None)
        assert first["blocks"][0]["text"]["text"] == "🟡 Warning: Read"
        clock.now += 1700
        assert sent(alert("two"))["thread_ts"] == "1.000100"
        clock.now += 1700  # since the last message, not since the first
        assert sent(alert("three"))["thread_ts"] == "1.000100"
        assert "thread_ts" not in sent(alert("other rule", rule="Write"))
        assert "thread_ts" not in sent(alert("other pod", k8s_pod_name="web-2"))
        clock.now += 1801
        assert "thread_ts" not in sent(alert("later"))
        assert sent(alert("again"))["thread_ts"] == "6.000100"


def test_pods_of_one_owner_are_one_workload_and_hosts_too() -> None:
    owner = {"k8s_owner_kind": "Deployment", "k8s_owner_name": "web"}
    with HttpReceiver([posted(number) for number in range(1, 5)]) as receiver:
        sink = bot(receiver)
        sink.send([alert(k8s_pod_name="web-1", **owner)])
        sink.send([alert(k8s_pod_name="web-2", **owner)])
        on_host = Alert(TIME, "Read", Priority.ERROR, "syscall", "node-1", "x", (), {"container.id": "host"})
        sink.send([on_host])
        sink.send([on_host])
        threads = [content(request).get("thread_ts") for request in receiver.all()]
    assert threads == [None, "1.000100", None, "3.000100"]


def test_a_thread_whose_beginning_was_removed_begins_anew() -> None:
    answers = [posted(1), said(ok=False, error="thread_not_found"), posted(2), posted(3)]
    with HttpReceiver(answers) as receiver:
        sink = bot(receiver)
        for _ in range(3):
            sink.send([alert()])
        threads = [content(request).get("thread_ts") for request in receiver.all()]
    assert threads == [None, "1.000100", None, "2.000100"]


def test_what_failed_begins_no_thread() -> None:
    with HttpReceiver([said(ok=False, error="not_in_channel"), posted(1)]) as receiver:
        sink = bot(receiver)
        with pytest.raises(Unavailable, match="not_in_channel: invite the bot"):
            sink.send([alert()])
        sink.send([alert()])
        assert [content(request).get("thread_ts") for request in receiver.all()] == [None, None]


@pytest.mark.parametrize("code", ["ratelimited", "internal_error", "fatal_error", "invalid_auth", "is_archived"])
def test_a_bots_failures_that_pass_or_can_be_mended_wait(code: str) -> None:
    with HttpReceiver([said(ok=False, error=code)]) as receiver, pytest.raises(Unavailable, match=code):
        bot(receiver).send([alert()])


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_too_long", "no_text"])
def test_a_bots_message_is_refused(code: str) -> None:
    with HttpReceiver([said(ok=False, error=code)]) as receiver, pytest.raises(Refused, match=code):
        bot(receiver).send([alert()])


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>hunter2", b"[1]", b"[" * 60_000, b'"x"', b"null"),
        *(b'{"ok": false, "error": "Hunter2 <x>"}', b'{"ok": false}'),
    ],
)
def test_answers_that_slack_doesnt_give_are_told_without_their_text(body: bytes) -> None:
    with HttpReceiver([Answer(200, body=body)]) as receiver, pytest.raises(Unavailable) as raised:
        bot(receiver).send([alert()])
    assert str(raised.value) == "its answer isn't one of Slack"


def test_secrets_are_in_no_log_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    failing = {
        webhook: [Answer(500), Answer(403, body=b"invalid_token"), Answer(302, {"Location": "/"})],
        bot: [Answer(500), said(ok=False, error="fatal_error"), Answer(200, body=b"{")],
    }
    for opener, answers in failing.items():
        with HttpReceiver([*answers, posted(1)]) as receiver:
            sink = opener(receiver)
            for _ in answers:
                with pytest.raises(Unavailable) as raised:
                    sink.send([alert()])
                assert "hunter2" not in str(raised.value)
                assert "127.0.0.1" not in str(raised.value)
            sink.send([alert()])
    assert "hunter2" not in caplog.text


def test_what_cant_be_right_is_told() -> None:
    with pytest.raises(BadSink, match="must begin with https://"):
        open_slack(SlackSink(url_from=SECRET), settings("http://hooks.example/hunter2", "shop"))
    with pytest.raises(BadSink, match="either urlFrom"):
        open_slack(SlackSink(), settings(""))
    with pytest.raises(BadSink, match="needs a channel"):
        open_slack(SlackSink(token_from=SECRET), settings(TOKEN))
    with pytest.raises(BadSink, match="begins with xoxb-") as raised:
        open_slack(SlackSink(token_from=SECRET, channel="C1"), settings("hunter2"))
    assert "hunter2" not in str(raised.value)
    with pytest.raises(BadSink, match="isn't known here"):
        open_slack(SlackSink(url_from=SECRET), SinkSettings("test", AlertSinkSpec()))
