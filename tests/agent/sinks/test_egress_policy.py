"""What tenants' sinks can't connect to, by each library that sinks use, at real receivers that must stay alone."""

from __future__ import annotations

import http.client
import os
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path

import pytest
import requests
import urllib3
from agent_support.http_receiver import HttpReceiver

from tiercel_agent.sinks.http.http import open_http
from tiercel_agent.sinks.model import SinkSettings, Unavailable
from tiercel_agent.sinks.network.egress_policy import (
    CurrentEgressPolicy,
    EgressPolicy,
    Forbidden,
    api_hosts,
    cause_of,
    own_addresses,
    restricted,
    why_forbidden,
)
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import HttpSink

LOOPBACK = EgressPolicy(allow=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
PUBLIC = "203.0.113.7"
ALERT = Alert(1, "Read", Priority.WARNING, "syscall", "node-1", "read", (), {})


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as made:
        yield made


def by_urllib3(host: str, port: int) -> None:
    urllib3.PoolManager().request("POST", f"http://{host}:{port}/", body=b"x", retries=False)


def by_urllib3_with_retries(host: str, port: int) -> None:
    urllib3.PoolManager().request("POST", f"http://{host}:{port}/", body=b"x", retries=urllib3.Retry(1))


def by_requests(host: str, port: int) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.post(f"http://{host}:{port}/", data=b"x", timeout=30)


def by_urllib(host: str, port: int) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(f"http://{host}:{port}/", data=b"x", timeout=30)


def by_http_client(host: str, port: int) -> None:
    http.client.HTTPConnection(host.strip("[]"), port, timeout=30).request("GET", "/")


def by_smtplib(host: str, port: int) -> None:
    smtplib.SMTP(host.strip("[]"), port, timeout=0.5)


def by_ssl(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ssl.create_default_context().wrap_socket(socket.socket(family), server_hostname="x") as wrapped:
        wrapped.connect((host.strip("[]"), port))


WAYS: list[Callable[[str, int], None]] = [
    *(by_urllib3, by_urllib3_with_retries, by_requests, by_urllib, by_http_client, by_smtplib, by_ssl),
]
HOSTS = ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "0", "0.0.0.0", "[::ffff:127.0.0.1]", "[::]"]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("host", HOSTS)
def test_no_library_reaches_the_node(receiver: HttpReceiver, way: Callable[[str, int], None], host: str) -> None:
    with pytest.raises(Exception) as raised, restricted(EgressPolicy()):  # noqa: PT011
        way(host, receiver.port)
    assert cause_of(raised.value, Forbidden) is not None, repr(raised.value)
    assert receiver.connections == 0


@pytest.mark.parametrize("way", [by_urllib3, by_requests, by_urllib], ids=lambda way: way.__name__)
def test_what_the_admin_allows_is_reached(receiver: HttpReceiver, way: Callable[[str, int], None]) -> None:
    with restricted(LOOPBACK):
        way("localhost", receiver.port)
    assert receiver.connections == 1


def test_only_this_thread_and_only_meanwhile(receiver: HttpReceiver) -> None:
    failures: list[BaseException] = []

    def elsewhere() -> None:
        try:
            by_urllib3("127.0.0.1", receiver.port)
        except Exception as error:
            failures.append(error)

    inside, outside = threading.Event(), threading.Event()

    def wait_and_go() -> None:
        inside.wait(30)
        elsewhere()
        outside.set()

    thread = threading.Thread(target=wait_and_go)
    thread.start()
    with restricted(EgressPolicy()):
        inside.set()
        assert outside.wait(30)
    thread.join()
    elsewhere()
    assert not failures
    assert receiver.connections == 2


def test_what_is_restricted_within_stays_so_outside_of_it(receiver: HttpReceiver) -> None:
    with restricted(EgressPolicy()):
        with restricted(LOOPBACK):
            by_urllib3("127.0.0.1", receiver.port)
        with pytest.raises(urllib3.exceptions.HTTPError):
            by_urllib3("127.0.0.1", receiver.port)
    assert receiver.connections == 1


def test_threads_that_a_library_begins_are_held_to_the_same(receiver: HttpReceiver) -> None:
    with restricted(EgressPolicy()), ThreadPoolExecutor(1) as pool:
        future = pool.submit(by_urllib3, "127.0.0.1", receiver.port)
    assert cause_of(future.exception() or BaseException(), Forbidden) is not None
    assert receiver.connections == 0
    by_urllib3("127.0.0.1", receiver.port)


def test_programs_are_not_begun() -> None:
    with restricted(EgressPolicy()):
        with pytest.raises(Forbidden):
            subprocess.run([sys.executable, "-c", ""], check=False)
        with pytest.raises(Forbidden):
            os.system("true")
        with pytest.raises(Forbidden):
            os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})
    assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0


