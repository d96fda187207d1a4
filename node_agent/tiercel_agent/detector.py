"""The detector: this machine's system calls as events."""

from __future__ import annotations

import os
import platform
import select
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tiercel_agent.context.accounts import Accounts
from tiercel_agent.context.cgroups import CgroupTable
from tiercel_agent.context.hostnames import HostNames
from tiercel_agent.events import wire
from tiercel_agent.events.live import LiveEvent
from tiercel_agent.events.occurrence import Occurrence, Surroundings
from tiercel_agent.events.processes import ProcessTable, image_of
from tiercel_agent.events.syscalls import BY_NAME, SYSCALLS, Syscall, native_numbers, plans
from tiercel_agent.filter.learner import Learner, Maps
from tiercel_agent.kernel.btf import Btf
from tiercel_agent.kernel.compiler import BccMissing, CompileError
from tiercel_agent.kernel.libbpf import LibbpfError
from tiercel_agent.kernel.offsets import MissingMembers, resolve
from tiercel_agent.kernel.permission import REFUSED, blind_spots, refusal
from tiercel_agent.kernel.programs import ProgramSet
from tiercel_agent.source import Counters, DetectorError
from tiercel_engine.evaluation.requirements import Requirements
from tiercel_engine.event import Event
from tiercel_engine.event_types import SYSCALL_EVENT_TYPES
from tiercel_engine.rule import Rule

_OLDEST_KERNEL = (5, 8)
_CALLS_PAGES = 2048  # 8 MiB
_PROCESSES_PAGES = 1024  # 4 MiB
_DATA_BYTES = 256
_HANDOVER = 0.01  # seconds in which old programs finish what they have begun
_READ_EVERY = 0.05  # seconds
_CLOCK_EVERY = 1_000_000_000  # ns
_ALL = 1 << 30  # records


class Detector:
    """Events from eBPF; an ``EventSource``. Made by ``open_detector``."""

    def __init__(
        self, offsets: Mapping[str, int], notes: Sequence[str], requirements: Requirements, rules: Sequence[Rule]
    ) -> None:
        self.notes = notes
        self._offsets = dict(offsets)
        self._machine = platform.machine()
        self._events: list[LiveEvent] = []
        self._number = 0
        self._types: frozenset[str] = frozenset()
        self._calls: dict[int, Syscall] = {}
        self._since = 0
        self._clock_read = 0
        self._epoch_of_boot = 0
        self._retired: dict[str, int] = {}
        self._learner: Learner | None = None
        self._world = Surroundings(
            processes=ProcessTable(self._drain_processes),
            accounts=Accounts(),
            cgroups=CgroupTable(),
            hostnames=HostNames(),
            hostname=os.environ.get("NODE_NAME") or platform.node(),
        )
        self._programs = self._load(requirements)
        self._poller = select.poll()
        self._watch_rings()
        self._ask(requirements)
        self._learner = self._learn_from_now(rules)
        self._world.processes.scan()

    def unmatched(self, event: Event) -> None:
        if self._learner is not None and isinstance(event, LiveEvent):
            self._learner.learn(event)

    def poll(self, timeout: float) -> list[Event]:
        self._read(timeout)
        events, self._events = self._events, []
        events.sort(key=lambda event: event.time)
        for event in events:
            self._number += 1
            event.occurrence.number = self._number
        return list(events)

    def update(self, requirements: Requirements, rules: Sequence[Rule] = ()) -> None:
        if _macros(requirements) == _wanted(self._programs.macros):
            self._ask(requirements)
            self._learner = self._learn_from_now(rules)
            return
        # Old and new programs run side by side; each record counts in one of them, by the time that it bears.
        old, types = self._programs, self._types
        new = self._load_beside(requirements)
        self._programs = new
        self._ask(requirements)
        instant = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        time.sleep(_HANDOVER)
        old.detach()
        kept = self._events
        self._events = []
        self._types |= types
        self._programs = old
        old.processes.consume(_ALL)
        old.calls.consume(_ALL)
        kept += [event for event in self._events if event.occurrence.header.time < instant]
        # like the agent itself, its compiler is not watched
        self._events = [event for event in kept if event.occurrence.process.pid != new.compiler]
        self._since = instant
        for name, number in old.counters().items():
            self._retired[name] = self._retired.get(name, 0) + number
        old.close()
        self._programs = new
        self._watch_rings()
        self._ask(requirements)
        self._learner = self._learn_from_now(rules)

    def counters(self) -> Counters:
        totals = {name: number + self._retired.get(name, 0) for name, number in self._programs.counters().items()}
        lost = {
            "system calls, because the ring buffer was full": totals["lost calls"],
            "process starts and ends, because the ring buffer was full": totals["lost processes"],
            "records that could not be read": totals["failed records"],
        }
        told = {cause: number for cause, number in lost.items() if number}
        return Counters(self._number, told, self._types, totals["filtered calls"])

    def close(self) -> None:
        self._programs.close()
        self._world.hostnames.close()
        self._world.accounts.close()
        self._world.cgroups.close()

    # records

    def _read(self, timeout: float) -> None:
        self._poller.poll(timeout * 1000)
        self._programs.processes.consume(_ALL)
        self._programs.calls.consume()

    def _drain_processes(self) -> None:
        self._programs.processes.consume(_ALL)

    def _take_call(self, record: bytes) -> None:
        header = wire.header(record)
        if header.time < self._since:
            return
        call = BY_NAME["procexit"] if header.type == wire.EXIT else self._calls.get(header.type)
        if call is not None:
            self._add(call, header, record)

    def _take_process(self, record: bytes) -> None:
        match wire.record_type(record):
            case wire.EXEC:
                header = wire.header(record)
                process = wire.process_at(record, wire.SELF_OFFSET)
                again = bool(header.flags & wire.AGAIN)
                image = image_of(wire.sections(record), 0 if again else header.time)
                self._world.processes.executed(process, image)
                name = "execveat" if header.flags & wire.BY_DESCRIPTOR else "execve"
                if name in self._types and not again and header.time >= self._since:
                    self._add(BY_NAME[name], header, record)
            case wire.FORK:
                self._world.processes.forked(wire.fork_record(record))
            case wire.EXIT:
                self._world.processes.exited(wire.exit_record(record))

    def _add(self, call: Syscall, header: wire.Header, record: bytes) -> None:
        process = wire.process_at(record, wire.SELF_OFFSET)
        parent = wire.process_at(record, wire.ANCESTORS_OFFSET)
        image = self._world.processes.image(process, parent if parent.pid else None)
        if header.time - self._clock_read > _CLOCK_EVERY:
            self._read_clock()
        moment = header.time + self._epoch_of_boot
        self._events.append(LiveEvent(Occurrence(moment, call, header, process, record, image, self._world)))

    def _read_clock(self) -> None:
        self._clock_read = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._epoch_of_boot = time.time_ns() - self._clock_read

    # programs

    def _load(self, requirements: Requirements) -> ProgramSet:
        macros = {
            **self._offsets,
            **({"X86": 1} if self._machine == "x86_64" else {}),
            **_macros(requirements),
            "AGENT_PID": os.getpid(),
            "CALLS_PAGES": _CALLS_PAGES,
            "PROCESSES_PAGES": _PROCESSES_PAGES,
        }
        try:
            programs = ProgramSet(macros, self._take_call, self._take_process)
        except (CompileError, LibbpfError) as error:
            raise _explained(error) from error
        return programs

    def _load_beside(self, requirements: Requirements) -> ProgramSet:
        """Loads while reading on: compiling takes so long that the rings in use would run full."""
        with ThreadPoolExecutor(1) as compiler:
            loading = compiler.submit(self._load, requirements)
            while not loading.done():
                self._read(_READ_EVERY)
            return loading.result()

    def _ask(self, requirements: Requirements) -> None:
        """Lets the calls pass that these rules can match."""
        self._world.processes.with_environment = "WANT_ENV" in _macros(requirements)
        wanted = SYSCALL_EVENT_TYPES if requirements.event_types is None else requirements.event_types
        calls = [call for call in SYSCALLS if call.name in wanted]
        self._programs.set_plans(plans(calls, self._machine))
        self._calls = {number: call for call in calls for number in native_numbers(call, self._machine)}
        self._types = frozenset(call.name for call in calls)
        self._world.hostnames.watch(requirements.host_names)
        self._world.requested = requirements.condition_fields | requirements.output_fields

    def _learn_from_now(self, rules: Sequence[Rule]) -> Learner:
        """The filter for these rules; without rules nothing is filtered."""
        before = self._learner.generation if self._learner else 0
        learner = Learner(Maps(*(self._programs.maps[name] for name in Maps._fields)), before)
        learner.use(rules)
        return learner

    def _watch_rings(self) -> None:
        self._poller = select.poll()
        self._poller.register(self._programs.processes.fileno, select.POLLIN)
        self._poller.register(self._programs.calls.fileno, select.POLLIN)


