"""``fd.*``: the descriptor that a system call acts on or returned: a file, a socket, a pipe …

The two ends of a connection have two pairs of names: client and server, by who opened the connection, and local and
remote, from the view of this process.
"""

from __future__ import annotations

from tiercel_engine.fields.model import Argument, ArgumentKind, Field, FieldType, Multiplicity

_NAMES: tuple[Field, ...] = (
    Field(
        "fd.num", FieldType.INTEGER, "The number of the descriptor, or -1 if the call that should have made it failed."
    ),
    Field(
        "fd.name",
        FieldType.STRING,
        "The path of a file, absolute and cleaned, or the ends of a connection as client:port->server:port.",
        names_file=True,
    ),
    Field("fd.nameraw", FieldType.STRING, "The path of a file as the caller gave it."),
    Field(
        "fd.realname",
        FieldType.STRING,
        "The path of a file as the kernel resolved it, links followed, if it differs from fd.name.",
    ),
    Field("fd.directory", FieldType.STRING, "The folder of a file, without a slash at its end.", names_file=True),
    Field("fd.filename", FieldType.STRING, "The last part of a file's path.", names_file=True),
    Field("fd.name_changed", FieldType.BOOLEAN, "Whether the event changed the name, as connect does to a socket's."),
)

_KINDS: tuple[Field, ...] = (
    Field(
        "fd.type",
        FieldType.STRING,
        "The type: file, directory, ipv4, ipv6, unix, pipe, event, signalfd, eventpoll, inotify, memfd and others.",
    ),
    Field(
        "fd.typechar",
        FieldType.STRING,
        "The type as one character: f file, d directory, 4 and 6 internet sockets, u Unix socket, p pipe and others.",
    ),
    Field(
        "fd.types",
        FieldType.STRING,
        "The types of all descriptors that the process has open, or of the one with that number.",
        multiplicity=Multiplicity.LIST,
        argument=Argument.OPTIONAL,
        argument_kind=ArgumentKind.INDEX,
    ),
    Field("fd.uid", FieldType.STRING, "The thread id and the descriptor's number, joined: unique on the machine."),
    Field("fd.containername", FieldType.STRING, "The container id and fd.name, joined by a colon.", names_file=True),
    Field(
        "fd.containerdirectory",
        FieldType.STRING,
        "The container id and fd.directory, joined by a colon.",
        names_file=True,
    ),
)

_FILE: tuple[Field, ...] = (
    Field("fd.dev", FieldType.INTEGER, "The number of the device that holds the file."),
    Field("fd.dev.major", FieldType.INTEGER, "The major number of the device that holds the file."),
    Field("fd.dev.minor", FieldType.INTEGER, "The minor number of the device that holds the file."),
    Field("fd.ino", FieldType.INTEGER, "The inode number of the file."),
    Field("fd.is_upper_layer", FieldType.BOOLEAN, "Whether the file is in the writable layer of an overlay."),
    Field("fd.is_lower_layer", FieldType.BOOLEAN, "Whether the file is in a read-only layer of an overlay."),
)

_SOCKET: tuple[Field, ...] = (
    Field("fd.sockfamily", FieldType.STRING, "The family of a socket: ip or unix."),
    Field("fd.l4proto", FieldType.STRING, "The protocol of a socket: tcp, udp, icmp or raw."),
    Field("fd.connected", FieldType.BOOLEAN, "Whether a socket is connected."),
    Field("fd.is_server", FieldType.BOOLEAN, "Whether this process is the server of the connection."),
)

_ENDS: dict[str, str] = {"c": "the client", "s": "the server", "l": "the local end", "r": "the remote end"}

_ADDRESSES: tuple[Field, ...] = (
    Field("fd.ip", FieldType.ADDRESS, "The IP address of either end.", multiplicity=Multiplicity.ANY),
    *(Field(f"fd.{c}ip", FieldType.ADDRESS, f"The IP address of {end}.") for c, end in _ENDS.items()),
    Field(
        "fd.net",
        FieldType.NETWORK,
        "The IP address of either end, to compare with networks.",
        multiplicity=Multiplicity.ANY,
    ),
    *(
        Field(f"fd.{c}net", FieldType.NETWORK, f"The IP address of {end}, to compare with networks.")
        for c, end in _ENDS.items()
    ),
    *(
        Field(
            f"fd.{c}ip.name",
            FieldType.STRING,
            f"The host names, among those that rules mention, that resolve to the IP address of {end}.",
            multiplicity=Multiplicity.ANY,
        )
        for c, end in _ENDS.items()
    ),
)

_PORTS: tuple[Field, ...] = (
    Field("fd.port", FieldType.PORT, "The port of either end.", multiplicity=Multiplicity.ANY),
    *(Field(f"fd.{c}port", FieldType.PORT, f"The port of {end}.") for c, end in _ENDS.items()),
    Field(
        "fd.proto",
        FieldType.STRING,
        "The service name of either end's port, such as http.",
        multiplicity=Multiplicity.ANY,
    ),
    *(Field(f"fd.{c}proto", FieldType.STRING, f"The service name of the port of {end}.") for c, end in _ENDS.items()),
)

FIELDS: tuple[Field, ...] = (*_NAMES, *_KINDS, *_FILE, *_SOCKET, *_ADDRESSES, *_PORTS)
