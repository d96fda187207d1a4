"""Alerts as syslog, at real receivers on loopback that read it strictly."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_support.http_receiver import Authority, Certificate, refusing
from agent_support.syslog_receiver import LIMIT, Message, Streams, parsed, read_frame, read_until_nul
from agent_support.tenants import NOTHING_BESIDES, open_tenants

from tiercel_agent.sinks.model import BadSink, Sink, SinkSettings, Unavailable
from tiercel_agent.sinks.syslog import connection
from tiercel_agent.sinks.syslog.connection import Connection, datagrams
from tiercel_agent.sinks.syslog.syslog import LONGEST, LONGEST_DATAGRAM, open_syslog
from tiercel_engine.alert import Alert, alert_text
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import SecretRef, SecretSource, SyslogSink, Tls

HOSTILE = 'a\nb\0c]"\\ \x1b[2J\u202e\udcff\r\n<0>1 - evil - - - - forged\n29 <0>1 - evil - - - - forged'
POD = {"k8s.ns.name": "shop", "k8s.pod.name": "web-1", "container.name": "nginx"}


def alert(output: str = "seen", rule: str = "Shell spawned in a container", **fields: Any) -> Alert:
    return Alert(
        1_700_000_000_123_456_789, rule, Priority.WARNING, "syscall", "node", output, ("t",), {**POD, **fields}
    )


def raw_line(alert: Alert) -> bytes:
    """As a careless template would make it."""
    return alert.output.encode("utf-8", "surrogateescape")


def text_line(alert: Alert) -> bytes:
    return alert_text(alert).encode()


def opened(
    address: str,
    line: Callable[[Alert], bytes] = raw_line,
    *,
    namespace: str = "",
    secrets: dict[str, str] | None = None,
    hostname: str = "node-1",
    **spec: Any,
) -> Sink:
    sink = SyslogSink(address, **spec)
    settings = SinkSettings("s", AlertSinkSpec(syslog=sink), namespace, secrets or {})
    return open_syslog(sink, settings, hostname, line)


@pytest.fixture
def receiver() -> Iterator[Callable[..., Streams]]:
    made: list[Streams] = []

    def make(
        context: ssl.SSLContext | None = None,
        listening: socket.socket | None = None,
        read: Callable[[Any], bytes | None] = read_frame,
    ) -> Streams:
        made.append(Streams(listening or socket.create_server(("127.0.0.1", 0)), context, read))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving:
        receiving.bind(("127.0.0.1", 0))
        receiving.settimeout(LIMIT)
        yield receiving


def port_of(receiving: socket.socket) -> int:
    return int(receiving.getsockname()[1])


# --- messages


def test_a_message_has_what_receivers_sort_by(udp: socket.socket):
    seen = alert()
    opened(f"udp://127.0.0.1:{port_of(udp)}", text_line).send([seen])
    message = parsed(udp.recv(65536))
    assert message == Message(
        pri=10 * 8 + 4,
        timestamp="2023-11-14T22:13:20.123456Z",
        hostname="node-1",
        app_name="tiercel",
        procid=str(os.getpid()),
        msgid="ShellSpawnedInAContainer",
        data={
            "id": seen.id,
            "rule": "Shell spawned in a container",
            "priority": "Warning",
            "namespace": "shop",
            "pod": "web-1",
            "container": "nginx",
        },
        text="22:13:20.123456789: Warning seen",
    )


def test_facility_and_name_are_as_configured_and_hosts_have_no_pod(udp: socket.socket):
    sink = opened(f"udp://localhost:{port_of(udp)}", facility="local3", app_name="detect", hostname="my nöde")
    sink.send([Alert(0, "→", Priority.EMERGENCY, "syscall", "", "x", (), {"container.name": None})])
    message = parsed(udp.recv(65536))
    assert (message.pri, message.app_name, message.hostname, message.msgid) == (19 * 8, "detect", "mynde", "-")
    assert set(message.data) == {"id", "rule", "priority"}
    assert message.data["rule"] == "→"


def test_nothing_that_an_attacker_writes_leaves_its_place(receiver):
    streams = receiver()
    sink = opened(f"tcp://127.0.0.1:{streams.port}")
    sink.send([alert(HOSTILE, HOSTILE, **{"k8s.pod.name": HOSTILE}), alert("after")])
    message = streams.message()
    shown = 'a\\nb\\x00c]"\\ \\x1b[2J\\u202e\ufffd\\r\\n<0>1 - evil - - - - forged\\n29 <0>1 - evil - - - - forged'
    assert message.text == shown
    assert message.data["pod"] == shown
    assert message.data["rule"] == shown
    assert message.msgid == "ABC2J01EvilForged2901EvilForged"
    assert streams.message().text == "after"


def test_long_names_and_output_are_cut_between_characters(receiver):
    streams = receiver()
    name = "é" * 4096
    sink = opened(f"tcp://127.0.0.1:{streams.port}", hostname="h" * 4096)
    sink.send([alert("é" * 70_000, name, **{"container.name": '"' * 4096}), alert("after")])
    data = streams.got.get(timeout=LIMIT)
    message = parsed(data)
    assert LONGEST - 1 <= len(data) <= LONGEST
    assert re.fullmatch("é{30000,}…", message.text)
    assert message.data["rule"].endswith("é…")
    assert len(message.data["rule"].encode()) <= 128
    assert message.data["container"] == '"' * 125 + "…"
    assert streams.message().text == "after"


def test_a_datagram_is_as_short_as_receivers_ask_for_and_has_room_for_text(udp: socket.socket):
    sink = opened(f"udp://127.0.0.1:{port_of(udp)}", hostname="h" * 300, app_name="a" * 48)
    names = dict.fromkeys(POD, '"' * 4096)
    sink.send([alert("é" * 70_000, '"' * 4096, **names)])
    data = udp.recv(1 << 17)
    assert LONGEST_DATAGRAM - 1 <= len(data) <= LONGEST_DATAGRAM
    assert re.fullmatch("é{100,}…", parsed(data).text)


def test_a_time_beyond_all_calendars_is_left_out(udp: socket.socket):
    sink = opened(f"udp://127.0.0.1:{port_of(udp)}")
    sink.send([Alert(1 << 70, "r", Priority.DEBUG, "syscall", "", "x", (), {})])
    assert parsed(udp.recv(65536)).timestamp == "-"


# --- UDP


def test_a_refusal_is_told_and_alerts_arrive_once_somebody_receives():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port = port_of(bound)
    sink = opened(f"udp://127.0.0.1:{port}")
    with pytest.raises(Unavailable, match="connection refused") as raised:
        sink.send([alert("lost?")])
    assert "127.0.0.1" not in str(raised.value)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving:
        receiving.bind(("127.0.0.1", port))
        receiving.settimeout(LIMIT)
        sink.send([alert("one"), alert("two")])
        assert [parsed(receiving.recv(65536)).text for _ in range(2)] == ["one", "two"]
    sink.close()


def test_the_receiver_of_datagrams_is_looked_up_anew_now_and_then(udp: socket.socket):
    now = [0.0]
    connection = Connection(lambda: datagrams("localhost", port_of(udp)), lambda: now[0])
    senders = []
    for time in (0.0, 0.0, float("inf")):
        now[0] = time
        connection.send([b"x"])
        senders.append(udp.recvfrom(100)[1])
    connection.close()
    assert senders[0] == senders[1] != senders[2]


@pytest.mark.parametrize("scheme", ["udp", "tcp", "tls"])
def test_what_tenants_can_not_reach_is_told(scheme: str, udp: socket.socket):
    spec = AlertSinkSpec(syslog=SyslogSink(f"{scheme}://127.0.0.1:{port_of(udp)}"))
    sink = open_tenants(SinkSettings("test", spec, namespace="shop"), NOTHING_BESIDES)
    with pytest.raises(Unavailable, match="a sink of this namespace can't reach its address"):
        sink.send([alert()])


# --- TCP


def test_a_connection_that_was_closed_is_made_anew_before_anything_is_written(receiver):
    streams = receiver()
    sink = opened(f"tcp://localhost:{streams.port}")
    for round_ in range(3):
        sink.send([alert(f"{round_} {number}") for number in range(256)])
        assert [streams.message().text for _ in range(256)] == [f"{round_} {number}" for number in range(256)]
        streams.hang_up()
    assert streams.connections == 3


def test_one_connection_carries_all(receiver):
    streams = receiver()
    sink = opened(f"tcp://127.0.0.1:{streams.port}")
    for number in range(3):
        sink.send([alert(str(number))])
        assert streams.message().text == str(number)
    sink.reopen()
    sink.send([alert("anew")])
    assert streams.message().text == "anew"
    assert streams.connections == 2


def test_addresses_of_version_six(receiver):
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    streams = receiver(listening=listening)
    opened(f"tcp://[::1]:{streams.port}").send([alert()])
    assert streams.message().text == "seen"


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_nobody_there_is_told_without_the_address(scheme: str):
    with (
        refusing() as port,
        pytest.raises(Unavailable, match=r"^the syslog receiver: connection refused$"),
    ):
        opened(f"{scheme}://127.0.0.1:{port}").send([alert()])


def test_a_receiver_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "SEND_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sink = opened(f"tcp://127.0.0.1:{port_of(listening)}")
        with pytest.raises(Unavailable, match="takes nothing, in time"):
            sink.send([alert("x" * LONGEST)] * 256)


# --- TLS


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    """The receiver's."""
    return authority.issue("receiver.example")


