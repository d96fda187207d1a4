"""``fd.*``: the descriptor that the event is about, file or socket."""

from __future__ import annotations

from collections.abc import Callable

from tiercel_agent.events.descriptor import End, OpenFile, OpenSocket, read_sockaddr
from tiercel_agent.events.fields import container
from tiercel_agent.events.syscall_record import Occurrence
from tiercel_agent.kernel import records
from tiercel_agent.kernel.records import Section
from tiercel_engine.event import Value

_ACCEPTS = frozenset({"accept", "accept4"})
_RECEIVES = frozenset({"recvfrom", "recvmsg", "recvmmsg"})
_SENDS = frozenset({"sendto", "sendmsg", "sendmmsg"})
_OPENS = frozenset({"open", "openat", "openat2", "creat", "open_by_handle_at"})
_MAX_NAMES = 16384


def ends(event: Occurrence) -> tuple[End | None, End | None]:
    """The socket's local and remote end. Where the socket isn't connected, the remote one is what the call passed or
    received; for a connect that failed too, since the kernel then forgets it."""
    found = event.descriptor
    if not isinstance(found, OpenSocket):
        return None, None
    local, remote = found.local, found.remote
    if remote is None or not remote.port:
        passed = event.sections.get(Section.ADDRESS)
        address = read_sockaddr(passed[1]) if passed and event.call.name != "bind" else None
        if isinstance(address, End):
            remote = address
    return local, remote


def is_server(event: Occurrence) -> bool | None:
    """Whether the local end is the server's."""
    found = event.descriptor
    if not isinstance(found, OpenSocket) or found.local is None:
        return None
    name = event.call.name
    if name == "connect":
        return False
    if name in _ACCEPTS or name in ("bind", "listen"):
        return True
    if found.remote is None or not found.remote.port:  # datagrams: who sends is the client
        return name not in _SENDS
    return found.is_server


def _client(event: Occurrence) -> End | None:
    local, remote = ends(event)
    return remote if is_server(event) else local


def _server(event: Occurrence) -> End | None:
    local, remote = ends(event)
    return local if is_server(event) else remote


def _end_text(end: End) -> str:
    return f"{end.address}:{end.port}"


def name(event: Occurrence) -> str | None:
    """A path, or ``client:port->server:port``; of a socket without peer its own address."""
    found = event.descriptor
    if isinstance(found, OpenSocket) and found.local is not None:
        client, server = _client(event), _server(event)
        if client and server:
            return f"{_end_text(client)}->{_end_text(server)}"
        if event.call.name == "socket":
            return None
        return _end_text(found.local)
    return event.names.fd.given


def _split(event: Occurrence) -> tuple[str, str] | None:
    found = event.descriptor
    if isinstance(found, OpenSocket):
        return None
    path = event.names.fd.given
    if not path or "/" not in path:
        return None
    directory, _, filename = path.rpartition("/")
    return directory or "/", filename


def _directory(event: Occurrence) -> str | None:
    parts = _split(event)
    return parts[0] if parts else None


def _filename(event: Occurrence) -> str | None:
    parts = _split(event)
    return parts[1] if parts else None


def number(event: Occurrence) -> int | None:
    """The descriptor's number; of a call that should have returned one and failed, the error."""
    found = event.descriptor
    if found is not None:
        return found.number
    if event.call.name in _OPENS:
        return event.header.result
    return None


def _carries_ipv4(event: Occurrence) -> bool:
    """Whether an IPv6 socket talks to an IPv4 address (mapped into IPv6): an IPv4 connection as rules see it."""
    remote = ends(event)[1]
    return remote is not None and ":" not in remote.address


def _type(event: Occurrence) -> str | None:
    found = event.descriptor
    if _carries_ipv4(event):
        return "ipv4"
    return found.type if found else None


def _typechar(event: Occurrence) -> str | None:
    found = event.descriptor
    if _carries_ipv4(event):
        return "4"
    if found is not None:
        return found.typechar
    # as for a failed open: it would have been a file
    return "f" if event.call.name in _OPENS else None