def test_datagrams() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
    ):
        held.bind(("127.0.0.1", 0))
        held.setblocking(False)
        where = held.getsockname()
        with restricted(EgressPolicy()):
            with pytest.raises(Forbidden):
                out.sendto(b"x", where)
            with pytest.raises(Forbidden):
                out.sendmsg([b"x"], [], 0, where)
            with pytest.raises(Forbidden):
                out.connect(where)
            with pytest.raises(Forbidden):
                out.connect_ex(where)
            with pytest.raises(Forbidden):
                out.connect(("localhost", where[1]))  # which the kernel's side resolves after it was asked
        with pytest.raises(BlockingIOError):
            held.recv(10)
        with restricted(LOOPBACK):
            out.connect(where)
            out.sendmsg([b"y"])
        held.settimeout(30)
        assert held.recv(10) == b"y"


def test_sockets_of_the_node_itself(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out,
    ):
        held.bind(path)
        everything = EgressPolicy(allow=(ip_network("0.0.0.0/0"), ip_network("::/0")))
        with restricted(everything):
            with pytest.raises(Forbidden):
                out.connect(path)
            with pytest.raises(Forbidden):
                out.sendto(b"x", path)
        out.connect(path)


def test_the_address_of_the_node_by_its_network() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        try:
            out.connect((PUBLIC, 9))  # a datagram's socket sends nothing for that
        except OSError:
            pytest.skip("no network here")
        address = out.getsockname()[0]
    assert address in map(str, own_addresses())
    with HttpReceiver(host=address) as receiver:
        with restricted(EgressPolicy()), pytest.raises(urllib3.exceptions.HTTPError, match="on the node itself"):
            by_urllib3(address, receiver.port)
        assert receiver.connections == 0
        by_urllib3(address, receiver.port)


