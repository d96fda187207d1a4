"""Unix sockets: by path, through links, abstract, without a name."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest


@pytest.fixture
def place(tmp_path_factory):
    """A folder with a name short enough for a socket's address."""
    return Path(os.path.realpath(tmp_path_factory.mktemp("s")))


def listener(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


def test_by_path(run, call, place):
    def body():
        server = listener(place / "socket")
        client = connect(place / "socket")
        accepted, _ = server.accept()
        client.send(b"question")
        accepted.recv(100)

    done = run(body)
    path = str(place / "socket")
    for name in ("bind", "listen", "connect", "accept4", "sendto", "recvfrom"):
        event = done.one(name)
        assert (event["evt.failed"], event["fd.name"], event["fd.typechar"], event["fd.type"]) == (
            False,
            path,
            "u",
            "unix",
        ), name
        assert event["fd.sockfamily"] == "unix"
        assert event["fd.l4proto"] is None
        assert event["fd.sip"] is None
    assert done.one("bind")["evt.arg.addr"] == path
    assert done.one("connect")["evt.arg.addr"] == path
    assert done.one("recvfrom")["evt.buffer"] == b"question"


def test_through_a_link(run, call, place):
    (place / "link").symlink_to("real")
    (place / "real").mkdir()

    def body():
        kept = listener(place / "real" / "socket")
        connect(place / "link" / "socket")
        return kept.fileno()

    event = run(body).one("connect")
    assert (event["fd.name"], event["fd.realname"]) == (f"{place}/link/socket", f"{place}/real/socket")
    assert [view["fd.name"] for view in event.views()] == [f"{place}/link/socket", f"{place}/real/socket"]


def test_relative_names(run, call, place):
    def body():
        kept = listener(place / "socket")
        os.chdir(place)
        connect("./socket")
        return kept.fileno()

    assert run(body).one("connect")["fd.name"] == f"{place}/socket"


def test_connection_that_fails(run, call, place):
    def body():
        socket.socket(socket.AF_UNIX).connect_ex(str(place / "missing"))

    event = run(body).one("connect")
    assert (event["evt.res"], event["fd.name"], event["fd.typechar"]) == ("ENOENT", f"{place}/missing", "u")


def test_abstract_name(run, call):
    name = f"\0tiercel-test-{os.getpid()}"

    def body():
        server = listener(name)
        client = connect(name)
        return server.fileno(), client.fileno()

    done = run(body)
    for event in (done.one("bind"), done.one("connect")):
        assert (event["evt.res"], event["fd.name"]) == ("SUCCESS", "@" + name[1:])


def test_pair(run, call):
    def body():
        ours, theirs = socket.socketpair()
        ours.sendmsg([b"hello"])
        return ours.fileno(), theirs.recv(100)

    event = run(body).one("sendmsg")
    assert (event["fd.typechar"], event["fd.name"], event["evt.buffer"]) == ("u", None, b"hello")


def test_datagrams(run, call, place):
    def body():
        server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        server.bind(str(place / "log"))
        client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        client.sendto(b"<1>entry", str(place / "log"))
        client.connect(str(place / "log"))
        client.send(b"<2>entry")
        return server.recv(100)

    done = run(body)
    assert done.one("sendto", {"evt.buffer": b"<1>entry"})["fd.name"] == f"{place}/log"
    assert done.one("sendto", {"evt.buffer": b"<2>entry"})["fd.name"] == f"{place}/log"


def test_long_and_hostile_name(run, call, place):
    name = str(place / "\x1b[31m\n")
    name += "x" * (107 - len(name))

    def body():
        server, client = listener(name), connect(name)
        return server.fileno(), client.fileno()

    assert run(body).one("connect")["fd.name"] == name
