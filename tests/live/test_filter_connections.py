"""The kernel's filter never drops a connection that a rule matches."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest


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
