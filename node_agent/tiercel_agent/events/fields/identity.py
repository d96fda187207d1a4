"""``user.*``, ``group.*``: whose the process is."""

from __future__ import annotations

from collections.abc import Callable

from tiercel_agent.context.accounts import User
from tiercel_agent.events.render import signed32
from tiercel_agent.events.syscall_record import Occurrence
from tiercel_engine.event import Value

_NOBODY_LOGGED_IN = 0xFFFFFFFF


def _namespace(event: Occurrence) -> int | None:
    """The mount namespace whose account files count; None for the host's."""
    return event.header.mount_ns if event.container else None


def _user(event: Occurrence) -> User | None:
    return event.world.accounts.user(event.process.pid, _namespace(event), event.header.uid)


def user_name(event: Occurrence, uid: int) -> str | None:
    found = event.world.accounts.user(event.process.pid, _namespace(event), uid)
    return found.name if found else None


def group_name(event: Occurrence, gid: int) -> str | None:
    found = event.world.accounts.group(event.process.pid, _namespace(event), gid)
    return found.name if found else None


def _login_name(event: Occurrence) -> str | None:
    uid = event.header.loginuid
    # the login happened on the host, whatever namespace the process is in now
    found = None if uid == _NOBODY_LOGGED_IN else event.world.accounts.user(event.process.pid, None, uid)
    return found.name if found else None


FIELDS: dict[str, Callable[[Occurrence], Value | None]] = {
    "user.uid": lambda event: event.header.uid,
    "user.name": lambda event: found.name if (found := _user(event)) else None,
    "user.homedir": lambda event: found.home if (found := _user(event)) else None,
    "user.shell": lambda event: found.shell if (found := _user(event)) else None,
    "user.loginuid": lambda event: signed32(event.header.loginuid),
    "user.loginname": _login_name,
    "group.gid": lambda event: event.header.gid,
    "group.name": lambda event: group_name(event, event.header.gid),
}
WITH_ARGUMENT: dict[str, Callable[[Occurrence, str], Value | None]] = {}