def test_the_address_of_the_node_is_known_where_files_cant_be_opened() -> None:
    """As in a delivery by Apprise. In a process of its own: what is known of addresses is kept for a while."""
    program = (
        "import sys\n"
        "from tiercel_agent.sinks.network.no_files import no_files\n"
        "from tiercel_agent.sinks.network.egress_policy import EgressPolicy, why_forbidden\n"
        "with no_files():\n"
        "    for address in sys.argv[1:]:\n"
        "        print(why_forbidden(address, EgressPolicy()))\n"
    )
    addresses = [str(address) for address in own_addresses() if not address.is_loopback and not address.is_link_local]
    if not addresses:
        pytest.skip("no network here")
    told = subprocess.run(
        [sys.executable, "-c", program, *addresses], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(told.stdout.splitlines()) == {"the address is on the node itself"}


def test_a_proxy_of_the_environment_is_no_way_around(receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, receiver.url)
    with restricted(EgressPolicy()):
        for url in ("http://far.example/", "https://far.example/"):
            with pytest.raises(requests.exceptions.ConnectionError) as raised:
                requests.post(url, data=b"x", timeout=30)
            assert cause_of(raised.value, Forbidden) is not None
        with pytest.raises(urllib.error.URLError):
            # not urlopen, which would keep the proxy for all tests to come
            urllib.request.build_opener().open("http://far.example/", data=b"x", timeout=30)
    assert receiver.connections == 0


def test_a_sink_tells_why(receiver: HttpReceiver) -> None:
    tenant = SinkSettings("test", AlertSinkSpec(), namespace="shop")
    with restricted(EgressPolicy()), pytest.raises(Unavailable) as raised:
        open_http(HttpSink(url=f"http://localhost:{receiver.port}/"), tenant).send([ALERT])
    assert str(raised.value) == "the address is on the node itself, which a sink of this namespace can't reach"
    assert receiver.connections == 0


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("127.8.9.10", "node itself"),
        ("::1", "node itself"),
        ("::", "node itself"),
        ("0.1.2.3", "node itself"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fd00:ec2::254", "link-local"),
        ("fd00:ec2::23", "link-local"),
        ("fd20:ce::254", "link-local"),
        ("fd00:c1::a9fe:a9fe", "link-local"),
        ("fd00:42::42", "link-local"),
        ("100.100.100.200", "link-local"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "multicast"),
        ("ff02::1", "multicast"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::127.0.0.1", "node itself"),
        ("2002:7f00:1::", "node itself"),
        ("2002:a9fe:a9fe::1", "link-local"),
        ("64:ff9b::169.254.169.254", "link-local"),
        ("64:ff9b::7f00:1", "node itself"),
        ("64:ff9b:1::7f00:1", "node itself"),
        ("example.org", "a name"),
        ("", "a name"),
        ("127.1", "a name"),
        (b"203.0.113.7", "a name"),
        (None, "a name"),
        (PUBLIC, ""),
        ("10.96.0.10", ""),
        ("2001:db8::1", ""),
        ("64:ff9b::203.0.113.7", ""),
    ],
)
def test_which_addresses(host: object, says: str) -> None:
    why = why_forbidden(host, EgressPolicy())
    assert says in why
    assert bool(why) == bool(says)


def test_the_admin_adds_networks_and_makes_exceptions() -> None:
    policy = EgressPolicy(
        allow=(ip_network("10.1.2.3/32"), ip_network("169.254.0.0/16")), forbid=(ip_network("10.0.0.0/8"),)
    )
    assert "settings forbid" in why_forbidden("10.9.9.9", policy)
    assert "settings forbid" in why_forbidden("::ffff:10.9.9.9", policy)
    assert why_forbidden("10.1.2.3", policy) == ""
    assert why_forbidden("169.254.169.254", policy) == ""
    assert why_forbidden("127.0.0.1", policy) != ""


def test_nodes_and_the_api_server_behind_its_service_as_the_operator_tells_them() -> None:
    current = CurrentEgressPolicy(EgressPolicy(allow=(ip_network("203.0.113.9/32"),)))
    assert why_forbidden(PUBLIC, current.now()) == ""
    current.set_cluster_addresses([PUBLIC, "2001:db8::7", "203.0.113.9", "no address", "10.0.0.0/8"])
    for address in (PUBLIC, f"::ffff:{PUBLIC}", "2001:db8::7", "2001:0db8::0007"):
        assert why_forbidden(address, current.now()) == "the address is a node's or the API server's"
    assert why_forbidden("203.0.113.9", current.now()) == ""  # the admin's exception
    current.set_cluster_addresses(["2001:db8::7"])  # the node has gone
    assert why_forbidden(PUBLIC, current.now()) == ""


def test_the_api_server() -> None:
    # In a process of its own: what is known of the API server is kept for a while.
    program = (
        "from tiercel_agent.sinks.network.egress_policy import EgressPolicy, why_forbidden\n"
        "print(why_forbidden('10.96.0.1', EgressPolicy()), why_forbidden('10.96.0.2', EgressPolicy()), sep='|')\n"
        "print(why_forbidden('10.96.0.2', EgressPolicy(hosts=('10.96.0.2',))))\n"
    )
    environment = {**os.environ, "KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    told = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.splitlines() == ["the address is the API server's|", "the address is the API server's"]


def test_the_api_server_of_a_kubeconfig(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("clusters:\n- {name: a, cluster: {server: 'https://10.7.7.7:6443'}}\n")
    policy = EgressPolicy(hosts=api_hosts(config))
    assert "API server" in why_forbidden("10.7.7.7", policy)
    assert why_forbidden("10.7.7.8", policy) == ""
    for text in ("", "clusters: 5", "{", "clusters: [{cluster: {}}]"):
        config.write_text(text)
        assert api_hosts(config) == ()
    assert api_hosts(tmp_path / "missing") == ()
