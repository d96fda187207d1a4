"""The processes that aren't watched: the agent itself, its compilers, and those that make its look-ups.

What makes a process exempt is its number in the agent's PID namespace together with its start. A later process of that
number has another start: so each exemption ends with its process. Programs that the agent starts for others, such as
those that take alerts, are watched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tiercel_agent.context.procfs import TICK
from tiercel_agent.kernel import records
from tiercel_agent.kernel.bytecode.compiler import Child, start_of
from tiercel_agent.kernel.probes.own_number import pid_namespace

_LAST = 8
"""The last processes of a kind, whose records may still be read; they come one after the other."""


class Exemptions:
    """What concerns compilers may be called by another thread than the rest.

    While one is ``expected``, a child of the agent may turn out to be it, and its events have to wait: it runs already
    when its number becomes known.
    """

    def __init__(self) -> None:
        self._namespace = pid_namespace()
        self._agent = (os.getpid(), start_of("self"))
        self._compilers: tuple[tuple[int, int], ...] = ()
        self._lookups: tuple[tuple[int, int], ...] = ()
        self.expected = False

    @contextmanager
    def expecting_compiler(self) -> Iterator[None]:
        """Meanwhile a compiler may be started."""
        self.expected = True
        try:
            yield
        finally:
            self.expected = False

    def begin_compiler(self, compiler: Child) -> None:
        """Takes note of a compiler that was started."""
        self._compilers = (*self._compilers, (compiler.pid, compiler.start))[-_LAST:]
        self.expected = False

    def begin_lookups(self, process: Child) -> None:
        """Takes note of a process that was started and makes look-ups."""
        self._lookups = (*self._lookups, (process.pid, process.start))[-_LAST:]

    def covers(self, header: records.Header, process: records.ProcessRef) -> bool:
        """Whether the process of this record isn't watched."""
        identity = (header.vpid, process.start // TICK)
        own = identity == self._agent or identity in self._compilers or identity in self._lookups
        return own and header.pid_ns == self._namespace

    def is_child(self, parent: records.ProcessRef) -> bool:
        """Whether a process with this parent is a child of the agent."""
        return parent.start // TICK == self._agent[1]
