"""Host names of addresses, for ``fd.sip.name`` and similar fields.

Addresses are not resolved to names, since that would ask a server of the attacker's choice. Instead, the names that
rules mention are resolved to addresses in the background, and an address has the names that were resolved to it.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Collection, Iterable
from ipaddress import IPv6Address, ip_address

from tiercel_agent.background import BackgroundThread
from tiercel_engine.located import located

_LOG = logging.getLogger(__name__)
MAX_NAMES = 1024
MAX_ADDRESSES_OF_A_NAME = 256


def resolve(name: str) -> list[str]:
    """The addresses of a host name by the system's resolver; none for an unknown name. May take seconds."""
    try:
        return [str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        _LOG.debug("%s has no address: %s", name, located(error))
        return []


def canonical(address: str) -> str | None:
    """The one spelling of an address: IPv4 in IPv6 as IPv4, without a zone. None if the text is no address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(parsed)


class HostNames:
    """The names that are watched, and the addresses that they have now or had within ``lifetime`` seconds.

    The lifetime is there because resolvers return few of a large service's addresses at a time, and fail at times.
    ``interval`` is the seconds between two rounds of resolving.
    """

    def __init__(
        self,
        *,
        resolver: Callable[[str], Iterable[str]] = resolve,
        interval: float = 120.0,
        lifetime: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver = resolver
        self._interval = interval
        self._lifetime = lifetime
        self._clock = clock
        self._watched: tuple[str, ...] = ()
        self._seen: dict[str, dict[str, float]] = {}
        self._names: dict[str, list[str]] = {}
        self._thread = BackgroundThread("host names", self._run)
        self._started = False

    def watch(self, names: Collection[str]) -> None:
        """Resolves these names from now on, instead of earlier ones; returns at once. At most MAX_NAMES are taken."""
        self._watched = tuple(sorted(set(names)))[:MAX_NAMES]
        if self._started:
            self._thread.wake()
        elif self._watched:
            self._started = True
            self._thread.start()

    def names_of(self, address: str) -> list[str]:
        """The watched names that resolve to an address. Doesn't wait."""
        names = self._names
        known = names.get(address)
        if known is None and names and (spelling := canonical(address)) is not None:
            known = names.get(spelling)
        return known or []

    def refresh(self) -> None:
        """Resolves every watched name once, in the calling thread."""
        watched = self._watched
        self._seen = {name: self._seen.get(name, {}) for name in watched}
        for name in watched:
            if self._thread.stopping or self._watched is not watched:
                return
            self._update(name)
            self._publish()

    def close(self) -> None:
        self._thread.stop()

    def _update(self, name: str) -> None:
        addresses = (canonical(address) for address in self._resolver(name))
        now = self._clock()
        seen = {address: at for address, at in self._seen[name].items() if now - at < self._lifetime}
        seen |= {address: now for address in addresses if address is not None}
        newest = sorted(seen.items(), key=lambda item: -item[1])[:MAX_ADDRESSES_OF_A_NAME]
        self._seen[name] = dict(newest)

    def _publish(self) -> None:
        """Replaces the whole table by a new one, so that readers need no lock."""
        names: dict[str, list[str]] = {}
        for name, addresses in self._seen.items():
            for address in addresses:
                names.setdefault(address, []).append(name)
        self._names = names

    def _run(self) -> None:
        while not self._thread.stopping:
            self.refresh()
            self._thread.pause(self._interval)
