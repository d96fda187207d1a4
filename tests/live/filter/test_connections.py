"""The kernel's filter never drops a connection that a rule matches."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from live_support.filter_rules import rename_process


def connect(address, port, kind=socket.SOCK_STREAM, source=None):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with suppress(OSError), socket.socket(family, kind) as client:
        if source:
            client.bind((source, 0))
        client.connect((address, port))


@pytest.mark.parametrize(
    ("rule", "other"),
    [
        ("port", ("127.0.0.1", 2)),
        ("address", ("127.0.0.9", 1)),
        ("network", ("127.9.1.2", 1)),
        ("either end", ("127.0.0.5", 1)),
        ("IPv6", ("::1", 3)),
        ("datagrams", ("127.0.0.1", 1, socket.SOCK_DGRAM)),
    ],
)
def test_another_end_that_refuses(pair, rule, other):
    def body(learn):
        learn(lambda: connect("127.0.0.1", 1))
        connect(*other)

    assert pair(body) == {rule: 1}


def test_another_end_that_accepts(pair):
    with socket.create_server(("0.0.0.0", 0), backlog=4096) as server:
        port = server.getsockname()[1]

        def body(learn):
            learn(lambda: connect("127.0.0.1", port))
            connect("127.0.0.9", port)
            connect("127.0.0.1", port, source="127.0.0.5")

        assert pair(body) == {"address": 1, "either end": 1}


def test_another_end_of_ipv6(pair):
    def body(learn):
        learn(lambda: connect("::1", 1))
        connect("::1", 3)

    assert pair(body) == {"IPv6": 1}


@pytest.fixture
def server():
    with socket.create_server(("0.0.0.0", 0), backlog=4096) as listening:
        yield listening


def connected(server, address, source=None):
    """Both ends of a connection: the client's and the server's."""
    port = server.getsockname()[1]
    client = socket.create_connection((address, port), source_address=(source, 0) if source else None)
    return client, server.accept()[0]


def test_messages_to_another_end(pair, server):
    def body(learn):
        near, far = connected(server, "127.0.0.1"), connected(server, "127.0.0.9")
        learn(lambda: near[0].send(b"x"))
        far[0].send(b"x")

    assert pair(body) == {"sent": 1, "address": 1}


def test_messages_from_another_end(pair, server):
    def body(learn):
        (near, here), (far, there) = connected(server, "127.0.0.1"), connected(server, "127.0.0.1", "127.0.0.5")
        near.sendall(b"x" * 65536)
        far.sendall(b"x")
        learn(lambda: here.recv(1))
        there.recv(1)

    # what is received from there, its connection, and the accept of it
    assert pair(body) == {"received": 1, "either end": 1, "accepted": 1}


def test_datagrams_to_another_address(pair):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        def body(learn):
            learn(lambda: sender.sendto(b"x", ("127.0.0.1", 7)))
            with suppress(OSError):  # nobody received the one before
                sender.sendto(b"x", ("127.0.0.1", 9))
            sender.sendto(b"x", ("127.0.0.1", 9))

        assert pair(body) == {"sent datagram": 2}


def test_datagrams_of_a_connected_socket_to_another_address(pair):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", 7))

        def attempt(send):
            with suppress(OSError):  # nobody received the one before
                send()

        def body(learn):
            learn(lambda: (attempt(lambda: sender.send(b"x")), attempt(lambda: sender.sendmsg([b"x"]))))
            attempt(lambda: sender.sendto(b"x", ("127.0.0.1", 9)))
            attempt(lambda: sender.sendmsg([b"x"], (), 0, ("127.0.0.1", 9)))
            attempt(lambda: sender.send(b"x"))

        assert pair(body) == {"sent datagram": 2}


def test_messages_that_stay_on_the_machine(pair):
    one, _other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def body(learn):
        one.setblocking(False)

        def send():
            with suppress(BlockingIOError):
                one.send(b"x")

        learn(send)
        rename_process("tc-any")
        send()

    assert pair(body) == {"sent locally": 1}


def test_connections_that_are_accepted_from_another_address(pair, server):
    def body(learn):
        learn(lambda: [end.close() for end in connected(server, "127.0.0.1")])
        connected(server, "127.0.0.1", "127.0.0.5")

    assert pair(body) == {"accepted": 1, "either end": 1}
