"""The kernel's records become events, and what is known of processes and containers is kept up to date by them."""

from __future__ import annotations

from tiercel_agent.detection.call_queue import CallQueue
from tiercel_agent.detection.exemptions import Exemptions
from tiercel_agent.detection.handover import Handover
from tiercel_agent.detection.pending_events import PendingEvents
from tiercel_agent.detection.watch import PROCEXIT, Watch
from tiercel_agent.events.images import Image, image_of
from tiercel_agent.events.live import LiveEvent
from tiercel_agent.events.lookup_context import LookupContext
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_agent.events.syscalls import BY_NAME, Syscall
from tiercel_agent.kernel import records
from tiercel_agent.kernel.boot_clock import BootClock
from tiercel_agent.kernel.unreadable import UnreadableRecords
from tiercel_engine.event import Event


class Intake:
    """Takes records in the order in which they are read. One thread calls all methods.

    Processes that are ``exempt`` make no events. ``watch`` is the one whose records are read.
    """

    watch: Watch

    def __init__(self, context: LookupContext, exempt: Exemptions) -> None:
        self._context = context
        self._exempt = exempt
        self._clock = BootClock()
        self.calls = CallQueue()
        self.unreadable = UnreadableRecords()
        self._events: list[LiveEvent] = []
        self._undecided: list[LiveEvent] = []
        """Those of children of the agent that may be compilers."""
        self._pending = PendingEvents()
        self.count = 0
        """Events so far."""

    @property
    def has_pending(self) -> bool:
        """Whether events wait until more is known of their containers."""
        return bool(self._pending)

    def take_events(self, most: int | None = None) -> list[Event]:
        """The events of the records so far, in the order of their times, without those that wait; of calls, the next
        ``most`` whose turn it is."""
        self._make(most)
        if not self._exempt.expected:
            self._decide()
        events, self._events = self._events, []
        for event in events:
            self.count += 1
            event.record.number = self.count
        ready = self._pending.sort(events)
        ready.sort(key=lambda event: event.time)
        return list(ready)

    def finish(self) -> list[Event]:
        """The events that are left of the watch, whose programs are detached: in its rings, and waiting."""
        self.watch.drain()
        return self._last_events()

    def hand_over(self, new: Watch, instant: int, settled: int) -> list[Event]:
        """Goes on with another watch. The programs of the one before are detached; its last events are returned.

        The times are as for ``Handover``.
        """
        self.watch.drain()
        self._make()
        self._decide()
        reported = self._events
        self._events = [event for event in reported if event.record.header.time < instant]
        last = self._last_events()
        self.watch = new
        new.drain()  # all that both may have seen
        self._make()
        handover = Handover(reported, instant, settled)
        self._events = [event for event in self._events if handover.counts(event)]
        return last

    def take_call(self, watch: Watch, record: bytes) -> None:
        """Takes a record of a system call, or of the end of a process as an event."""
        self.calls.put(watch, record)

    def take_process(self, watch: Watch, record: bytes) -> None:
        """Takes a record of the start, the end or a new program of a process."""
        match records.record_type(record):
            case records.EXEC:
                header = records.header(record)
                process = records.process_at(record, records.SELF_OFFSET)
                again = bool(header.flags & records.AGAIN)
                image = image_of(records.sections(record), 0 if again else header.time)
                self._context.processes.executed(process, image, header.time, header.cgroup, told_late=again)
                self._context.containers.executed(header, process)
                if _exec(header).name in watch.types and not again:
                    self.calls.put(watch, record, image)
            case records.FORK:
                self._context.processes.forked(records.fork_record(record))
            case records.EXIT:
                self._context.processes.exited(records.exit_record(record))

    def take_cgroup(self, record: bytes) -> None:
        """Takes a record of a control group that was made or removed."""
        gone = self._context.containers.take(records.cgroup_record(record))
        if gone is not None and self.watch.learner is not None:
            self.watch.learner.forget({gone})

    def take_changes(self) -> None:
        """Takes what runtimes and the API have told of containers. The kernel forgets what it learned of their
        processes: it may not hold any more."""
        changes = self._context.containers.inventory.take_news()
        learner = self.watch.learner
        if learner is None:
            return
        if changes.node:
            learner.forget(None)
        elif changes.containers:
            learner.forget(changes.containers)

    def _make(self, most: int | None = None) -> None:
        """Makes events of records of calls that wait: of all, or of the next ``most``."""
        while self.calls and (most is None or most > 0):
            try:
                self._add(*self.calls.take())
            except Exception as error:  # that of others goes on
                self.unreadable.note(error)
            most = most - 1 if most is not None else None

    def _decide(self) -> None:
        """Events of children of the agent count, unless these are exempt by now."""
        covers, undecided = self._exempt.covers, self._undecided
        self._events += [each for each in undecided if not covers(each.record.header, each.record.process)]
        self._undecided = []

    def _last_events(self) -> list[Event]:
        self.take_changes()
        self._decide()
        return [*self.take_events(), *self._pending.release()]

    def _add(self, watch: Watch, record: bytes, image: Image | None) -> None:
        header = records.header(record)
        call = _call(watch, header)
        if call is None:
            return
        process = records.process_at(record, records.SELF_OFFSET)
        if self._exempt.covers(header, process):
            return
        image = image or self._context.processes.image(process)
        moment = self._clock.wall_time(header.time)
        event = LiveEvent(SyscallRecord(moment, call, header, process, record, image, self._context))
        parent = records.process_at(record, records.ANCESTORS_OFFSET) if self._exempt.expected else None
        may_be_exempt = parent is not None and self._exempt.is_child(parent)
        (self._undecided if may_be_exempt else self._events).append(event)


def _call(watch: Watch, header: records.Header) -> Syscall | None:
    match header.type:
        case records.EXEC:
            return _exec(header)
        case records.EXIT:
            return PROCEXIT
        case number:
            return watch.call_of(number)


def _exec(header: records.Header) -> Syscall:
    return BY_NAME["execveat" if header.flags & records.BY_DESCRIPTOR else "execve"]