@pytest.fixture(scope="module")
def secrets(authority: Authority) -> dict[str, str]:
    own = authority.issue("agent.example")
    return {"s/ca": authority.pem, "s/cert": own.certificate, "s/key": own.key}


def source(key: str) -> SecretSource:
    return SecretSource(SecretRef("s", key))


def test_tls_carries_messages_to_a_receiver_of_the_right_name(
    receiver, certificate: Certificate, secrets: dict[str, str]
):
    streams = receiver(certificate.server())
    tls = Tls(ca_from=source("ca"), server_name="receiver.example")
    sink = opened(f"tls://127.0.0.1:{streams.port}", tls=tls, secrets=secrets)
    for round_ in range(2):
        sink.send([alert(HOSTILE), alert(str(round_))])
        assert streams.message().text.startswith("a\\nb")
        assert streams.message().text == str(round_)
        if not round_:
            streams.hang_up()
    sink.close()
    assert streams.connections == 2


@pytest.mark.parametrize(
    ("tls", "reason"),
    [
        (None, "the certificate isn't trusted: "),
        (Tls(server_name="receiver.example"), "the certificate isn't trusted: "),
        (Tls(ca_from=source("ca")), "the certificate isn't for the name in its address"),
        (Tls(ca_from=source("ca"), server_name="other.example"), "the certificate isn't for the name in its address"),
    ],
)
def test_who_can_not_prove_his_name_gets_nothing(
    receiver, certificate: Certificate, secrets: dict[str, str], tls: Tls | None, reason: str
):
    streams = receiver(certificate.server())
    sink = opened(f"tls://127.0.0.1:{streams.port}", tls=tls, secrets=secrets)
    with pytest.raises(Unavailable, match=reason) as raised:
        sink.send([alert()])
    assert "127.0.0.1" not in str(raised.value)
    assert streams.got.empty()


