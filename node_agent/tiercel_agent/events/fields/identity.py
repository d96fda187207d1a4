"""``user.*``, ``group.*``: the user and the group that the process runs as."""

from __future__ import annotations

from collections.abc import Callable

from tiercel_agent.context.accounts import User
from tiercel_agent.context.procfs import TICK
from tiercel_agent.events.render import signed32
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_engine.event import Value

_NOBODY_LOGGED_IN = 0xFFFFFFFF


def _namespace(record: SyscallRecord) -> int | None:
    """The mount namespace whose account files count; None for the host's."""
    return record.header.mount_ns if record.container else None


def _user(record: SyscallRecord, uid: int) -> User | None:
    return record.context.accounts.user(
        record.process.pid, _namespace(record), uid, record.concerned, record.process.start // TICK
    )


def user_name(record: SyscallRecord, uid: int) -> str | None:
    user = _user(record, uid)
    return user.name if user else None


def group_name(record: SyscallRecord, gid: int) -> str | None:
    group = record.context.accounts.group(
        record.process.pid, _namespace(record), gid, record.concerned, record.process.start // TICK
    )
    return group.name if group else None


def _login_name(record: SyscallRecord) -> str | None:
    uid = record.header.loginuid
    # the login happened on the host, whatever namespace the process is in now
    user = None if uid == _NOBODY_LOGGED_IN else record.context.accounts.user(record.process.pid, None, uid)
    return user.name if user else None


FIELDS: dict[str, Callable[[SyscallRecord], Value | None]] = {
    "user.uid": lambda record: record.header.uid,
    "user.name": lambda record: user.name if (user := _user(record, record.header.uid)) else None,
    "user.homedir": lambda record: user.home if (user := _user(record, record.header.uid)) else None,
    "user.shell": lambda record: user.shell if (user := _user(record, record.header.uid)) else None,
    "user.loginuid": lambda record: signed32(record.header.loginuid),
    "user.loginname": _login_name,
    "group.gid": lambda record: record.header.gid,
    "group.name": lambda record: group_name(record, record.header.gid),
}
WITH_ARGUMENT: dict[str, Callable[[SyscallRecord, str], Value | None]] = {}
