"""Internet sockets: ends, roles, results, data."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress

import pytest

FAMILIES = pytest.mark.parametrize(
    ("family", "address", "char"),
    [(socket.AF_INET, "127.0.0.1", "4"), (socket.AF_INET6, "::1", "6")],
    ids=["IPv4", "IPv6"],
)


def listener(family=socket.AF_INET, address="127.0.0.1"):
    server = socket.socket(family, socket.SOCK_STREAM)
    server.bind((address, 0))
    server.listen(8)
    return server


def sockaddr(address, port):
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton(address))


def test_socket(run, call):
    def body():
        call("socket", socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, 6)
        call("socket", socket.AF_PACKET, socket.SOCK_RAW, 0)
        call("socket", socket.AF_INET, socket.SOCK_RAW, 1)
        call("socket", socket.AF_INET6, 99, 0)

    done = run(body)
    event = done.one("socket", {"evt.arg.domain": "AF_INET", "evt.arg.proto": "6"})
    assert (event["evt.arg.type"], event["evt.rawres"] >= 0) == ("SOCK_STREAM|SOCK_CLOEXEC", True)
    assert (event["fd.typechar"], event["fd.type"], event["fd.l4proto"], event["fd.sockfamily"]) == (
        "4",
        "ipv4",
        "tcp",
        "ip",
    )
    assert event["fd.num"] == event["evt.rawres"]
    assert event["fd.name"] is None
    assert [event[key] for key in ("fd.sip", "fd.cip", "fd.lip", "fd.rip", "fd.sport", "fd.snet")] == [None] * 6
    assert event["fd.is_server"] is False
    assert done.one("socket", {"evt.arg.domain": "AF_PACKET"})["evt.arg.type"] == "SOCK_RAW"
    assert done.one("socket", {"evt.arg.domain": "AF_INET", "evt.arg.proto": "1"})["fd.l4proto"] == "icmp"
    assert done.one("socket", {"evt.arg.domain": "AF_INET6"})["evt.res"] == "EINVAL"


@FAMILIES
@pytest.mark.parametrize("accept", ["accept", "accept4"])
def test_connection(run, call, family, address, char, accept):
    def body():
        server = listener(family, address)
        client = socket.socket(family, socket.SOCK_STREAM)
        client.connect(server.getsockname())
        flags = [os.O_CLOEXEC] if accept == "accept4" else []
        accepted = call(accept, server.fileno(), None, None, *flags)
        client.sendall(b"to the server")
        os.read(accepted, 3)
        socket.socket(fileno=accepted).sendall(b"to the client")
        return server.getsockname()[1], client.getsockname()[1], client.fileno(), accepted

    done = run(body)
    server_port, client_port, client, accepted = done.value
    name = f"{address}:{client_port}->{address}:{server_port}"
    for event, local, remote, is_server in (
        (done.one("connect"), client_port, server_port, False),
        (done.one(accept), server_port, client_port, True),
        (done.one("sendto", {"fd.num": client}), client_port, server_port, False),
        (done.one("sendto", {"fd.num": accepted}), server_port, client_port, True),
    ):
        assert event["evt.res"] == "SUCCESS"
        assert (event["fd.name"], event["fd.typechar"], event["fd.l4proto"]) == (name, char, "tcp")
        assert (event["fd.cip"], event["fd.cport"], event["fd.sip"], event["fd.sport"]) == (
            address,
            client_port,
            address,
            server_port,
        )
        assert (event["fd.lip"], event["fd.lport"], event["fd.rip"], event["fd.rport"]) == (
            address,
            local,
            address,
            remote,
        )
        assert (event["fd.is_server"], event["fd.connected"]) == (is_server, True)
        assert sorted(event["fd.port"]) == sorted([client_port, server_port])
        assert event["evt.arg.tuple"] == name
    assert done.one("connect")["evt.arg.addr"] == f"{address}:{server_port}"
    assert done.one(accept)["fd.num"] == accepted
    assert done.one("sendto", {"fd.num": client})["evt.buffer"] == b"to the server"


@FAMILIES
def test_bind_and_listen(run, call, family, address, char):
    done = run(lambda: listener(family, address).getsockname()[1])
    event = done.one("bind")
    assert (event["evt.res"], event["evt.arg.addr"]) == ("SUCCESS", f"{address}:0")
    assert (event["fd.name"], event["fd.sport"], event["fd.sip"]) == (f"{address}:{done.value}", done.value, address)
    event = done.one("listen")
    assert (event["evt.res"], event["evt.arg.backlog"], event["fd.lport"]) == ("SUCCESS", "8", done.value)
    assert (event["fd.typechar"], event["fd.is_server"], event["fd.connected"]) == (char, True, False)


def test_failed_calls(run, call):
    def body():
        call("bind", 9977, sockaddr("127.0.0.1", 1), 16)
        call("listen", 9977, 1)
        call("accept", 9977, None, None)
        call("accept4", 9977, None, None, 0)
        call("bind", socket.socket().detach(), sockaddr("192.0.2.1", 4242), 16)

    done = run(body)
    for name in ("listen", "accept", "accept4"):
        assert done.one(name)["evt.res"] == "EBADF"
    assert done.one("bind", {"evt.res": "EBADF"})["evt.arg.addr"] == "127.0.0.1:1"
    assert done.one("bind", {"evt.res": "EADDRNOTAVAIL"})["evt.arg.addr"] == "192.0.2.1:4242"


@FAMILIES
def test_refused_connection(run, call, family, address, char):
    def body():
        server = listener(family, address)
        where = server.getsockname()
        server.close()
        return socket.socket(family, socket.SOCK_STREAM).connect_ex(where), where[1]

    done = run(body)
    event = done.one("connect")
    assert (event["evt.res"], event["fd.typechar"]) == ("ECONNREFUSED", char)
    assert (event["fd.sip"], event["fd.sport"], event["fd.rip"], event["fd.rport"]) == (address, done.value[1]) * 2
    assert event["fd.name"].endswith(f"->{address}:{done.value[1]}")
    assert event["fd.connected"] is False


def test_connection_in_progress(run, call):
    """An address that answers nothing: the backlog of a listener that is full."""

    def body():
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        where = server.getsockname()
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(where)
        return where[1]

    done = run(body)
    event = done.all("connect")[-1]
    assert event["evt.res"] == "EINPROGRESS"
    assert (event["fd.sip"], event["fd.sport"], event["fd.is_server"]) == ("127.0.0.1", done.value, False)


def test_ipv4_in_ipv6(run, call):
    """A connection over IPv4 is reported as such, even if the socket is one of IPv6."""

    def body():
        server = listener()
        client = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        client.connect(("::ffff:127.0.0.1", server.getsockname()[1]))
        return client.getsockname()[1], server.getsockname()[1]

    done = run(body)
    event = done.one("connect")
    assert event["fd.name"] == "127.0.0.1:{}->127.0.0.1:{}".format(*done.value)
    assert (event["fd.sip"], event["fd.typechar"], event["fd.type"]) == ("127.0.0.1", "4", "ipv4")


def test_unconnected_datagrams(run, call):
    def body():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.sendto(b"question", server.getsockname())
        _, peer = server.recvfrom(100)
        server.sendto(b"answer", peer)
        client.recvfrom(100)
        return server.getsockname()[1], client.getsockname()[1]

    done = run(body)
    server, client = done.value
    event = done.one("sendto", {"evt.buffer": b"question"})
    assert (event["fd.sip"], event["fd.sport"], event["fd.cport"]) == ("127.0.0.1", server, client)
    assert (event["fd.l4proto"], event["evt.rawres"], event["evt.arg.size"]) == ("udp", 8, "8")
    assert event["fd.connected"] is False
    event = done.one("recvfrom", {"evt.buffer": b"question"})
    assert (event["fd.cip"], event["fd.cport"], event["fd.sport"]) == ("127.0.0.1", client, server)
    event = done.one("recvfrom", {"evt.buffer": b"answer"})
    assert event["fd.rport"] == server


def test_connected_datagrams(run, call):
    def body():
        server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        server.bind(("::1", 0))
        client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        client.connect(server.getsockname())
        client.send(b"question")
        return server.getsockname()[1]

    done = run(body)
    for event in (done.one("connect"), done.one("sendto")):
        assert (event["evt.failed"], event["fd.l4proto"], event["fd.typechar"]) == (False, "udp", "6")
        assert (event["fd.sip"], event["fd.sport"], event["fd.connected"]) == ("::1", done.value, True)


def test_datagrams_go_where_they_are_sent(run, call):
    """Whatever the socket is connected to. An address without a family is one of IPv4."""
    unspecified = struct.pack("=H", 0) + struct.pack("!H4s8x", 9, socket.inet_aton("127.0.0.9"))

    def body():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect(("127.0.0.1", 7))
        for send in (
            lambda: client.sendto(b"one", ("127.0.0.9", 9)),
            lambda: client.sendmsg([b"two"], (), 0, ("127.0.0.9", 9)),
            lambda: call("sendto", client.fileno(), b"three", 5, 0, unspecified, len(unspecified)),
        ):
            with suppress(OSError):
                send()

    done = run(body)
    for name, data in (("sendto", b"one"), ("sendmsg", b"two"), ("sendto", b"three")):
        event = done.one(name, {"evt.buffer": data})
        assert (event["fd.sip"], event["fd.sport"], event["fd.rip"]) == ("127.0.0.9", 9, "127.0.0.9")
        assert event["fd.name"].endswith("->127.0.0.9:9")


def test_multipath_tcp_is_tcp(run):
    def body():
        try:
            client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
        except OSError:
            pytest.skip("this kernel has no MPTCP")
        with suppress(OSError):
            client.connect(("127.0.0.1", 1))

    assert run(body).one("connect")["fd.l4proto"] == "tcp"


def test_messages(run, call):
    def body():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.sendmsg([b"first, ", b"second"], (), 0, server.getsockname())
        server.recvmsg(100)
        return server.getsockname()[1], client.getsockname()[1]

    done = run(body)
    event = done.one("sendmsg")
    assert (event["evt.rawres"], event["fd.sip"], event["fd.sport"]) == (13, "127.0.0.1", done.value[0])
    assert event["evt.buffer"] == b"first, "
    event = done.one("recvmsg")
    assert (event["fd.cport"], event["fd.sport"], event["evt.buffer"]) == (
        done.value[1],
        done.value[0],
        b"first, second",
    )


def test_failed_messages(run, call):
    def body():
        for name, arguments in (("sendto", (b"x", 1, 0, None, 0)), ("recvfrom", (None, 0, 0, None, None))):
            call(name, 9977, *arguments)
        for name in ("sendmsg", "recvmsg", "sendmmsg", "recvmmsg"):
            call(name, 9977, None, 0, 0, None)

    done = run(body)
    for name in ("sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg"):
        event = done.one(name)
        assert (event["evt.res"], event["evt.arg.fd"], event["evt.buffer"]) == ("EBADF", "9977", None)


def test_several_messages_at_once(run, call):
    def body():
        import ctypes

        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

        def vector(texts, address):
            """An array of struct mmsghdr, and what it points to."""
            kept = [ctypes.create_string_buffer(text, len(text)) for text in texts]
            parts = [struct.pack("=QQ", ctypes.addressof(buffer), len(buffer)) for buffer in kept]
            vectors = [ctypes.create_string_buffer(part, 16) for part in parts]
            name = ctypes.create_string_buffer(address, len(address)) if address else None
            headers = b"".join(
                struct.pack(
                    "=QIIQQQQIIII",
                    ctypes.addressof(name) if name else 0,
                    len(address),
                    0,
                    ctypes.addressof(one),
                    1,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                )
                for one in vectors
            )
            return ctypes.create_string_buffer(headers, len(headers)), (kept, vectors, name)

        to_send = vector([b"one message", b"another"], sockaddr(*server.getsockname()))
        to_receive = vector([b"." * 50, b"." * 50], b"")
        sent = call("sendmmsg", client.fileno(), to_send[0], 2, 0)
        return sent, call("recvmmsg", server.fileno(), to_receive[0], 2, 0, None), server.getsockname()[1]

    done = run(body)
    assert done.value[:2] == (2, 2)
    event = done.one("sendmmsg")
    assert (event["evt.rawres"], event["fd.sip"], event["fd.sport"]) == (2, "127.0.0.1", done.value[2])
    assert event["evt.buffer"] == b"one message"
    event = done.one("recvmmsg")
    assert (event["evt.rawres"], event["evt.buffer"], event["fd.lport"]) == (2, b"one message", done.value[2])


def test_long_data_is_cut(run, call):
    def body():
        ours, _theirs = socket.socketpair()
        ours.send(b"x" * 10000)

    event = run(body).one("sendto")
    assert (event["evt.rawres"], event["evt.arg.size"]) == (10000, "10000")
    assert event["evt.buffer"] == b"x" * event["evt.buflen"]
    assert event["evt.buflen"] >= 80


def test_reverse_shell(run, call):
    """A process with a connection as its standard input, which the rule asks for."""

    def body():
        server = listener()
        client = socket.create_connection(server.getsockname())
        for descriptor in range(3):
            call("dup2", client.fileno(), descriptor)
        return client.getsockname()[1], server.getsockname()[1]

    done = run(body)
    for descriptor in range(3):
        event = done.one("dup2", {"fd.num": descriptor})
        assert event["evt.rawres"] == descriptor
        assert event["fd.name"] == "127.0.0.1:{}->127.0.0.1:{}".format(*done.value)
        assert (event["fd.typechar"], event["fd.connected"], event["fd.is_server"]) == ("4", True, False)
