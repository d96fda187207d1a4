"""Calls on sockets."""

from __future__ import annotations

from tiercel_agent.events.syscalls.model import MMSGHDR, MSGHDR, RETURNED, SENDS, SUBJECT_END, message, on, plain

CALLS = (
    on(RETURNED, "socket", "fd=res:result domain=0:domain type=1:socket_type proto=2"),
    plain("socketpair", "domain=0:domain type=1:socket_type proto=2"),
    on(0, "bind", "addr=address:address fd=0:fd", address=1),
    on(0, "connect", "tuple=tuple:text fd=0:fd addr=address:address", 1, SUBJECT_END),
    on(0, "listen", "fd=0:fd backlog=1"),
    on(RETURNED, "accept", "fd=res:result tuple=tuple:text", flags=SUBJECT_END),
    on(RETURNED, "accept4", "fd=res:result tuple=tuple:text flags=3:socket_flags", flags=SUBJECT_END),
    on(0, "shutdown", "fd=0:fd how=1:shutdown"),
    on(0, "setsockopt", "fd=0:fd level=1 optname=2"),
    on(0, "getsockopt", "fd=0:fd level=1 optname=2"),
    on(0, "getsockname", "fd=0:fd"),
    on(0, "getpeername", "fd=0:fd"),
    message("sendto", "fd=0:fd size=2:size tuple=tuple:text data=data:text", SENDS),
    message("recvfrom", "fd=0:fd size=2:size tuple=tuple:text data=data:text"),
    message("sendmsg", "fd=0:fd tuple=tuple:text data=data:text", MSGHDR | SENDS),
    message("recvmsg", "fd=0:fd tuple=tuple:text data=data:text", MSGHDR),
    message("sendmmsg", "fd=0:fd size=2 tuple=tuple:text data=data:text", MSGHDR | MMSGHDR | SENDS),
    message("recvmmsg", "fd=0:fd size=2 tuple=tuple:text data=data:text", MSGHDR | MMSGHDR),
)
