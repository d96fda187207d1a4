"""What tenants' sinks may connect to: not the node, not what only the node can reach.

Names prove nothing (they lead elsewhere the next time), and libraries resolve and connect by themselves. So the
interpreter itself is asked: it tells of each `connect` and each datagram, with the numeric address, before it happens.
That holds for everything that uses Python's sockets; libraries in C with sockets of their own (gRPC) aren't seen.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

import yaml

from tiercel_agent.sinks.network.no_files import files_for_ourselves
from tiercel_agent.sinks.network.scoped import once, scoped

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

_FRESH = 60.0  # seconds for which addresses of the node and of the API server are taken as known
_API_NAME = "kubernetes.default.svc"
_ON_THE_NODE = "the address is on the node itself"
_LINK_LOCAL = "the address is link-local or of a cloud's metadata"
_RESERVED = "the address is for multicast or reserved"
_API = "the address is the API server's"
_CLUSTER = "the address is a node's or the API server's"

# First what a loop or the node itself answers to; then what clouds serve metadata and credentials at.
_BUILT_IN: Mapping[Network, str] = {
    **{ip_network(text): _ON_THE_NODE for text in ("127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128")},
    **{ip_network(text): _LINK_LOCAL for text in ("169.254.0.0/16", "fe80::/10", "fec0::/10")},
    **{ip_network(text): _LINK_LOCAL for text in ("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32")},
    # AWS (metadata, and credentials of pods), Google, Oracle, Scaleway.
    **{ip_network(text): _LINK_LOCAL for text in ("fd00:ec2::/32", "fd20:ce::254/128")},
    **{ip_network(text): _LINK_LOCAL for text in ("fd00:c1::a9fe:a9fe/128", "fd00:42::42/128")},
    **{ip_network(text): _RESERVED for text in ("224.0.0.0/4", "240.0.0.0/4", "ff00::/8")},
}
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_COMPATIBLE = ip_network("::/96")

_SENT = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_PROGRAMS = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"}
)
_WATCHED = _SENT | _PROGRAMS

Cause = TypeVar("Cause", bound=BaseException)


class Forbidden(OSError):
    """A tenant's sink tried to reach what its egress policy forbids. Libraries treat it as a failed connection."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EACCES, f"{what}, which a sink of this namespace can't reach")

    def __str__(self) -> str:
        return str(self.strerror)


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What the node's admin has decided: ``forbid`` adds to what is forbidden anyway, ``allow`` is an exception from
    all of that. ``hosts`` are names or addresses besides the API server's that are forbidden, wherever they lead."""

    allow: tuple[Network, ...] = ()
    forbid: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()
    cluster_addresses: frozenset[Address] = frozenset()
    """Addresses of nodes and of the API server."""


class CurrentEgressPolicy:
    """The egress policy at present: the addresses of the cluster change with its nodes."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy

    def now(self) -> EgressPolicy:
        return self._policy

    def set_cluster_addresses(self, addresses: Iterable[str]) -> None:
        """Sets the addresses of nodes and of the API server. Texts that aren't addresses are ignored."""
        known: set[Address] = set()
        for text in addresses:
            with suppress(ValueError):
                known.update(_forms(ip_address(text)))
        self._policy = replace(self._policy, cluster_addresses=frozenset(known))


@contextmanager
def restricted(policy: EgressPolicy) -> Iterator[None]:
    """Holds this thread, and threads that it begins meanwhile, to what tenants may reach.

    What is tried besides raises Forbidden where it is tried; ``cause_of`` finds it in what a library makes of it.
    """
    _install()
    with scoped(_current, policy):
        yield


def cause_of(error: BaseException, kind: type[Cause]) -> Cause | None:
    """The error itself or the one it comes from that is of this kind; libraries wrap them in several ways."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        if isinstance(cause, kind):
            return cause
        seen.add(id(cause))
        waiting += [getattr(cause, "reason", None), *cause.args, cause.__cause__, cause.__context__]
    return None


def why_forbidden(host: object, policy: EgressPolicy) -> str:
    """Why a tenant's sink can't connect to a numeric address; "" if it can."""
    try:
        address = ip_address(host) if isinstance(host, str) else None
    except ValueError:
        address = None
    if address is None:
        return "it is a name in place of an address"
    forms = _forms(address)
    if any(form in network for form in forms for network in policy.allow):
        return ""
    for form in forms:
        if any(form in network for network in policy.forbid):
            return "the address is in a network that the node's settings forbid"
        for network, why in _BUILT_IN.items():
            if form in network:
                return why
        if form in _own.now():
            return _ON_THE_NODE
        if form in policy.cluster_addresses:
            return _CLUSTER
        if form in _api.now() or any(form in _others(name).now() for name in policy.hosts):
            return _API
    return ""


def api_hosts(kubeconfig: Path) -> tuple[str, ...]:
    """The API servers that a kubeconfig names, for ``EgressPolicy.hosts``; none if it can't be read."""
    try:
        clusters = yaml.safe_load(kubeconfig.read_bytes())["clusters"]
        hosts = [urlsplit(each["cluster"]["server"]).hostname for each in clusters]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        return ()
    return tuple(host for host in hosts if host)


