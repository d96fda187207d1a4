"""``fd.*``: the descriptor that the event is about, file or socket."""

from __future__ import annotations

from collections.abc import Callable
from socket import AF_INET

from tiercel_agent.events.descriptor import End, OpenFile, OpenSocket, read_sockaddr
from tiercel_agent.events.fields import container
from tiercel_agent.events.opens import OPENS, makes_nameless
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_agent.events.syscalls import SENDS
from tiercel_agent.kernel import records
from tiercel_agent.kernel.records import Section
from tiercel_engine.event import Value
from tiercel_engine.uncertain import Uncertain, directory_of, last_component, prefixed

_ACCEPTS = frozenset({"accept", "accept4"})


def ends(record: SyscallRecord) -> tuple[End | None, End | None]:
    """The socket's local and remote end. Where the socket isn't connected, the remote end is the address that the call
    passed or received. That is so for a failed connect too, since the kernel then drops the address. A datagram goes to
    the address that is passed in any case."""
    descriptor = record.descriptor
    if not isinstance(descriptor, OpenSocket) or record.call.name == "socket":
        return None, None
    return descriptor.local, _passed_end(record, descriptor) or descriptor.remote


def _passed_end(record: SyscallRecord, socket: OpenSocket) -> End | None:
    """The address that was passed, if it counts."""
    sends = bool(record.call.flags & SENDS)
    if socket.remote is not None and socket.remote.port and not (sends and socket.sends_anywhere):
        return None
    passed = record.sections.get(Section.ADDRESS)
    if passed is None or record.call.name == "bind":
        return None
    # Linux sends to AF_UNSPEC as if it were AF_INET (net/ipv4/udp.c).
    address = read_sockaddr(passed[1], socket.facts.family if sends and socket.facts.family == AF_INET else 0)
    return address if isinstance(address, End) else None


def is_server(record: SyscallRecord) -> bool | None:
    """Whether the local end is the server's."""
    descriptor = record.descriptor
    if not isinstance(descriptor, OpenSocket) or descriptor.local is None:
        return None
    name = record.call.name
    if name == "connect":
        return False
    if name == "socket":
        return False
    if name in _ACCEPTS or name in ("bind", "listen"):
        return True
    if _passed_end(record, descriptor) or descriptor.remote is None or not descriptor.remote.port:
        return not record.call.flags & SENDS  # datagrams: the sender is the client
    return descriptor.is_server


def _client(record: SyscallRecord) -> End | None:
    local, remote = ends(record)
    return remote if is_server(record) else local


def _server(record: SyscallRecord) -> End | None:
    local, remote = ends(record)
    return local if is_server(record) else remote


def _end_text(end: End) -> str:
    return f"{end.address}:{end.port}"


def name(record: SyscallRecord) -> str | None:
    """A path, or ``client:port->server:port``; for a socket without a peer its own address."""
    descriptor = record.descriptor
    if isinstance(descriptor, OpenSocket) and descriptor.local is not None:
        client, server = _client(record), _server(record)
        if client and server:
            return f"{_end_text(client)}->{_end_text(server)}"
        if record.call.name == "socket":
            return None
        return _end_text(descriptor.local)
    return record.names.fd.given


def _split(record: SyscallRecord) -> tuple[str, str] | None:
    descriptor = record.descriptor
    if isinstance(descriptor, OpenSocket):
        return None
    path = record.names.fd.given
    if isinstance(path, Uncertain):
        return directory_of(path), last_component(path)
    if not path or "/" not in path:
        return None
    return directory_of(path), last_component(path)


def _directory(record: SyscallRecord) -> str | None:
    parts = _split(record)
    return parts[0] if parts else None


def _filename(record: SyscallRecord) -> str | None:
    parts = _split(record)
    return parts[1] if parts else None


def number(record: SyscallRecord) -> int | None:
    """The descriptor's number; for a failed call that returns a descriptor otherwise, the negative error number."""
    descriptor = record.descriptor
    if descriptor is not None:
        return descriptor.number
    if record.call.name in OPENS:
        return record.header.result
    return None


def _carries_ipv4(record: SyscallRecord) -> bool:
    """Whether an IPv6 socket is connected to an IPv4 address (mapped into IPv6), which rules see as an IPv4
    connection."""
    remote = ends(record)[1]
    return remote is not None and ":" not in remote.address


def _type(record: SyscallRecord) -> str | None:
    descriptor = record.descriptor
    if makes_nameless(record):
        return "directory"
    if _carries_ipv4(record):
        return "ipv4"
    return descriptor.type if descriptor else None


def _typechar(record: SyscallRecord) -> str | None:
    descriptor = record.descriptor
    if makes_nameless(record):
        return "d"
    if _carries_ipv4(record):
        return "4"
    if descriptor is not None:
        return descriptor.typechar
    # as for a failed open: it would have been a file
    return "f" if record.call.name in OPENS else None


