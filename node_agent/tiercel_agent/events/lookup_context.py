"""Where the fields of events are looked up, beyond what the kernel recorded."""

from __future__ import annotations

from dataclasses import dataclass, field

from cachetools import LRUCache

from tiercel_agent.context.accounts import Accounts
from tiercel_agent.context.hostnames import HostNames
from tiercel_agent.events.own_process import OwnProcess
from tiercel_agent.events.processes import ProcessTable
from tiercel_agent.lookups.ask import Ask
from tiercel_agent.workloads.containers import Containers

_MOST_SOCKETS = 16384


@dataclass(slots=True)
class LookupContext:
    """What fields are looked up in. One detector has one, and all of its events share it.

    ``ask`` makes look-ups that may never end. ``own`` is the agent itself, ``hostname`` the node's own name.
    ``requested`` are the keys that the rules read: they are recorded beside the fields that need no argument.
    ``socket_names`` has, by a datagram socket's inode, the last connection that the socket was seen with.
    """

    ask: Ask
    own: OwnProcess
    processes: ProcessTable
    accounts: Accounts
    containers: Containers
    hostnames: HostNames
    hostname: str
    requested: frozenset[str] = frozenset()
    socket_names: LRUCache[int, str] = field(default_factory=lambda: LRUCache(_MOST_SOCKETS))
