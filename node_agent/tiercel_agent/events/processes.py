"""The process table: what each process executes, and executed at the time of earlier records.

It is kept from the records of exec, fork and exit, which have a ring buffer of their own. No entry is used by its pid
alone: every record names a process with its start and its count of execs, so that an entry of a reused pid or of
another image doesn't fit, and the process is looked up again.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from tiercel_agent.context import procfs
from tiercel_agent.kernel import records
from tiercel_agent.kernel.records import ExitRecord, FileFacts, ForkRecord, ProcessRef, Section, Sections
from tiercel_agent.lookups.ask import Ask

TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds of one clock tick, the unit of times in /proc."""
_MAX_PROCESSES = 32768
_IMAGES = 4  # of one process
_KEEP_AFTER_EXIT = 30_000_000_000  # ns: records that name an ancestor that has exited may still arrive


@dataclass(frozen=True, slots=True)
class Image:
    """What a process executes since its last exec. Children that have only forked share it.

    ``argv`` includes argv[0]. ``filename`` is the path that was passed to execve, "" if unknown. ``exe`` is None for
    kernel threads and where it couldn't be read. ``started`` is the time of the exec in ns since boot, 0 if it was
    before the agent's start.
    """

    argv: tuple[str, ...]
    env: tuple[str, ...] | None
    exe_path: str
    exe: FileFacts | None
    filename: str = ""
    cwd: str = ""
    started: int = 0


NO_IMAGE = Image((), None, "", None)


@dataclass(frozen=True, slots=True)
class Process:
    """One image of one process. ``start`` is in ns since boot. Where the process was read from /proc, ``execs`` is None
    and ``start`` is only exact to a clock tick. ``before`` is the same process with the image that it had before."""

    pid: int
    start: int
    execs: int | None
    comm: str
    image: Image
    before: Process | None = None


def text(raw: bytes) -> str:
    """Bytes from the kernel as text. Bytes that aren't UTF-8 become surrogate escapes."""
    return raw.decode("utf-8", "surrogateescape")


def words(raw: bytes) -> tuple[str, ...]:
    """NUL-separated strings; the last one may have been cut."""
    return tuple(text(raw).removesuffix("\0").split("\0")) if raw else ()


def image_of(record_sections: Sections, time: int) -> Image:
    """The image that an exec record describes."""

    def payload(kind: int) -> bytes:
        return record_sections[kind][1] if kind in record_sections else b""

    def path(kind: int) -> str:
        return records.whole_path(record_sections[kind]) if kind in record_sections else ""

    facts = payload(Section.EXE)
    return Image(
        argv=words(payload(Section.ARGS)),
        env=words(payload(Section.ENV)) if Section.ENV in record_sections else None,
        exe_path=path(Section.EXE_PATH),
        exe=records.file_facts(facts) if facts else None,
        filename=text(payload(Section.FILENAME)),
        cwd=path(Section.CWD),
        started=time,
    )


class ProcessTable:
    """Images by process. When a process is missing, ``refill`` is called once, to take the records that wait in the
    kernel. ``ask`` makes look-ups that may never end.

    A record of one ring may be read before an earlier record of the other, so a few earlier images of a process are
    kept.
    """

    def __init__(self, refill: Callable[[], None], ask: Ask) -> None:
        self._refill = refill
        self._ask = ask
        self._newest: OrderedDict[int, Process] = OrderedDict()
        self._dead: deque[tuple[int, int, int]] = deque()  # time of exit, pid, start
        self.misses = 0
        self.with_environment = False

    def __len__(self) -> int:
        return len(self._newest)

    def scan(self) -> None:
        """Enters the processes that run already, except those that are known from records, which are newer."""
        for facts in procfs.scan(self._ask, environ=self.with_environment):
            if facts.pid not in self._newest:
                self._enter(_from_procfs(facts))

    def executed(self, ref: ProcessRef, image: Image) -> None:
        before = self._newest.get(ref.pid)
        if before is not None and before.start // TICK != ref.start // TICK:
            before = None
        self._enter(Process(ref.pid, ref.start, ref.execs, text(ref.comm), image, _shortened(before, _IMAGES - 1)))

    def forked(self, record: ForkRecord) -> None:
        child = record.child
        known = self._find(record.parent)
        image = known.image if known else self._missing(record.parent, None)
        self._enter(Process(child.pid, child.start, child.execs, text(child.comm), image))

    def exited(self, record: ExitRecord) -> None:
        self._dead.append((record.time, record.process.pid, record.process.start))
        while self._dead and (record.time - self._dead[0][0] > _KEEP_AFTER_EXIT or len(self._dead) > _MAX_PROCESSES):
            _, pid, start = self._dead.popleft()
            entry = self._newest.get(pid)
            if entry and entry.start // TICK == start // TICK:
                del self._newest[pid]

    def image(self, ref: ProcessRef, parent: ProcessRef | None = None) -> Image:
        """What this process executed at the time of the record; NO_IMAGE if that can't be known any more."""
        known = self._find(ref)
        if known is None:
            self._refill()
            known = self._find(ref)
        return known.image if known is not None else self._missing(ref, parent)

    def by_pid(self, pid: int) -> Process | None:
        """The newest process of that pid; for leaders of sessions and groups, of which records have the pid only."""
        return self._newest.get(pid)

    def _find(self, ref: ProcessRef) -> Process | None:
        entry = self._newest.get(ref.pid)
        while entry is not None:
            if entry.execs is None:
                if entry.start // TICK == ref.start // TICK:
                    return entry
            elif entry.start == ref.start and entry.execs == ref.execs:
                return entry
            entry = entry.before
        return None

    def _missing(self, ref: ProcessRef, parent: ProcessRef | None) -> Image:
        self.misses += 1
        facts = procfs.read_process(self._ask, ref.pid, environ=self.with_environment)
        if facts and facts.start_ticks == ref.start // TICK:
            image = _from_procfs(facts).image
        else:
            # A child that has only forked executes what its parent does; an exec would have raised its count.
            known = self._find(parent) if parent and parent.execs == ref.execs else None
            image = known.image if known else NO_IMAGE
        self._enter(Process(ref.pid, ref.start, ref.execs, text(ref.comm), image))
        return image

    def _enter(self, entry: Process) -> None:
        self._newest[entry.pid] = entry
        self._newest.move_to_end(entry.pid)
        if len(self._newest) > _MAX_PROCESSES:
            self._newest.popitem(last=False)


def _shortened(process: Process | None, length: int) -> Process | None:
    """The chain of images, cut after ``length`` of them."""
    if process is None or length == 0:
        return None
    return replace(process, before=_shortened(process.before, length - 1))


def _from_procfs(facts: procfs.ProcessFacts) -> Process:
    exe = facts.exe
    file = None
    if exe is not None and exe.inode is not None:
        ctime, mtime = divmod(exe.ctime or 0, 1_000_000_000), divmod(exe.mtime or 0, 1_000_000_000)
        traits = records.DETACHED if exe.from_memfd else 0
        file = FileFacts(exe.inode, ctime[0], mtime[0], ctime[1], mtime[1], 0, 0o100000, 0, 1, 0, traits)
    path = exe.path if exe is not None else ""
    image = Image(facts.argv, facts.environ, path.removeprefix("/") if path.startswith("/memfd:") else path, file)
    return Process(facts.pid, facts.start_ticks * TICK, None, facts.comm, image)
