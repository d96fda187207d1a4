"""The detector: this machine's system calls as events."""

from __future__ import annotations

import os
import platform
import select
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from tiercel_agent.context import account_files, paths, procfs
from tiercel_agent.context.accounts import Accounts, host_root
from tiercel_agent.context.cgroups import CgroupTable
from tiercel_agent.context.hostnames import HostNames
from tiercel_agent.context.mount_namespaces import MountNamespaces, host_mount_namespace
from tiercel_agent.detection.exemptions import Exemptions
from tiercel_agent.detection.intake import Intake
from tiercel_agent.detection.loss_totals import LossTotals
from tiercel_agent.detection.partial import unwatched
from tiercel_agent.detection.pending_events import LOOK, read_while_it_runs
from tiercel_agent.detection.source import Counters, Measured, Unwatched
from tiercel_agent.detection.watch import FLOOD_LIMIT, Watch, program_macros, rule_macros
from tiercel_agent.events.live import LiveEvent
from tiercel_agent.events.lookup_context import LookupContext
from tiercel_agent.events.own_process import own_process
from tiercel_agent.events.processes import MEMORY, ProcessTable
from tiercel_agent.filter.budget import BUDGET
from tiercel_agent.filter.rule_counters import Suppressed
from tiercel_agent.filter.tables import make_tables
from tiercel_agent.kernel.bytecode.compiler import CompileError
from tiercel_agent.kernel.bytecode.provider import BytecodeProvider, ProgramSettings
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.kernel.loading.libbpf import LibbpfError
from tiercel_agent.kernel.loading.program_set import ON_CALLS
from tiercel_agent.kernel.machine import Machine, probe_machine, refused
from tiercel_agent.kernel.records import NAMESPACES
from tiercel_agent.kernel.refusals import in_short
from tiercel_agent.kernel.running import wait_for_running_programs
from tiercel_agent.logs import located
from tiercel_agent.lookups.lookups import Lookups
from tiercel_agent.loss import Loss
from tiercel_agent.warning import AgentWarning
from tiercel_agent.workloads.containers import Containers
from tiercel_agent.workloads.inventory import Inventory
from tiercel_agent.workloads.settings import NoCluster, WorkloadSettings
from tiercel_agent.workloads.start import start_inventory
from tiercel_engine.event import Event
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.memory import give_back_memory
from tiercel_engine.resources.node_agent import LossCause
from tiercel_engine.rule import Rule

_AT_ONCE = 64  # events: rules see them before more are read
_READ_ALL = 100_000_000  # ns in which all records of calls are read once, even if there is no room for them
_VALUES = 8192  # bytes that the fields of an event take, about
_LOOKUPS_READY = 60.0  # seconds


