"""IP addresses as integers: they are quick to compare, and all spellings of an address give the same value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

AddressNumber = tuple[int, int]
"""The version (4 or 6) and the address as an integer. ``::ffff:1.2.3.4``, as dual-stack sockets show IPv4, is IPv4."""


def address_number(address: IPv4Address | IPv6Address) -> AddressNumber:
    """The number of an address."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return 6, int(address)
        address = address.ipv4_mapped
    return 4, int(address)


@lru_cache(maxsize=65536)
def parse_address(text: str) -> AddressNumber | None:
    """The number of an address in text form; None if the text is not an address."""
    try:
        return address_number(ip_address(text))
    except ValueError:
        return None


def _network(network: IPv4Network | IPv6Network) -> tuple[int, int, int]:
    """The version, the number of host bits, and the network's own bits."""
    version, first = address_number(network.network_address)
    bits = network.max_prefixlen - network.prefixlen
    if version == 4 and bits > 32:  # ::ffff:0:0 with a prefix shorter than that of mapped addresses is an IPv6 network
        version, first = 6, int(network.network_address)
    return version, bits, first >> bits


def compile_addresses(constants: Iterable[object]) -> Callable[[str], bool]:
    """A function that says whether an address in text form is one of the constants, or in one that is a network."""
    exact: set[AddressNumber] = set()
    networks: dict[tuple[int, int], set[int]] = {}
    for constant in constants:
        if isinstance(constant, (IPv4Address, IPv6Address)):
            exact.add(address_number(constant))
        elif isinstance(constant, (IPv4Network, IPv6Network)):
            version, bits, prefix = _network(constant)
            networks.setdefault((version, bits), set()).add(prefix)
        elif isinstance(constant, str) and (parsed := parse_address(constant)) is not None:
            exact.add(parsed)
    shifts = tuple((version, bits, frozenset(prefixes)) for (version, bits), prefixes in networks.items())

    def contains(text: str) -> bool:
        address = parse_address(text)
        if address is None:
            return False
        if address in exact:
            return True
        version, value = address
        for of, bits, prefixes in shifts:  # noqa: SIM110  (a loop is quicker than any(), and this runs for every connection)
            if version == of and value >> bits in prefixes:
                return True
        return False

    return contains