def _macros(requirements: Requirements) -> dict[str, int]:
    """What the programs must carry beyond the ordinary for these rules."""
    fields = requirements.condition_fields | requirements.output_fields
    wanted = {}
    if any(field.startswith(("proc.env", "proc.aenv")) for field in fields):
        wanted["WANT_ENV"] = 1
    if "proc.cwd" in fields:
        wanted["WANT_CWD"] = 1
    if fields & {"evt.buffer", "evt.buflen", "evt.arg.data", "evt.args", "evt.info"}:
        wanted["WANT_DATA"] = _DATA_BYTES
    if requirements.event_types is None or "procexit" in requirements.event_types:
        wanted["WANT_EXIT"] = 1
    return wanted


def _wanted(macros: Mapping[str, int]) -> dict[str, int]:
    return {name: value for name, value in macros.items() if name.startswith("WANT_")}


def _explained(error: CompileError | LibbpfError) -> DetectorError:
    text, log = str(error), error.log if isinstance(error, CompileError) else ""
    if isinstance(error, BccMissing):
        return DetectorError(f"bcc can't be used ({text}): apt-get install python3-bpfcc, for a Python that sees it")
    if any(sign in text + log for sign in ("Operation not permitted", "super-user")):
        return DetectorError(REFUSED)
    return DetectorError(f"eBPF programs could not be loaded, please report it: {text}", log)


def open_detector(requirements: Requirements, rules: Sequence[Rule] = ()) -> Detector:
    """Watches this machine for what the requirements ask. Raises DetectorError: what lacks, and what to do."""
    release = platform.release()
    if tuple(int(part) for part in release.split("-")[0].split(".")[:2]) < _OLDEST_KERNEL:
        raise DetectorError(f"kernel {release} is too old: 5.8 or newer is needed")
    if reason := refusal():
        raise DetectorError(reason)
    try:
        btf = Btf()
    except LibbpfError as error:
        raise DetectorError(str(error.strerror)) from error
    try:
        offsets, notes = resolve(btf, platform.machine())
    except MissingMembers as error:
        raise DetectorError(f"kernel {release} has no {error}: it can't be watched, please report it") from error
    finally:
        btf.close()
    return Detector(offsets, [*notes, *blind_spots()], requirements, rules)
