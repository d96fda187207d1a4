"""Destinations that drip bytes for ever, so that no timeout of a library ends: real ones, on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from agent_support.http_receiver import HttpReceiver
from agent_support.tenants import open_tenants

from tiercel_agent.sinks.factory import open_sink
from tiercel_agent.sinks.model import Place, Sink, SinkSettings, Unavailable
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import EmailSink, HttpSink, NotifySink, OtlpSink, StartTls

ALERT = Alert(1, "Read", Priority.WARNING, "syscall", "node-1", "read", (), {})
WHEN = 0.3  # seconds after which a delivery is ended here


def opened(spec: AlertSinkSpec, namespace: str = "shop", longest: float = WHEN) -> Sink:
    settings = SinkSettings("test", spec, namespace=namespace)
    if settings.trusted:
        return open_sink(settings, Place("node-1"), longest)
    return open_tenants(settings, longest=longest)


Specs = Callable[[int], AlertSinkSpec]

HEAD = b"HTTP/1.1 200 OK"
CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"


def http(port: int) -> AlertSinkSpec:
    return AlertSinkSpec(http=HttpSink(url=f"http://127.0.0.1:{port}/"))


def otlp(port: int) -> AlertSinkSpec:
    return AlertSinkSpec(otlp=OtlpSink(url=f"http://127.0.0.1:{port}/"))


def notify(port: int) -> AlertSinkSpec:
    return AlertSinkSpec(notify=NotifySink(url=f"json://127.0.0.1:{port}/?rto=86400"))


def email(port: int) -> AlertSinkSpec:
    mail = EmailSink("127.0.0.1", "a@example.org", ("b@example.org",), port=port, start_tls=StartTls.NEVER)
    return AlertSinkSpec(email=mail)


@contextmanager
def dripping(begin: bytes, drop: bytes) -> Iterator[int]:
    """The port of a server that says ``begin`` and then ``drop`` for ever."""
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(begin)
            while not done.wait(0.02):
                connection.sendall(drop)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield listening.getsockname()[1]
        finally:
            done.set()


@pytest.mark.parametrize("namespace", ["shop", "tiercel-system"])
@pytest.mark.parametrize(
    ("spec", "begin", "drop"),
    [
        (http, HEAD, b"x"),
        (http, CHUNK, b"x"),
        (http, b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (otlp, HEAD, b"x"),
        (notify, CHUNK, b"x"),
        (notify, b"", b""),
        (email, b"220-", b"x"),
    ],
)
def test_a_delivery_ends(spec: Specs, begin: bytes, drop: bytes, namespace: str) -> None:
    with dripping(begin, drop) as port:
        sink = opened(spec(port), namespace)
        failures: list[BaseException] = []

        def deliver() -> None:
            try:
                sink.send([ALERT])
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=deliver, daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
    (failure,) = failures
    assert isinstance(failure, Unavailable)
    assert str(failure) == "it wasn't done within 0.3 s"


def test_the_next_delivery_has_all_its_time() -> None:
    with HttpReceiver() as receiver:
        spec = AlertSinkSpec(http=HttpSink(url=receiver.url))
        sink = opened(spec, longest=60)
        for _ in range(3):
            sink.send([ALERT])
        sink.close()
        assert len(receiver.all()) == 3
        assert receiver.connections == 1


def test_a_connection_that_was_kept_is_ended_too() -> None:
    kept = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with dripping(kept, b"x") as port:
        sink = opened(http(port))
        sink.send([ALERT])
        with pytest.raises(Unavailable):  # what drips on the connection is no answer
            sink.send([ALERT])
