"""Alerts by Apprise, to its generic JSON service on loopback."""

from __future__ import annotations

import gzip
import json
import logging
import re
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from agent_support.http_receiver import Answer, HttpReceiver, Request, refusing
from agent_support.tenants import LOOPBACK, NOTHING_BESIDES, alone, open_tenants

from tiercel_agent.sinks.chat.notify import open_notify
from tiercel_agent.sinks.model import BadSink, Refused, Sink, SinkSettings, Unavailable
from tiercel_agent.sinks.network.egress_policy import EgressPolicy
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import NotifySink, SecretRef, SecretSource
from tiercel_engine.resources.notify_schemes import LOCAL_SERVICES, OTHER_PROTOCOLS

TIME = 1_795_436_768_078_933_574
SECRET = SecretSource(SecretRef("s", "url"))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def alert(output: str = "read by cat", rule: str = "Read", priority: Priority = Priority.WARNING) -> Alert:
    fields: dict[str, Any] = {"k8s.ns.name": "shop", "k8s.pod.name": "web-1", "container.name": "web"}
    return Alert(TIME, rule, priority, "syscall", "node-1", output, ("mitre",), fields)


def address(receiver: HttpReceiver) -> str:
    return f"json://ann:hunter2@127.0.0.1:{receiver.port}/hook"


def opened(url: str) -> Sink:
    return open_notify(
        NotifySink(url_from=SECRET), SinkSettings("test", AlertSinkSpec(), secrets={"s/url": url + "\n"})
    )


def tenants(url: str, policy: EgressPolicy = LOOPBACK) -> Sink:
    """As a tenant's AlertSink is opened."""
    return open_tenants(tenants_settings(url), policy)


def tenants_settings(url: str) -> SinkSettings:
    sink = NotifySink(url_from=SECRET)
    return SinkSettings("test", AlertSinkSpec(notify=sink), namespace="shop", secrets={"s/url": url})


def content(request: Request) -> dict[str, Any]:
    document = json.loads(request.body)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("opener", [opened, tenants])
def test_an_alert_is_a_notification(opener: Any) -> None:
    with HttpReceiver() as receiver:
        opener(address(receiver)).send([alert()])
        request = receiver.one()
    assert request.path == "/hook"
    assert request.headers["authorization"].startswith("Basic ")
    document = content(request)
    assert (document["title"], document["type"]) == ("Warning: Read", "warning")
    lines = document["message"].split("\n")
    assert lines[0] == "read by cat"
    assert {"Namespace: shop", "Pod: web-1", "Container: web", "Node: node-1", "Tags: mitre"} < set(lines)
    assert lines[-1].startswith("Time: 2026-11-23T")


@pytest.mark.parametrize(
    ("priority", "kind"), [(Priority.CRITICAL, "failure"), (Priority.ERROR, "failure"), (Priority.NOTICE, "info")]
)
def test_the_kind_is_by_priority(priority: Priority, kind: str) -> None:
    with HttpReceiver() as receiver:
        opened(address(receiver)).send([alert(priority=priority)])
        assert content(receiver.one())["type"] == kind


@pytest.mark.parametrize(
    "hostile",
    [
        "<!channel> <@U1> <https://evil|x> </td><script> @everyone (@here) *b* `c`",
        "\r\nBcc: x@y\x1b[31m\x00\u202e\udcff\ud800",
        ":fire: \\n {{ x }} ${HOME} %s {0}",
        "x" * 70_000,
        "",
    ],
)
def test_nothing_of_an_attacker_is_a_mention_or_a_tag(hostile: str) -> None:
    with HttpReceiver() as receiver:
        opened(address(receiver)).send([alert(hostile, rule=hostile)])
        document = content(receiver.one())
        assert receiver.all() == []
    for text in (document["title"], document["message"].replace("\n", "")):
        assert text.isprintable()
        assert not re.search(r"<[!@/a-zA-Z]", text)
        assert "@everyone" not in text
        assert "@here" not in text
    assert len(document["title"]) <= 200
    assert len(document["message"]) <= 8000
    if ":fire:" in hostile:
        assert document["message"].startswith(hostile)


