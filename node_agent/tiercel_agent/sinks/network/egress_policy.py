"""What tenants' sinks may connect to: the cluster's Services and public addresses, and what the admin allows besides.

Everything else is refused, and all of it alike: nodes have addresses that nobody tells of (bridges, second interfaces,
virtual addresses), and a tenant who was told why could find out what there is.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

import yaml

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

_FRESH = 60.0  # seconds for which addresses of the node and of the API server are taken as known
_API_NAME = "kubernetes.default.svc"

# Addresses of clouds' metadata that are public by their form, and what Python's versions don't agree about.
_NEVER = tuple(
    map(ip_network, ("168.63.129.16/32", "192.0.0.0/24", "100.64.0.0/10", "224.0.0.0/4", "ff00::/8", "fec0::/10"))
)
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_COMPATIBLE = ip_network("::/96")

Cause = TypeVar("Cause", bound=BaseException)


class Forbidden(OSError):
    """A tenant's sink tried to reach what its egress policy forbids. Libraries treat it as a failed connection."""

    def __init__(self) -> None:
        super().__init__(
            errno.EACCES,
            "a sink of this namespace can't reach its address: it can reach Services and public addresses",
        )

    def __str__(self) -> str:
        return str(self.strerror)


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What tenants' sinks may connect to. ``allow`` is an exception from all that is forbidden, ``forbid`` one from
    ``services``, the networks of the cluster's Services, and from public addresses."""

    allow: tuple[Network, ...] = ()
    forbid: tuple[Network, ...] = ()
    services: tuple[Network, ...] = ()
    cluster_addresses: frozenset[Address] = frozenset()
    """Addresses of nodes and of the API server, which are forbidden whatever network they are in."""


class CurrentEgressPolicy:
    """The egress policy at present: the addresses of the cluster change with its nodes.

    ``hosts`` are names or addresses of API servers, which are forbidden wherever they lead.
    """

    def __init__(self, policy: EgressPolicy, hosts: Iterable[str] = ()) -> None:
        self._policy = policy
        self._services = policy.services
        self._told: frozenset[Address] = frozenset()
        names = [host for host in (os.environ.get("KUBERNETES_SERVICE_HOST", ""), *hosts) if host]
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            names.append(_API_NAME)
        self._known = [_Known(own_addresses), *(_Known(partial(_resolved, name)) for name in names)]

    def now(self) -> EgressPolicy:
        """The policy, which is the same object for as long as nothing has changed."""
        addresses = self._told.union(*(each.now() for each in self._known))
        if addresses != self._policy.cluster_addresses:
            self._policy = replace(self._policy, cluster_addresses=addresses)
        return self._policy

    def set_cluster(self, addresses: Iterable[str], services: Iterable[str]) -> None:
        """Sets the addresses of nodes and of the API server, and the networks of Services besides those of the policy
        that this one began with. Texts that are none are ignored."""
        known: set[Address] = set()
        for text in addresses:
            with suppress(ValueError):
                known.update(_forms(ip_address(text)))
        networks: list[Network] = []
        for text in services:
            with suppress(ValueError):
                networks.append(ip_network(text))
        self._told = frozenset(known)
        self._policy = replace(self._policy, services=tuple(dict.fromkeys((*self._services, *networks))))


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


def may_reach(host: object, policy: EgressPolicy) -> bool:
    """Whether a tenant's sink may connect to a numeric address. Names may not be: they lead elsewhere the next time."""
    try:
        address = ip_address(host) if isinstance(host, str) else None
    except ValueError:
        address = None
    if address is None:
        return False
    forms = _forms(address)
    if any(form in network for form in forms for network in policy.allow):
        return True
    return all(_is_open(form, policy) for form in forms)


def api_hosts(kubeconfig: Path) -> tuple[str, ...]:
    """The API servers that a kubeconfig names; none if it can't be read."""
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
                addresses |= read(Path(f"/proc/{process}/net/{name}").read_text("ascii"))
            except (OSError, ValueError):
                continue  # no IPv6, or another's namespace that isn't shown
    return frozenset(addresses)


def _is_open(form: Address, policy: EgressPolicy) -> bool:
    if form in policy.cluster_addresses or any(form in network for network in (*policy.forbid, *_NEVER)):
        return False
    return form.is_global or any(form in network for network in policy.services)


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


def _resolved(host: str) -> frozenset[Address]:
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(form for entry in entries for form in _forms(ip_address(str(entry[4][0]))))
