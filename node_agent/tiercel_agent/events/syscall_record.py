"""A system call with everything that its fields are computed from."""

from __future__ import annotations

from functools import partial

from tiercel_agent.context.container import ContainerId
from tiercel_agent.context.paths import Mates, resolve_from_cache, resolve_in_root
from tiercel_agent.context.procfs import TICK
from tiercel_agent.events.images import Image
from tiercel_agent.events.kernel_record import KernelRecord
from tiercel_agent.events.lookup_context import LookupContext
from tiercel_agent.events.names import Names, names_of
from tiercel_agent.events.syscalls import Syscall
from tiercel_agent.kernel.records import Header, ProcessRef
from tiercel_agent.workloads.model import Workload
from tiercel_engine.uncertain import Uncertain


class SyscallRecord(KernelRecord):
    """One system call of this machine: the kernel's record of it, and the context that its fields are looked up in.

    ``number`` counts the detector's events from 1, ``time`` is in nanoseconds since the epoch.
    """

    __slots__ = ("_names", "context", "number", "time")

    def __init__(
        self,
        time: int,
        call: Syscall,
        header: Header,
        process: ProcessRef,
        raw: bytes,
        image: Image,
        context: LookupContext,
    ) -> None:
        super().__init__(call, header, process, raw, image)
        self.number = 0
        self.time = time
        self.context = context
        self._names: Names | None = None

    @property
    def names(self) -> Names:
        if self._names is None:
            self._names = names_of(self, self._resolved)
        return self._names

    @property
    def container(self) -> ContainerId | None:
        """The container that the process is in, as its cgroup tells."""
        return self.context.containers.of(self.header, self.process)

    @property
    def workload(self) -> Workload:
        return self.context.containers.workload(self.header, self.process)

    def ancestor_image(self, index: int) -> Image:
        """The image of the parent (0), its parent (1) …"""
        return self.context.processes.image(self.ancestors[index])

    @property
    def concerned(self) -> str:
        """Whom it concerns what is looked up for this record: the container, or the process's part of the host."""
        return self.context.containers.concerned(self.header, self.process)

    def _resolved(self, path: str, follow: bool) -> str | None:
        """The kernel's cache answers where a file server doesn't, or didn't lately: what has nothing to do with that
        server is found all the same."""
        if isinstance(path, Uncertain):
            return None
        pid, start = self.process.pid, self.process.start // TICK
        ancestors = tuple((process.pid, process.start // TICK) for process in self.ancestors)
        mates = Mates(self.header.mount_ns, ancestors)
        return self.context.ask(
            self.concerned,
            partial(resolve_in_root, pid, path, start=start, follow=follow, mates=mates),
            partial(resolve_from_cache, pid, path, start=start, follow=follow, mates=mates),
        )