def _name_changed(record: SyscallRecord) -> bool | None:
    """Whether a datagram has another address than the datagram before it on the same socket."""
    descriptor = record.descriptor
    if descriptor is None:
        return None
    if not isinstance(descriptor, OpenSocket) or descriptor.connected:
        return False
    current = name(record) or ""
    names = record.context.socket_names
    changed = names.get(descriptor.facts.inode) != current
    names[descriptor.facts.inode] = current
    return changed


def _connected(record: SyscallRecord) -> bool | None:
    descriptor = record.descriptor
    return descriptor.connected if isinstance(descriptor, OpenSocket) else None


def _l4proto(record: SyscallRecord) -> str | None:
    descriptor = record.descriptor
    return descriptor.l4proto if isinstance(descriptor, OpenSocket) else None


def _family(record: SyscallRecord) -> str | None:
    descriptor = record.descriptor
    if not isinstance(descriptor, OpenSocket):
        return None
    return "ip" if descriptor.local is not None else "unix" if descriptor.typechar == "u" else None


def _file(read: Callable[[OpenFile], Value]) -> Callable[[SyscallRecord], Value | None]:
    def extract(record: SyscallRecord) -> Value | None:
        descriptor = record.descriptor
        return read(descriptor) if isinstance(descriptor, OpenFile) else None

    return extract


def _address(which: Callable[[SyscallRecord], End | None]) -> Callable[[SyscallRecord], Value | None]:
    def extract(record: SyscallRecord) -> Value | None:
        end = which(record)
        return end.address if end else None

    return extract


def _port(which: Callable[[SyscallRecord], End | None]) -> Callable[[SyscallRecord], Value | None]:
    def extract(record: SyscallRecord) -> Value | None:
        end = which(record)
        return end.port if end else None

    return extract


def _port_text(which: Callable[[SyscallRecord], End | None]) -> Callable[[SyscallRecord], Value | None]:
    def extract(record: SyscallRecord) -> Value | None:
        end = which(record)
        return str(end.port) if end else None

    return extract


def _host_names(which: Callable[[SyscallRecord], End | None]) -> Callable[[SyscallRecord], Value | None]:
    def extract(record: SyscallRecord) -> Value | None:
        end = which(record)
        return record.context.hostnames.names_of(end.address) or None if end else None

    return extract


def _local(record: SyscallRecord) -> End | None:
    return ends(record)[0]


def _remote(record: SyscallRecord) -> End | None:
    return ends(record)[1]


def _addresses(record: SyscallRecord) -> Value | None:
    return [end.address for end in (_client(record), _server(record)) if end] or None


def _ports(record: SyscallRecord) -> Value | None:
    return [end.port for end in (_client(record), _server(record)) if end] or None


def _port_texts(record: SyscallRecord) -> Value | None:
    return [str(end.port) for end in (_client(record), _server(record)) if end] or None


def _in_container(read: Callable[[SyscallRecord], str | None]) -> Callable[[SyscallRecord], Value | None]:
    def extract(record: SyscallRecord) -> Value | None:
        value = read(record)
        if not value and not isinstance(value, Uncertain):
            return None
        return prefixed(f"{container.short_id(record)}:", value)

    return extract


_SIDES = {"c": _client, "s": _server, "l": _local, "r": _remote}
FIELDS: dict[str, Callable[[SyscallRecord], Value | None]] = {
    "fd.num": number,
    "fd.name": name,
    "fd.nameraw": lambda record: record.names.fd.raw,
    "fd.realname": lambda record: record.names.fd.real,
    "fd.directory": _directory,
    "fd.filename": _filename,
    "fd.containername": _in_container(name),
    "fd.containerdirectory": _in_container(_directory),
    "fd.name_changed": _name_changed,
    "fd.type": _type,
    "fd.typechar": _typechar,
    "fd.types": lambda record: [kind] if (kind := _type(record)) else None,
    "fd.uid": lambda record: f"{record.process.pid}{number(record)}" if record.descriptor else None,
    "fd.dev": _file(lambda file: file.facts.device),
    "fd.dev.major": _file(lambda file: file.facts.device >> 20),
    "fd.dev.minor": _file(lambda file: file.facts.device & 0xFFFFF),
    "fd.ino": _file(lambda file: file.facts.inode),
    "fd.is_upper_layer": _file(lambda file: bool(file.facts.traits & records.UPPER_LAYER)),
    "fd.is_lower_layer": _file(lambda file: bool(file.facts.traits & records.LOWER_LAYER)),
    "fd.sockfamily": _family,
    "fd.l4proto": _l4proto,
    "fd.connected": _connected,
    "fd.is_server": is_server,
    "fd.ip": _addresses,
    "fd.net": _addresses,
    "fd.port": _ports,
    "fd.proto": _port_texts,
}
for _side, _end in _SIDES.items():
    FIELDS[f"fd.{_side}ip"] = _address(_end)
    FIELDS[f"fd.{_side}net"] = _address(_end)
    FIELDS[f"fd.{_side}ip.name"] = _host_names(_end)
    FIELDS[f"fd.{_side}port"] = _port(_end)
    FIELDS[f"fd.{_side}proto"] = _port_text(_end)
WITH_ARGUMENT: dict[str, Callable[[SyscallRecord, str], Value | None]] = {}