class Detector:
    """Events from eBPF; an ``EventSource``. Made by ``open_detector``.

    ``flood_limit`` is as ``watch.FLOOD_LIMIT`` (0: nothing is suppressed); ``meanwhile`` is called about once a second
    while the first programs are compiled; ``process_memory`` is how many bytes the process table may take;
    ``measuring``: the kernel counts every call, for ``measured``.
    """

    def __init__(
        self,
        machine: Machine,
        programs: ProgramSettings,
        requirements: Requirements,
        rules: Sequence[Rule],
        inventory: Inventory,
        flood_limit: int,
        meanwhile: Callable[[], None],
        *,
        process_memory: int = MEMORY,
        measuring: bool = False,
    ) -> None:
        self._machine = machine
        self._measuring = measuring
        self._flood_limit = flood_limit
        self._exemptions = exemptions = Exemptions()
        self._bytecode = BytecodeProvider(programs, exemptions.begin_compiler)
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._loading: Future[tuple[Watch, Sequence[Rule]]] | None = None
        self._retired: Counter[str] = Counter()
        self._all_read_at = 0
        self._suppressed: list[Suppressed] = []
        looked_up_by = [module.__name__ for module in (account_files, paths, procfs)]
        self._lookups = Lookups(looked_up_by, exemptions.begin_lookups)
        self._context = LookupContext(
            ask=self._lookups.ask,
            own=own_process(),
            processes=ProcessTable(self._lookups.ask, self._request_image, process_memory),
            accounts=Accounts(self._lookups.ask, host_root=host_root()),
            containers=Containers(CgroupTable(), MountNamespaces(host_mount_namespace()), inventory),
            hostnames=HostNames(),
            hostname=os.environ.get("NODE_NAME") or platform.node(),
        )
        self._losses = LossTotals(self._context.containers.lost_by)
        self._intake = Intake(self._context, exemptions)
        try:
            self._watch = self._load(requirements, rules, meanwhile)
        except DetectorError:
            self._lookups.close()
            raise
        self._lookups.wait_until_ready(_LOOKUPS_READY)
        self._begin(self._watch)
        try:
            self._unwatched = self._attach(self._watch, rules)
        except DetectorError:
            self.close()
            raise
        self._context.processes.scan()

    @property
    def containers(self) -> Containers:
        """The containers of this machine."""
        return self._context.containers

    @property
    def lasting_warnings(self) -> Sequence[AgentWarning]:
        inventory = self._context.containers.inventory
        fields = self._watch.requirements.condition_fields
        return [*self._machine.warnings, *self._watch.warnings, *inventory.lasting_warnings(fields)]

    def current_warnings(self) -> Sequence[AgentWarning]:
        return [*self._context.containers.inventory.current_warnings(), *self._lookups.warnings()]

    def unwatched(self) -> Sequence[Unwatched]:
        return self._unwatched

    @property
    def hooks(self) -> str:
        return self._machine.hooks.kinds[0] if self._watch.programs.hooks else ""

    def poll(self, timeout: float) -> list[Event]:
        intake = self._intake
        self._read(0.0 if intake.calls else min(timeout, LOOK) if intake.has_pending else timeout)
        return intake.take_events(_AT_ONCE)

    def evaluated(self, event: Event) -> None:
        if self._watch.learner is not None and isinstance(event, LiveEvent):
            self._watch.learner.learn(event)

    def hold(self, event: Event) -> None:
        if isinstance(event, LiveEvent):
            read_while_it_runs(event)

    def size(self, event: Event) -> int:
        return len(event.record.raw) + _VALUES if isinstance(event, LiveEvent) else 0

    def load(self, requirements: Requirements, rules: Sequence[Rule] = ()) -> None:
        self._loading = self._loader.submit(self._load_beside, requirements, rules)

    def is_loading(self) -> bool:
        return self._loading is not None and not self._loading.done()

    def switch(self) -> list[Event]:
        if self._loading is None:
            raise ValueError("nothing was loaded")
        loading, self._loading = self._loading, None
        old, (new, rules) = self._watch, loading.result()
        unwatched_now = self._attach(new, rules)
        instant = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wait_for_running_programs()
        settled = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        old.programs.detach()
        last = self._intake.hand_over(new, instant, settled)
        self._watch, self._unwatched = new, unwatched_now
        self._begin(new)
        self._retire(old)
        return last

    def finish(self) -> list[Event]:
        self._watch.programs.detach()
        wait_for_running_programs()
        return self._intake.finish()

    def concerns_system(self, event: Event) -> bool:
        return not (isinstance(event, LiveEvent) and event.record.header.flags & NAMESPACES)

    def cgroup(self, event: Event) -> int:
        return event.record.header.cgroup if isinstance(event, LiveEvent) else 0

    def suppressed(self) -> list[Suppressed]:
        suppressed, self._suppressed = [*self._suppressed, *self._watch.rule_counters.read()], []
        return suppressed

    def counters(self) -> Counters:
        totals = self._retired + Counter(self._watch.programs.counters())
        lost = {
            Loss(LossCause.CALL_BUFFER_FULL): totals["lost calls"],
            Loss(LossCause.PROCESS_BUFFER_FULL): totals["lost processes"],
            Loss(LossCause.CALLS_SKIPPED): totals["skipped calls"],
            Loss(LossCause.PROCESSES_SKIPPED): totals["skipped processes"],
            Loss(LossCause.UNREADABLE_RECORD): totals["failed records"] + self._intake.unreadable.count,
            Loss(LossCause.LOOKUP_UNANSWERED): self._lookups.unanswered,
        }
        self._losses.add(self._watch.losses.read())
        shed = self._intake.calls.lost
        while shed:
            self._losses.count(Loss(LossCause.CALL_BUFFER_FULL), *shed.popitem())
        evicted = self._context.processes.evicted
        while evicted:
            self._losses.count(Loss(LossCause.PROCESS_TABLE_FULL), *evicted.popitem())
        lost = {loss: count for loss, count in lost.items() if count} | self._losses.totals()
        return Counters(self._intake.count, lost, self._watch.types, totals["filtered calls"])

    def measured(self) -> Measured:
        """What the kernel has counted since the last change of rules. Only of a detector that measures."""
        self._suppressed += self._watch.rule_counters.read()
        programs = self._watch.programs
        spent = programs.statistics(ON_CALLS)
        seen: Counter[str] = Counter()
        for number, count in programs.calls_seen().items():
            if (call := self._watch.call_of(number)) is not None:
                seen[call.name] += count
        return Measured(dict(seen), self._watch.rule_counters.passed(), spent.run_time, spent.runs)

    def close(self) -> None:
        loading, self._loading = self._loading, None
        self._loader.shutdown()
        if loading is not None:
            with suppress(DetectorError):
                loading.result()[0].close()
        self._watch.close()
        self._context.hostnames.close()
        self._context.accounts.close()
        self._context.containers.close()
        self._lookups.close()

    # records

    def _read(self, timeout: float) -> None:
        self._poller.poll(timeout * 1000)
        programs = self._watch.programs
        begun = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        calls = programs.calls.unread()
        # What is told of control groups and processes was written before the calls that are made in them.
        programs.cgroups.consume(programs.cgroups.unread())
        self._intake.take_changes()
        programs.processes.consume(programs.processes.unread())
        waiting = self._intake.calls
        # Where a flood fills the queue, others' calls are found behind it all the same, and it loses what is too much.
        is_due = begun - self._all_read_at >= _READ_ALL
        programs.calls.consume(calls if is_due else min(calls, waiting.room))
        if is_due:
            self._all_read_at = begun
            self._context.processes.forget(waiting.oldest() or begun)

    def _request_image(self, pid: int) -> None:
        self._intake.watch.programs.request_image(pid)

    # programs

    def _load(
        self, requirements: Requirements, rules: Sequence[Rule], meanwhile: Callable[[], None] = lambda: None
    ) -> Watch:
        tables = make_tables(rules, replace(BUDGET, map_bytes=self._machine.largest_value)) if rules else None
        try:
            macros = program_macros(self._machine, requirements, tables, measuring=self._measuring)
            bytecode = self._bytecode.get(macros, meanwhile)
            give_back_memory()  # what making rules and tables took, before the rings are mapped
            return Watch(
                bytecode,
                self._machine,
                requirements,
                rules,
                tables,
                self._flood_limit,
                self._intake.take_call,
                self._intake.take_process,
                self._intake.take_cgroup,
            )
        except (CompileError, LibbpfError) as error:
            raise refused(error, self._machine) from error

    def _load_beside(self, requirements: Requirements, rules: Sequence[Rule]) -> tuple[Watch, Sequence[Rule]]:
        """In a thread of its own, while this one goes on reading. Raises DetectorError."""
        try:
            with self._exemptions.expecting_compiler():
                return self._load(requirements, rules), rules
        except DetectorError:
            raise
        except Exception as error:  # nobody foresaw it: the rules that run go on
            raise DetectorError(f"the rules could not be loaded: unexpected error: {located(error)}") from error

    def _attach(self, watch: Watch, rules: Sequence[Rule]) -> Sequence[Unwatched]:
        """Attaches the programs, and returns what isn't seen all the same. Raises DetectorError, and has closed the
        watch then."""
        try:
            watch.attach()
        except LibbpfError as error:
            watch.close()
            raise refused(error, self._machine) from error
        self._context.own = own_process()  # with the programs, maps and links of this watch
        missing = {name: in_short(why, self._machine.facts) for name, why in watch.programs.missing.items()}
        return unwatched(missing, rules, watch.requirements.event_types)

    def _begin(self, watch: Watch) -> None:
        """Reads the records of this watch from now on."""
        self._intake.watch = watch
        requirements = watch.requirements
        self._context.processes.with_environment = "WANT_ENV" in rule_macros(requirements)
        self._context.hostnames.watch(requirements.host_names)
        self._context.containers.inventory.ask_for(requirements.condition_fields | requirements.output_fields)
        self._context.requested = requirements.condition_fields | requirements.output_fields
        self._poller = select.poll()
        self._poller.register(watch.programs.processes.fileno, select.POLLIN)
        self._poller.register(watch.programs.calls.fileno, select.POLLIN)
        self._poller.register(watch.programs.cgroups.fileno, select.POLLIN)
        self._poller.register(self._context.containers.inventory.fileno, select.POLLIN)

    def _retire(self, watch: Watch) -> None:
        """Adds what the old programs have counted to the totals, and closes them."""
        self._suppressed += watch.rule_counters.read()
        self._losses.add(watch.losses.read())
        self._retired.update(watch.programs.counters())
        watch.close()


def open_detector(
    requirements: Requirements,
    rules: Sequence[Rule] = (),
    flood_limit: int = FLOOD_LIMIT,
    *,
    workloads: WorkloadSettings | None = None,
    programs: ProgramSettings | None = None,
    meanwhile: Callable[[], None] = lambda: None,
    process_memory: int = MEMORY,
    measuring: bool = False,
) -> Detector:
    """Watches this machine for what the requirements ask. Raises DetectorError: what lacks, and what to do.

    ``workloads`` says where to ask for containers and pods: the runtimes alone by default; ``programs`` where compiled
    programs are kept: nowhere by default; ``meanwhile`` and ``process_memory`` are as for ``Detector``.
    """
    machine = probe_machine()
    try:
        inventory = start_inventory(workloads or WorkloadSettings())
    except NoCluster as error:
        raise DetectorError(str(error)) from error
    return Detector(
        machine,
        programs or ProgramSettings(),
        requirements,
        rules,
        inventory,
        flood_limit,
        meanwhile,
        process_memory=process_memory,
        measuring=measuring,
    )
