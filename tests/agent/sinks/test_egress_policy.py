"""What tenants' sinks can't connect to, by each library that sinks use, at real receivers that must stay alone."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from agent_support import connecting
from agent_support.confined import Confined, confined
from agent_support.http_receiver import HttpReceiver, refusing
from agent_support.tenants import LOOPBACK, NOTHING_BESIDES, open_tenants

from tiercel_agent.sinks.model import SinkSettings, Unavailable
from tiercel_agent.sinks.network.egress_policy import (
    CurrentEgressPolicy,
    EgressPolicy,
    api_hosts,
    may_reach,
    own_addresses,
)
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import HttpSink

PUBLIC = "93.184.216.34"
SERVICES = EgressPolicy(services=(ip_network("10.96.0.0/12"), ip_network("fd00:10:96::/112")))
REFUSED = "a sink of this namespace can't reach its address: it can reach Services and public addresses"
ALERT = Alert(1, "Read", Priority.WARNING, "syscall", "node-1", "read", (), {})


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as made:
        yield made


@pytest.fixture(scope="module")
def process() -> Iterator[Confined]:
    with confined() as made:
        yield made


WAYS: list[Callable[[str, int], None]] = [
    *(connecting.by_urllib3, connecting.by_urllib3_with_retries, connecting.by_requests, connecting.by_urllib),
    *(connecting.by_http_client, connecting.by_smtplib, connecting.by_ssl, connecting.in_another_thread),
]
HOSTS = ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "0", "0.0.0.0", "[::ffff:127.0.0.1]", "[::]"]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("host", HOSTS)
def test_no_library_reaches_the_node(
    process: Confined, receiver: HttpReceiver, way: Callable[[str, int], None], host: str
) -> None:
    outcome = process.does(way, host, receiver.port)
    assert outcome.forbidden, outcome.error
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "way", [connecting.by_urllib3, connecting.by_requests, connecting.by_urllib], ids=lambda way: way.__name__
)
def test_what_the_admin_allows_is_reached(
    process: Confined, receiver: HttpReceiver, way: Callable[[str, int], None]
) -> None:
    assert process.does(way, "localhost", receiver.port, policy=LOOPBACK).error == ""
    assert receiver.connections == 1


@pytest.mark.parametrize("way", [connecting.by_subprocess, connecting.by_system, connecting.by_posix_spawn])
def test_programs_are_not_begun(process: Confined, way: Callable[[], None]) -> None:
    assert process.does(way, policy=LOOPBACK).forbidden_file


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(
    "way", [connecting.by_sendto, connecting.by_sendmsg, connecting.by_connected_datagram, connecting.by_connect_ex]
)
def test_datagrams(process: Confined, way: Callable[[str, int], None], host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        assert process.does(way, host, port).forbidden
        assert process.does(connecting.by_connected_datagram, "127.0.0.1", port, policy=LOOPBACK).error == ""
        held.settimeout(30)
        assert held.recv(10) == b"x"
        held.setblocking(False)
        with pytest.raises(BlockingIOError):  # the one that was allowed was the only one
            held.recv(10)


@pytest.mark.parametrize("way", [connecting.to_a_unix_socket, connecting.to_a_unix_socket_unconnected])
def test_sockets_of_the_node_itself(process: Confined, way: Callable[[str], None], tmp_path: Path) -> None:
    everything = EgressPolicy(allow=(ip_network("0.0.0.0/0"), ip_network("::/0")))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        held.bind(str(tmp_path / "log"))
        assert process.does(way, str(tmp_path / "log"), policy=everything).forbidden


def test_files(process: Confined, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    beside_python = Path(json.__file__).parent / ".." / ".." / ".." / ".." / "etc" / "passwd"
    for path in (tmp_path / "secret", tmp_path / "link", beside_python, Path("/proc/1/cmdline")):
        assert process.does(connecting.read, str(path)).forbidden_file, path
    assert process.does(connecting.write, str(tmp_path / "new")).forbidden_file
    assert process.does(connecting.read, json.__file__).value


def test_the_address_of_the_node_by_its_network() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        try:
            out.connect((PUBLIC, 9))  # a datagram's socket sends nothing for that
        except OSError:
            pytest.skip("no network here")
        address = out.getsockname()[0]
    assert address in map(str, own_addresses())
    assert not may_reach(address, CurrentEgressPolicy(EgressPolicy(services=(ip_network(f"{address}/32"),))).now())


def test_a_proxy_of_the_environment_is_no_way_around(receiver: HttpReceiver) -> None:
    with confined() as process:
        for url in ("http://far.example/", "https://far.example/"):
            assert process.does(connecting.by_a_proxy_of_the_environment, receiver.url, url).forbidden
    assert receiver.connections == 0


def test_a_sink_doesnt_tell_open_ports_from_closed_ones(receiver: HttpReceiver) -> None:
    """Nor one kind of forbidden address from another."""
    with refusing() as closed:
        told = []
        for url in (
            *(receiver.url, f"http://localhost:{closed}", "http://169.254.169.254", "http://224.0.0.1"),
            *("http://10.244.1.1:10250", "http://192.168.0.1", "http://172.17.0.1"),
        ):
            settings = SinkSettings("test", AlertSinkSpec(http=HttpSink(url=url)), namespace="shop")
            with pytest.raises(Unavailable) as raised:
                open_tenants(settings, NOTHING_BESIDES).send([ALERT])
            told.append((url, str(raised.value)))
    assert {why for _, why in told} == {REFUSED}, told
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        *("127.8.9.10", "::1", "::", "0.1.2.3", "169.254.169.254", "fe80::1", "fe80::1%eth0", "fd00:ec2::254"),
        *("fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        *("224.0.0.1", "255.255.255.255", "ff02::1", "::ffff:169.254.169.254", "::127.0.0.1", "2002:7f00:1::"),
        *("2002:a9fe:a9fe::1", "64:ff9b::169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1"),
        # What no list of nodes tells of: bridges, second interfaces, virtual addresses, and pods.
        *("10.244.1.1", "10.244.1.17", "172.17.0.1", "192.168.122.1", "100.64.0.1", "fd12:3456::1", "10.112.0.1"),
        *("example.org", "", "127.1", b"93.184.216.34", None),
    ],
)
def test_which_addresses_are_refused(host: object) -> None:
    assert not may_reach(host, SERVICES)


@pytest.mark.parametrize(
    "host",
    [
        *(PUBLIC, "10.96.0.10", "10.111.255.254", "fd00:10:96::a", "2606:2800:220:1::1"),
        *("64:ff9b::93.184.216.34", "::ffff:10.96.0.10"),
    ],
)
def test_which_addresses_are_reached(host: str) -> None:
    assert may_reach(host, SERVICES)


def test_services_are_reached_only_where_the_cluster_has_them() -> None:
    assert not may_reach("10.96.0.10", EgressPolicy())
    current = CurrentEgressPolicy(EgressPolicy())
    current.set_cluster([], ["10.96.0.0/12", "no network", "10.0.0.1/8"])
    assert may_reach("10.96.0.10", current.now())
    assert not may_reach("10.0.0.1", current.now())


def test_the_admin_adds_networks_and_makes_exceptions() -> None:
    policy = EgressPolicy(
        allow=(ip_network("10.1.2.3/32"), ip_network("169.254.0.0/16")),
        forbid=(ip_network("10.96.7.0/24"), ip_network("93.184.0.0/16")),
        services=SERVICES.services,
    )
    for refused in ("10.96.7.1", "::ffff:10.96.7.1", PUBLIC, "127.0.0.1", "10.1.2.4"):
        assert not may_reach(refused, policy)
    for reached in ("10.1.2.3", "169.254.169.254", "10.96.8.1"):
        assert may_reach(reached, policy)


def test_nodes_and_the_api_server_behind_its_service_as_the_operator_tells_them() -> None:
    current = CurrentEgressPolicy(EgressPolicy(allow=(ip_network("93.184.216.39/32"),)))
    assert may_reach(PUBLIC, current.now())
    current.set_cluster([PUBLIC, "2606:2800::7", "93.184.216.39", "10.96.0.1", "no address"], ["10.96.0.0/12"])
    for address in (PUBLIC, f"::ffff:{PUBLIC}", "2606:2800::7", "2606:2800::0007", "10.96.0.1"):
        assert not may_reach(address, current.now())
    assert may_reach("93.184.216.39", current.now())  # the admin's exception
    assert current.now() is current.now()
    current.set_cluster(["2606:2800::7"], [])  # the node has gone
    assert may_reach(PUBLIC, current.now())


def test_the_api_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    current = CurrentEgressPolicy(SERVICES, ("10.96.0.3",))
    assert not may_reach("10.96.0.1", current.now())
    assert may_reach("10.96.0.2", current.now())
    assert not may_reach("10.96.0.3", current.now())


def test_the_api_server_of_a_kubeconfig(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("clusters:\n- {name: a, cluster: {server: 'https://10.7.7.7:6443'}}\n")
    assert api_hosts(config) == ("10.7.7.7",)
    for text in ("", "clusters: 5", "{", "clusters: [{cluster: {}}]"):
        config.write_text(text)
        assert api_hosts(config) == ()
    assert api_hosts(tmp_path / "missing") == ()