def own_addresses() -> frozenset[Address]:
    """The addresses of the host's network namespace, as far as this process can see it, and of its own."""
    addresses: set[Address] = set()
    for process in ("1", "self"):
        for name, read in (("fib_trie", _of_fib_trie), ("if_inet6", _of_if_inet6)):
            try:
                with files_for_ourselves():  # what is asked for here may be within a delivery that has no files
                    addresses |= read(Path(f"/proc/{process}/net/{name}").read_text("ascii"))
            except (OSError, ValueError):
                continue  # no IPv6, or another's namespace that isn't shown
    return frozenset(addresses)


_current: ContextVar[EgressPolicy | None] = ContextVar("egress_policy", default=None)
_start_any = threading.Thread.start


@once
def _install() -> None:
    sys.addaudithook(_hook)
    # Python tells of no thread's beginning before 3.12.
    threading.Thread.start = _start  # type: ignore[method-assign, assignment]


def _hook(
    event: str,
    arguments: tuple[Any, ...],
    watched: frozenset[str] = _WATCHED,
    current: ContextVar[EgressPolicy | None] = _current,
) -> None:
    # Called for each file that is opened, too: all but what is watched ends here. The end of the interpreter takes a
    # module's names away before it takes the hook, hence the defaults.
    if event not in watched:
        return
    policy = current.get()
    if policy is None:
        return
    if event in _SENT:
        _check(arguments[0], arguments[1], policy)
    else:
        raise Forbidden("it is a program on the node")


def _check(used: socket.socket, address: object, policy: EgressPolicy) -> None:
    if address is None:
        return  # where the socket is connected to, which was checked
    if used.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple) or not address:
        raise Forbidden("it is a socket of the node itself")
    if why := why_forbidden(address[0], policy):
        raise Forbidden(why)


def _start(thread: threading.Thread) -> None:
    """In place of `Thread.start`: a thread that is begun within a tenant's delivery is held to the same policy."""
    if _current.get() is not None:
        context, run = copy_context(), thread.run
        thread.run = lambda: context.run(run)  # type: ignore[method-assign]
    _start_any(thread)


def _forms(address: Address) -> tuple[Address, ...]:
    """The address, and those that routers on the way may make of it."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    plain = IPv6Address(int(address))  # without a zone
    inner: list[Address] = []
    if address.sixtofour is not None:
        inner.append(address.sixtofour)
    if address.teredo is not None:
        inner += address.teredo
    if any(plain in network for network in (*_NAT64, _COMPATIBLE)):
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return (plain, *inner)


def _of_fib_trie(text: str) -> set[Address]:
    addresses: set[Address] = set()
    last = ""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "|--":
            last = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"]:
            addresses.add(IPv4Address(last))
    return addresses


def _of_if_inet6(text: str) -> set[Address]:
    return {IPv6Address(int(line.split()[0], 16)) for line in text.splitlines() if line.split()}


class _Known:
    """Addresses that are asked for at most once a minute."""

    def __init__(self, ask: Callable[[], frozenset[Address]]) -> None:
        self._ask = ask
        self._found: frozenset[Address] = frozenset()
        self._until = 0.0

    def now(self) -> frozenset[Address]:
        if time.monotonic() >= self._until:
            # If there is no answer, the earlier addresses stay forbidden: a missing name server must not open a way.
            self._found = self._ask() or self._found
            self._until = time.monotonic() + _FRESH
        return self._found


def _api_addresses() -> frozenset[Address]:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    return _resolved(host) | _resolved(_API_NAME) if host else frozenset()


def _resolved(host: str) -> frozenset[Address]:
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(form for entry in entries for form in _forms(ip_address(str(entry[4][0]))))


_own = _Known(own_addresses)
_api = _Known(_api_addresses)
_named: dict[str, _Known] = {}


def _others(host: str) -> _Known:
    return _named.setdefault(host, _Known(partial(_resolved, host)))