def _name_changed(event: Occurrence) -> bool | None:
    """Whether a datagram goes to, or comes from, another address than the socket's one before."""
    found = event.descriptor
    if found is None:
        return None
    if not isinstance(found, OpenSocket) or found.connected:
        return False
    current = name(event) or ""
    names = event.world.socket_names
    changed = names.get(found.facts.inode) != current
    if len(names) >= _MAX_NAMES:
        names.clear()
    names[found.facts.inode] = current
    return changed


def _connected(event: Occurrence) -> bool | None:
    found = event.descriptor
    return found.connected if isinstance(found, OpenSocket) else None


def _l4proto(event: Occurrence) -> str | None:
    found = event.descriptor
    return found.l4proto if isinstance(found, OpenSocket) else None


def _family(event: Occurrence) -> str | None:
    found = event.descriptor
    if not isinstance(found, OpenSocket):
        return None
    return "ip" if found.local is not None else "unix" if found.typechar == "u" else None


def _file(read: Callable[[OpenFile], Value]) -> Callable[[Occurrence], Value | None]:
    def extract(event: Occurrence) -> Value | None:
        found = event.descriptor
        return read(found) if isinstance(found, OpenFile) else None

    return extract


def _address(which: Callable[[Occurrence], End | None]) -> Callable[[Occurrence], Value | None]:
    def extract(event: Occurrence) -> Value | None:
        end = which(event)
        return end.address if end else None

    return extract


def _port(which: Callable[[Occurrence], End | None]) -> Callable[[Occurrence], Value | None]:
    def extract(event: Occurrence) -> Value | None:
        end = which(event)
        return end.port if end else None

    return extract


def _port_text(which: Callable[[Occurrence], End | None]) -> Callable[[Occurrence], Value | None]:
    def extract(event: Occurrence) -> Value | None:
        end = which(event)
        return str(end.port) if end else None

    return extract


def _host_names(which: Callable[[Occurrence], End | None]) -> Callable[[Occurrence], Value | None]:
    def extract(event: Occurrence) -> Value | None:
        end = which(event)
        return event.world.hostnames.names_of(end.address) or None if end else None

    return extract


def _local(event: Occurrence) -> End | None:
    return ends(event)[0]


def _remote(event: Occurrence) -> End | None:
    return ends(event)[1]


def _addresses(event: Occurrence) -> Value | None:
    return [end.address for end in (_client(event), _server(event)) if end] or None


def _ports(event: Occurrence) -> Value | None:
    return [end.port for end in (_client(event), _server(event)) if end] or None


def _port_texts(event: Occurrence) -> Value | None:
    return [str(end.port) for end in (_client(event), _server(event)) if end] or None


def _in_container(read: Callable[[Occurrence], str | None]) -> Callable[[Occurrence], Value | None]:
    def extract(event: Occurrence) -> Value | None:
        value = read(event)
        return f"{container.short_id(event)}:{value}" if value else None

    return extract


_SIDES = {"c": _client, "s": _server, "l": _local, "r": _remote}
FIELDS: dict[str, Callable[[Occurrence], Value | None]] = {
    "fd.num": number,
    "fd.name": name,
    "fd.nameraw": lambda event: event.names.fd.raw,
    "fd.realname": lambda event: event.names.fd.real,
    "fd.directory": _directory,
    "fd.filename": _filename,
    "fd.containername": _in_container(name),
    "fd.containerdirectory": _in_container(_directory),
    "fd.name_changed": _name_changed,
    "fd.type": _type,
    "fd.typechar": _typechar,
    "fd.types": lambda event: [kind] if (kind := _type(event)) else None,
    "fd.uid": lambda event: f"{event.process.pid}{number(event)}" if event.descriptor else None,
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
WITH_ARGUMENT: dict[str, Callable[[Occurrence, str], Value | None]] = {}