def test_who_wants_no_proof_gets_none(receiver, certificate: Certificate):
    streams = receiver(certificate.server())
    opened(f"tls://127.0.0.1:{streams.port}", tls=Tls(insecure_skip_verify=True)).send([alert()])
    assert streams.message().text == "seen"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_receiver_that_wants_a_certificate_gets_it_and_without_one_nothing_counts_as_delivered(
    receiver, authority: Authority, certificate: Certificate, secrets: dict[str, str], version: ssl.TLSVersion
):
    context = certificate.server(clients=authority.pem)
    context.minimum_version = context.maximum_version = version
    streams = receiver(context)
    address = f"tls://127.0.0.1:{streams.port}"
    tls = Tls(ca_from=source("ca"), server_name="receiver.example")
    with pytest.raises(Unavailable, match=r"certificate|TLS fails"):
        opened(address, tls=tls, secrets=secrets).send([alert("to nobody")])
    tls = replace(tls, cert_from=source("cert"), key_from=source("key"))
    opened(address, tls=tls, secrets=secrets).send([alert()])
    assert streams.message().text == "seen"


def test_a_receiver_that_speaks_no_tls_is_told(receiver):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            accepted, _ = listening.accept()
            with accepted:
                accepted.sendall(b"220 who are you?\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(Unavailable, match=r"doesn't speak TLS|TLS fails|reset") as raised:
            opened(f"tls://127.0.0.1:{port_of(listening)}").send([alert()])
        thread.join()
    assert "who are you" not in str(raised.value)


# --- local sockets

_TRADITIONAL = r"<84>[A-Z][a-z]{2} [ 1-3][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} tiercel\[[0-9]+\]: (.*)"


def texts(data: Sequence[bytes]) -> list[str]:
    matches = [re.fullmatch(_TRADITIONAL, each.decode()) for each in data]
    return [match[1] if match else "" for match in matches]


def test_a_local_socket_gets_what_the_system_loggers_read(tmp_path: Path):
    path = tmp_path / "log"
    sink = opened(f"unix://{path}")
    with pytest.raises(Unavailable, match="No such file"):
        sink.send([alert()])
    for _ in range(2):  # the logger starts again
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
            receiving.bind(str(path))
            receiving.settimeout(LIMIT)
            with contextlib.suppress(Unavailable):
                sink.send([alert(HOSTILE)])
            sink.send([alert("after")])
            data = [receiving.recv(65536)]
            while texts(data[-1:]) != ["after"]:
                data.append(receiving.recv(65536))
        path.unlink()
        assert texts(data)[0].startswith('a\\nb\\x00c]"\\ \\x1b[2J') or len(data) == 1


def test_a_local_socket_may_be_a_stream(tmp_path: Path, receiver):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "log"))
    listening.listen()
    streams = receiver(listening=listening, read=read_until_nul)
    sink = opened(f"unix://{tmp_path / 'log'}")
    sink.send([alert(HOSTILE), alert("x" * 70_000), alert("after")])
    hostile, long, after = texts([streams.got.get(timeout=LIMIT) for _ in range(3)])
    assert hostile.startswith("a\\nb\\x00")
    assert re.fullmatch("x{65000,}…", long)
    assert after == "after"
    sink.close()


