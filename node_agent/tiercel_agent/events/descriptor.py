"""The file or socket behind a descriptor, from the sections of a record."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, AF_UNIX, inet_ntop

from tiercel_agent.events.images import text
from tiercel_agent.kernel import records
from tiercel_agent.kernel.records import FileFacts, Section, Sections, SocketFacts

AF_NETLINK, AF_PACKET = 16, 17
_SOCK_STREAM, _SOCK_DGRAM, _SOCK_RAW, _SOCK_SEQPACKET = 1, 2, 3, 5
_TCP_ESTABLISHED = 1
_L4 = {6: "tcp", 262: "tcp", 17: "udp", 1: "icmp", 58: "icmp", 255: "raw"}  # 262: MPTCP
_ANONYMOUS = {  # names of anonymous inodes (fs/anon_inodes.c and its users) -> type, character
    "[eventfd]": ("event", "e"),
    "[eventpoll]": ("eventpoll", "l"),
    "inotify": ("inotify", "i"),
    "anon_inode:inotify": ("inotify", "i"),
    "[signalfd]": ("signalfd", "s"),
    "[timerfd]": ("timerfd", "t"),
    "[userfaultfd]": ("userfaultfd", "u"),
    "bpf-prog": ("bpf", "b"),
    "bpf-map": ("bpf", "b"),
    "[io_uring]": ("io_uring", "r"),
    "[pidfd]": ("pidfd", "P"),
}


@dataclass(frozen=True, slots=True)
class End:
    """One end of a connection. ``address`` is canonical text, "" if there is none."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file. ``path`` is the kernel's, with links followed; None if the file has no place in the tree.
    ``shown`` is what the kernel shows even then."""

    number: int
    facts: FileFacts
    path: str | None
    shown: str
    type: str
    typechar: str


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """A socket. ``local`` and ``remote`` are None where the socket has no such address. ``path`` is that of a Unix
    socket."""

    number: int
    facts: SocketFacts
    local: End | None
    remote: End | None
    path: str

    @property
    def type(self) -> str:
        return {AF_INET: "ipv4", AF_INET6: "ipv6", AF_UNIX: "unix", AF_NETLINK: "netlink"}.get(
            self.facts.family, "unsupported"
        )

    @property
    def typechar(self) -> str:
        return {AF_INET: "4", AF_INET6: "6", AF_UNIX: "u", AF_NETLINK: "n"}.get(self.facts.family, "o")

    @property
    def l4proto(self) -> str | None:
        if self.facts.family not in (AF_INET, AF_INET6):
            return None
        if self.facts.type == _SOCK_RAW:
            return "icmp" if self.facts.protocol in (1, 58) else "raw"
        return _L4.get(self.facts.protocol)

    @property
    def sends_anywhere(self) -> bool:
        """Whether an address that is passed counts, even if the socket is connected to another."""
        return self.facts.type not in (_SOCK_STREAM, _SOCK_SEQPACKET)

    @property
    def connected(self) -> bool:
        return self.facts.state == _TCP_ESTABLISHED or bool(self.remote and self.remote.port)

    @property
    def is_server(self) -> bool:
        """Whether the local end is the server's: for TCP as the kernel knows it, else whether the program chose the
        port."""
        if self.remote is None or not self.remote.port:
            return True
        if self.facts.role & (records.ROLE_ACCEPTED | records.ROLE_CONNECTED):
            return bool(self.facts.role & records.ROLE_ACCEPTED)
        return bool(self.facts.role & records.ROLE_BOUND)


Descriptor = OpenFile | OpenSocket


def address_text(family: int, raw: bytes) -> str:
    """An address as canonical text; IPv4 in IPv6 as IPv4."""
    if family == AF_INET:
        return inet_ntop(AF_INET, raw[:4])
    mapped = IPv6Address(raw).ipv4_mapped
    return str(mapped) if mapped is not None else inet_ntop(AF_INET6, raw)


def read_sockaddr(payload: bytes, unspecified: int = 0) -> End | str | None:
    """The socket address that a program passed: an end, the path of a Unix socket, or None for other families.

    ``unspecified`` is the family that AF_UNSPEC stands for.
    """
    family = int.from_bytes(payload[:2], "little") or unspecified
    if family == AF_INET and len(payload) >= 8:
        return End(address_text(AF_INET, payload[4:8]), int.from_bytes(payload[2:4], "big"))
    if family == AF_INET6 and len(payload) >= 24:
        return End(address_text(AF_INET6, payload[8:24]), int.from_bytes(payload[2:4], "big"))
    if family == AF_UNIX:
        return unix_path(payload[2:110])
    return None


def unix_path(raw: bytes) -> str:
    """The name of a Unix socket. An abstract name begins with ``@``, as in /proc/net/unix."""
    if raw[:1] == b"\0":
        return "@" + text(raw[1:].rstrip(b"\0")) if raw.strip(b"\0") else ""
    return text(raw.partition(b"\0")[0])


def descriptor(sections: Sections) -> Descriptor | None:
    """The descriptor in a record's sections, if any."""
    if Section.SOCKET in sections:
        return _socket(sections)
    if Section.FILE in sections:
        return _file(sections)
    return None


def _file(sections: Sections) -> OpenFile:
    number, payload = sections[Section.FILE]
    facts = records.file_facts(payload)
    shown = records.path(sections[Section.FILE_PATH]) if Section.FILE_PATH in sections else ""
    place = None if facts.traits & records.DETACHED else shown or None
    kind, char = _file_type(facts.mode, shown, bool(facts.traits & records.DETACHED))
    return OpenFile(number, facts, place, shown, kind, char)


def _file_type(mode: int, name: str, detached: bool) -> tuple[str, str]:
    if stat.S_ISDIR(mode):
        return "directory", "d"
    if stat.S_ISFIFO(mode):
        return "pipe", "p"
    if detached and name in _ANONYMOUS:
        return _ANONYMOUS[name]
    if detached and name.startswith("memfd:"):
        return "memfd", "m"
    return "file", "f"


def _socket(sections: Sections) -> OpenSocket:
    number, payload = sections[Section.SOCKET]
    facts = records.socket_facts(payload)
    local = remote = None
    path = ""
    if facts.family in (AF_INET, AF_INET6):
        local = End(address_text(facts.family, facts.local), facts.local_port)
        if facts.remote_port or facts.remote.strip(b"\0"):
            remote = End(address_text(facts.family, facts.remote), facts.remote_port)
    elif facts.family == AF_UNIX:
        ends = [sections[kind] for kind in (Section.UNIX_PATH, -Section.UNIX_PATH) if kind in sections]
        names = {is_peer: unix_path(raw) for is_peer, raw in ends}
        path = names.get(1) or names.get(0) or ""
    return OpenSocket(number, facts, local, remote, path)