def test_the_overflow_that_the_url_asks_for_makes_no_more_messages() -> None:
    with HttpReceiver() as receiver:
        opened(f"{address(receiver)}?overflow=split&retry=5&wait=5").send([alert("x" * 70_000)])
        receiver.one()
        assert receiver.all() == []


def test_it_sends_from_the_calling_thread() -> None:
    with HttpReceiver() as receiver:
        sink = opened(address(receiver))
        before = {thread.name for thread in threading.enumerate()}
        sink.send([alert()])
        added = {thread.name for thread in threading.enumerate()} - before
    assert not [name for name in added if "Pool" in name or "apprise" in name]


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (500, Unavailable, "answers 500"),
        (401, Unavailable, "answers 401 Unauthorized"),
        (429, Unavailable, "answers 429"),
        (413, Refused, "answers 413"),
        (302, Unavailable, "redirects aren't followed"),
    ],
)
@pytest.mark.parametrize("query", ["", "?optional=yes"])
def test_what_the_service_answers(status: int, kind: type[Exception], message: str, query: str) -> None:
    answer = Answer(status, {"Location": "/elsewhere"}, b"hunter2 <script> error=200")
    with HttpReceiver([answer]) as receiver, pytest.raises(kind, match=message) as raised:
        opened(address(receiver) + query).send([alert("error=413")])
    assert "hunter2" not in str(raised.value)


def test_nobody_listens() -> None:
    with refusing() as port, pytest.raises(Unavailable) as raised:
        opened(f"json://ann:hunter2@127.0.0.1:{port}/").send([alert()])
    assert str(raised.value) == "the service can't be reached"


def test_secrets_are_in_no_log_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with HttpReceiver([Answer(500)]) as receiver:
        sink = opened(address(receiver))
        with pytest.raises(Unavailable) as raised:
            sink.send([alert()])
        sink.send([alert()])
    with pytest.raises(BadSink) as bad:
        opened("discord://hunter2")
    assert "hunter2" not in caplog.text + str(raised.value) + str(bad.value)