def test_a_socket_of_the_node_is_for_its_admins_alone():
    with pytest.raises(BadSink, match="can't have a socket of the node"):
        opened("unix:///dev/log", namespace="shop")
    opened("unix:///dev/log", namespace="tiercel-system")


# --- configuration


@pytest.mark.parametrize(
    "address",
    [
        *("", "host", "host:514", "http://host", "udp://", "udp://:514", "tcp://host:0", "tcp://host:65536"),
        *("tcp://host:x", "tcp://[::1", "tcp://::1", "tcp://user:hunter2@host", "tcp://host/hunter2", "tcp://ho st"),
        *("tcp://a..b", f"tcp://{'a' * 64}.b", "tcp://hä\udcff", "tcp://host?hunter2", "tcp://host#hunter2"),
        *("unix://dev/log", "unix://", f"unix:///{'a' * 107}", "unix:///a\0b"),
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(address: str):
    with pytest.raises(BadSink) as raised:
        opened(address)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"facility": "security"}, "no facility of syslog; known are kern, user, .*authpriv.*, local7$"),
        ({"app_name": "my app"}, "appName must be"),
        ({"tls": Tls()}, "tls is for addresses that begin with tls://"),
    ],
)
def test_what_else_is_wrong_is_told(spec: dict[str, Any], message: str):
    with pytest.raises(BadSink, match=message):
        opened("tcp://host", **spec)


def test_a_name_that_no_certificate_can_have_is_refused():
    with pytest.raises(BadSink, match=r"tls\.serverName"):
        opened("tls://host", tls=Tls(server_name="a..b"))
