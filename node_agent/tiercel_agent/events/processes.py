"""The process table: what each process executes, and executed at the time of earlier records.

It is kept from the records of exec, fork and exit, which have a ring buffer of their own. Every record names a process
with its start and its count of execs, and gets the image of that process and that count or none: a reused pid or
another image doesn't fit. What isn't known is unknown. /proc is read when the agent starts and never again, since it
only tells what a process executes by then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from tiercel_agent.context import procfs
from tiercel_agent.context.procfs import TICK
from tiercel_agent.events.image_budget import ImageBudget, Owner
from tiercel_agent.events.images import NO_IMAGE, Image, image_of_facts, text
from tiercel_agent.kernel.records import ExitRecord, ForkRecord, ProcessRef
from tiercel_agent.lookups.ask import Ask

MEMORY = 32 << 20
"""Bytes that the table may take, unless it is told otherwise."""
_KEEP = 30_000_000_000  # ns: events may still be evaluated that have a process or an image among their ancestors
_MOST_ASKED = 4096

_Key = tuple[int, int, int | None]


@dataclass(frozen=True, slots=True)
class Process:
    """One image of one process. ``start`` is in ns since boot, and so is ``since``, from when on it is this image.

    ``told_late``: the image was reported some time after the exec, so that ``since`` is only the time by which it was
    this one. For a process that was read from /proc, ``execs`` is None until a record tells it, ``start`` is exact to a
    clock tick, and ``since`` is when it was read.
    """

    pid: int
    start: int
    execs: int | None
    comm: str
    image: Image
    since: int
    told_late: bool = False

    @property
    def key(self) -> _Key:
        return self.pid, self.start, self.execs


class ProcessTable:
    """Images by process. ``ask`` makes look-ups that may never end, ``request`` has the kernel report what a process
    executes, by its pid, before the next record of it.

    What processes do is told before the calls that they make then, and perhaps long before these are read: so images
    that are over are kept until half a minute after the last record of their time was read, as long as there is room.
    """

    def __init__(
        self,
        ask: Ask,
        request: Callable[[int], None] = lambda _pid: None,
        memory: int = MEMORY,
    ) -> None:
        self._ask = ask
        self._request = request
        self._budget = ImageBudget(memory)
        self._known: dict[_Key, Process] = {}
        self._of_pid: dict[int, list[Process]] = {}  # the oldest first
        self._scanned: dict[int, Process] = {}  # read from /proc, and named by no record yet
        self._requested: OrderedDict[ProcessRef, None] = OrderedDict()
        self.misses = 0
        """How often it wasn't known what a process executes."""
        self.evicted: Counter[Owner] = Counter()
        """Entries for which there was no room, by the owner: for whoever takes them out."""
        self.with_environment = False

    def __len__(self) -> int:
        return len(self._known)

    @property
    def bytes(self) -> int:
        return self._budget.bytes

    def scan(self) -> None:
        """Enters the processes that run already, except those that are known from records."""
        for facts in procfs.scan(self._ask, environ=self.with_environment):
            if facts.executing or facts.pid in self._of_pid:
                continue
            start = facts.start_ticks * TICK
            process = Process(facts.pid, start, None, facts.comm, image_of_facts(facts), facts.read_at)
            self._enter(process, facts.whose, self._scanned.__setitem__)

    def executed(self, ref: ProcessRef, image: Image, time: int, cgroup: int, *, told_late: bool = False) -> None:
        """``time`` is that of the record, ``told_late`` that it was made some time after the exec."""
        newest = self._newest(ref.pid)
        if newest is not None and newest.start == ref.start and (newest.execs or 0) >= ref.execs:
            return  # two sets of programs report it while rules change, or it was asked for and has come since
        scanned = self._scanned.get(ref.pid)
        if scanned is not None:
            if _is_of(scanned, ref) and scanned.since < time and not told_late and ref.execs:
                self._bind(scanned, ref._replace(execs=ref.execs - 1))
            else:  # which image was read isn't certain
                self._drop(scanned)
        self._end_newest(ref.pid, time)
        self._append(Process(ref.pid, ref.start, ref.execs, text(ref.comm), image, time, told_late), cgroup)

    def forked(self, record: ForkRecord) -> None:
        child, parent = record.child, record.parent
        newest = self._newest(child.pid)
        if newest is not None and newest.start == child.start:
            return
        known = self._known.get((parent.pid, parent.start, parent.execs))
        scanned = self._scanned.get(parent.pid)
        if known is None and scanned is not None and _is_of(scanned, parent) and scanned.since < child.start:
            known = self._bind(scanned, parent)
        before = self._scanned.get(child.pid)
        if before is not None and (known is not None or not _is_of(before, child)):
            self._drop(before)
        self._end_newest(child.pid, child.start)
        if known is None or known.key not in self._known:
            return
        owner = self._budget.owner(known.key)
        self._append(Process(child.pid, child.start, child.execs, text(child.comm), known.image, child.start), owner)

    def exited(self, record: ExitRecord) -> None:
        for process in (self._scanned.get(record.process.pid), self._newest(record.process.pid)):
            if process is not None and _is_of(process, record.process):
                self._budget.end(process.key, record.time)

    def forget(self, read_until: int) -> None:
        """Forgets what was over long before ``read_until``, up to when all records of calls have been read (ns since
        boot)."""
        for key in self._budget.over_since(read_until - _KEEP):
            self._drop(self._known[key])  # type: ignore[index]

    def image(self, ref: ProcessRef) -> Image:
        """What this process executed at the time of the record that names it; NO_IMAGE if that isn't known."""
        known = self._known.get((ref.pid, ref.start, ref.execs)) or self._scanned_one(ref)
        if known is not None:
            return known.image
        self.misses += 1
        if ref not in self._requested:
            self._requested[ref] = None
            if len(self._requested) > _MOST_ASKED:
                self._requested.popitem(last=False)
            self._request(ref.pid)
        return NO_IMAGE

    def at(self, pid: int, time: int) -> Process | None:
        """The process that had that pid at that time, with the image that it had then; for leaders of sessions and
        groups, of which records have the pid only. None if that isn't certain."""
        processes = self._of_pid.get(pid, [])
        place = bisect_right(processes, time, key=lambda process: process.since)
        if not place:
            scanned = self._scanned.get(pid)
            return scanned if scanned is not None and scanned.start <= time else None
        found = processes[place - 1]
        following = processes[place] if place < len(processes) else None
        if following is None or following.start != found.start:
            return found
        is_next = found.execs is not None and following.execs == found.execs + 1
        return found if is_next and not following.told_late else None

    def _scanned_one(self, ref: ProcessRef) -> Process | None:
        """The process that was read from /proc and that a record names for the first time. All records of its execs so
        far have been taken: it has executed nothing else since it was read."""
        scanned = self._scanned.get(ref.pid)
        return self._bind(scanned, ref) if scanned is not None and _is_of(scanned, ref) else None

    def _bind(self, scanned: Process, ref: ProcessRef) -> Process:
        """The process read from /proc, as records name it. It has had this image from before the agent's start."""
        owner = self._budget.owner(scanned.key)
        self._drop(scanned)
        process = Process(ref.pid, ref.start, ref.execs, scanned.comm, scanned.image, ref.start)
        self._append(process, owner)
        return process

    def _newest(self, pid: int) -> Process | None:
        processes = self._of_pid.get(pid)
        return processes[-1] if processes else None

    def _end_newest(self, pid: int, time: int) -> None:
        newest = self._newest(pid)
        if newest is not None:
            self._budget.end(newest.key, time)

    def _append(self, process: Process, owner: Owner) -> None:
        self._enter(process, owner, lambda pid, process: self._of_pid.setdefault(pid, []).append(process))

    def _enter(self, process: Process, owner: Owner, place: Callable[[int, Process], None]) -> None:
        self._known[process.key] = process
        place(process.pid, process)
        self._budget.add(process.key, owner, process.image)
        for key in self._budget.excess():
            self.evicted[self._budget.owner(key)] += 1
            self._drop(self._known[key])  # type: ignore[index]

    def _drop(self, process: Process) -> None:
        self._budget.remove(process.key)
        del self._known[process.key]
        if self._scanned.get(process.pid) is process:
            del self._scanned[process.pid]
            return
        processes = self._of_pid[process.pid]
        processes.remove(process)  # nearly always the first one
        if not processes:
            del self._of_pid[process.pid]


def _is_of(process: Process, ref: ProcessRef) -> bool:
    """Whether a record's process is this one, whatever it executes."""
    return process.start // TICK == ref.start // TICK and (process.execs is None or process.start == ref.start)