@pytest.mark.parametrize("url", ["nope://hunter2", "hunter2", "", "json://", "slack://hunter2", "file:///etc/passwd"])
def test_urls_that_apprise_doesnt_take(url: str) -> None:
    with pytest.raises(BadSink, match="its URL") as raised:
        opened(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("scheme", sorted(LOCAL_SERVICES))
def test_tenants_cant_have_what_is_on_the_node(scheme: str) -> None:
    with pytest.raises(BadSink):
        tenants(f"{scheme}://_/")


def test_all_that_is_on_the_node_is_known() -> None:
    """A newer Apprise may bring more of them."""
    import apprise
    from apprise.manager_plugins import NotificationManager

    local = re.compile(
        r"^\s*(?:import|from) +(?:ctypes|dbus|gi|hid|pty|serial|socketserver|subprocess|syslog|usb|win32\w*)\b"
        r"|\bos\.(?:system|exec\w+|popen|spawn\w+|posix_spawn)\(|AF_UNIX|threading\.Thread\(|(?<!\.)\bexec\(|\beval\(",
        re.MULTILINE,
    )
    manager = NotificationManager()
    plugins = Path(apprise.__file__).parent / "plugins"
    unknown = set()
    for scheme in manager.schemas():
        module = manager[scheme].__module__.removeprefix("apprise.plugins.").split(".")[0]
        path = plugins / f"{module}.py"
        sources = [path] if path.exists() else list((plugins / module).glob("**/*.py"))
        assert sources
        if any(local.search(source.read_text("utf-8")) for source in sources):
            unknown.add(scheme)
    assert unknown - {"xmpp", "xmpps"} <= LOCAL_SERVICES  # these are refused for their protocol
    assert unknown


@pytest.mark.parametrize("scheme", sorted(OTHER_PROTOCOLS))
def test_tenants_have_services_by_http_alone(scheme: str) -> None:
    with pytest.raises(BadSink):
        tenants(f"{scheme}://ann:hunter2@example.org/a")


def test_all_that_speaks_something_else_is_known() -> None:
    from apprise.manager_plugins import NotificationManager

    manager = NotificationManager()
    unknown = set()
    for scheme in manager.schemas():
        names = [kind.__module__ for kind in manager[scheme].__mro__]
        used = {key for name in names if name.split(".")[1:2] == ["plugins"] for key in vars(sys.modules[name])}
        own = {key for name in names if name != "apprise.plugins.base" for key in vars(sys.modules[name])}
        if "requests" not in used or own & {"socket", "smtplib", "asyncio", "ssl"}:
            unknown.add(scheme)
    assert unknown <= LOCAL_SERVICES | OTHER_PROTOCOLS
    assert unknown


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_without_end_isnt_read_to_its_end(packed: bool) -> None:
    body = gzip.compress(bytes(64 << 20), 1) if packed else bytes(64 << 20)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    with HttpReceiver([Answer(200, headers, body)]) as receiver:
        sink = opened(address(receiver))
        tracemalloc.start()
        try:
            with pytest.raises(Unavailable):
                sink.send([alert()])
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        sink.send([alert()])
    assert most < 16 << 20


def test_a_service_that_asks_for_a_pause_gets_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("apprise.url.time.sleep", pauses.append)
    answer = Answer(429, {}, b'{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1e15}')
    with HttpReceiver([answer] * 9) as receiver:
        sink = opened(f"matrix://ann:hunter2@127.0.0.1:{receiver.port}/#room")
        with pytest.raises((Unavailable, Refused)):
            sink.send([alert()])
        assert receiver.all()
    assert pauses
    assert max(pauses) <= 30


@pytest.mark.parametrize(
    "url",
    [
        "discord://1234567890/abcdefghijklmnop?template={file}",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template={file}",
        "tgram://123456789:abcdefg_hijklmnop/12315544/?template={file}",
        "fcm://project/device/?keyfile={file}&mode=oauth2",
        "vapid://ann@example.org/?keyfile={file}&subfile={file}",
    ],
)
def test_tenants_cant_read_files_of_the_node(url: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("{}")
    with pytest.raises((BadSink, Unavailable)) as raised:
        tenants(url.format(file=file), NOTHING_BESIDES).send([alert()])
    assert "if its URL names a file: a sink of this namespace can't read any" in str(raised.value)
    assert str(tmp_path) not in str(raised.value)
    # Nor can they find out whether there is one: /proc has the files of all pods of the node.
    with pytest.raises((BadSink, Unavailable)) as missing:
        tenants(url.format(file=tmp_path / "missing"), NOTHING_BESIDES).send([alert()])
    assert str(missing.value) == str(raised.value)


def test_the_nodes_admin_can_use_files(tmp_path: Path) -> None:
    file = tmp_path / "template.json"
    file.write_text('{"content": "{{app_body}}"}')
    assert callable(opened(f"discord://1234567890/abcdefghijklmnop?template={file}").send)


def test_tenants_cant_reach_the_node() -> None:
    with HttpReceiver() as receiver:
        sink = tenants(address(receiver), NOTHING_BESIDES)
        with pytest.raises(Unavailable, match="can't reach its address"):
            sink.send([alert()])
        assert receiver.connections == 0


def test_tenants_use_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpReceiver() as proxy, HttpReceiver() as receiver:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        with alone(LOOPBACK) as sinks:
            sinks.open(tenants_settings(address(receiver))).send([alert()])
        assert receiver.one()
        assert proxy.connections == 0
