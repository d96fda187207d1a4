"""Learning: each call that reaches user space tells the candidate sets by which the kernel filters calls like it.

The sets are computed exactly, from what the rules ask of the process, of the call's arguments and result, and of the
ends of a connection. What isn't certain is not written to the kernel, which then takes all clauses for candidates.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable
from socket import AF_INET, AF_INET6, htons
from struct import Struct
from sys import byteorder
from time import CLOCK_BOOTTIME, clock_gettime_ns
from typing import NamedTuple

from tiercel_agent.context.container import ContainerId
from tiercel_agent.events.descriptor import OpenSocket
from tiercel_agent.events.images import NO_IMAGE
from tiercel_agent.events.live import LiveEvent
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_agent.events.syscalls import RETURNED, SENDS, SUBJECT_END, Family
from tiercel_agent.filter.candidates import CandidateSets, to_words
from tiercel_agent.filter.clauses import Partition
from tiercel_agent.filter.decidability import Signal
from tiercel_agent.filter.tables import Tables
from tiercel_agent.kernel.loading.libbpf import Map
from tiercel_agent.kernel.records import LINEAGE_ENDS, Section
from tiercel_engine.evaluation.codegen import compile_program
from tiercel_engine.evaluation.verdicts import Verdicts, compile_verdicts
from tiercel_engine.matching.matcher import NAMESPACE
from tiercel_engine.matching.owners import SYSTEM
from tiercel_engine.regexes import POOLS, REGEXES, Regexes

_FACTS = Struct("=Ii6I3Q")
_CALL_KEY_SIZE = 24
_PROCESS = Struct("=4Q4I")
_CONNECTION = Struct("=6HI16s16s24s")
_KNOWN_PROCESS, _KNOWN_CALL, _KNOWN_CONNECTION, _NOT_TO_BE_LEARNED = 1, 2, 8, 16  # bpf/records.h
_KIND_UNKNOWN = 0xFF
_PATIENCE = 3
"""A process is learned from its third call that comes to user space on: many processes end before."""
_USED: dict[int, int] = {AF_INET: 8, AF_INET6: 24}
"""Bytes of a socket address up to the end of the address proper."""
_MAX_PROCESSES = 16384
_PROCESS_SLOTS = 32768


class Facts(NamedTuple):
    """``struct filter_facts`` of bpf/records.h."""

    call: int
    result: int
    arg0: int
    arg1: int
    arg2: int
    kind: int
    known: int
    padding: int
    start: int
    cred: int
    as_of: int


class Maps(NamedTuple):
    """The kernel's maps that are written here, by their names in bpf/."""

    call_sets: Map
    connection_sets: Map
    process_classes: Map


HOST = None
"""The owner of what is learned of processes outside of containers. Other owners are namespaces of pods, and "" for all
containers outside of pods."""


class CandidateSetStore:
    """Where the learned candidate sets are stored: in the kernel's map, behind the sets that were made with the rules,
    which end at the word ``begin``. Equal sets are stored once.

    Programs choose how many different sets are learned of them. So half of the room is for the host alone, and of the
    other half, each other owner may take a quarter of what is free at most.
    """

    def __init__(self, memory: memoryview, begin: int) -> None:
        self._memory = memory
        self._end = begin
        self._places: dict[tuple[int, ...], int] = {}
        room = max(0, len(memory) - begin)
        self._free_for_host = room - room // 2
        self._free = room // 2
        self._taken: Counter[str] = Counter()

    def place(self, words: tuple[int, ...], owner: str | None) -> int | None:
        """The index of the set's first word; None if there is no room for the owner's sets."""
        place = self._places.get(words)
        if place is None:
            if not self._take(len(words), owner):
                return None
            place = self._places[words] = self._end
            for offset, word in enumerate(words):
                self._memory[place + offset] = word
            self._end += len(words)
        return place

    def _take(self, words: int, owner: str | None) -> bool:
        """Whether the owner may take so many words. They are taken then."""
        if owner is HOST:
            if words > self._free_for_host:
                return False
            self._free_for_host -= words
            return True
        if self._taken[owner] + words > self._free // 4:
            return False
        self._taken[owner] += words
        self._free -= words
        return True


def _owner(event: LiveEvent) -> str | None:
    """Whose room the sets that are learned from an event take."""
    if event.record.container is None:
        return HOST
    namespace = event[NAMESPACE]
    return namespace if isinstance(namespace, str) else ""


class Learner:
    """Learns for one set of rules and the programs that run with them.

    ``since``, in ns since boot, is when the programs were attached. They don't know what changed before, so nothing is
    learned from what a process was before.
    """

    def __init__(self, maps: Maps, tables: Tables, store: CandidateSetStore) -> None:
        self.since = 0
        self.with_processes = True
        """Whether the programs notice changes of processes. If they don't, nothing may be learned of processes."""
        self._maps = maps
        self._store = store
        self._waiting: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._learned: OrderedDict[tuple[int, int, int], tuple[int, ContainerId | None]] = OrderedDict()
        self._clauses = tables.clauses
        partitions = self._clauses.partitions
        self._words = tables.process_words
        self._partition_of = {number: partition for partition in partitions for number in partition.numbers()}
        self._first_words = tables.first_words
        of_processes = self._process_atoms()
        of_system = of_processes.pop(SYSTEM, set())
        self._of_system = self._verdicts_on(of_system, REGEXES)
        self._of_namespaces = {
            namespace: self._verdicts_on(atoms - of_system, POOLS.of(namespace))
            for namespace, atoms in of_processes.items()
        }
        self._by_process = {
            partition: CandidateSets(self._clauses, partition, {Signal.OWN, Signal.PROCESS}) for partition in partitions
        }
        self._by_own = {partition: CandidateSets(self._clauses, partition, {Signal.OWN}) for partition in partitions}
        self._evaluators: dict[tuple[Partition, Signal], Callable[[LiveEvent], int]] = {}

    def learn(self, event: LiveEvent) -> None:
        """Learns from an event that has come to user space."""
        section = event.record.sections.get(Section.FILTER)
        if section is None:
            return
        facts = Facts._make(_FACTS.unpack_from(section[1]))
        partition = self._partition_of.get(facts.call)
        if facts.known & _NOT_TO_BE_LEARNED or partition is None:
            return
        if not facts.known & _KNOWN_CALL and facts.kind != _KIND_UNKNOWN:
            self._write(self._maps.call_sets, section[1][:_CALL_KEY_SIZE], partition, Signal.CALL, event)
        if self.with_processes and facts.as_of > self.since:
            self._process(event, facts)
        if event.record.call.flags & SUBJECT_END and not facts.known & _KNOWN_CONNECTION:
            key = _connection(facts.call, event.record)
            if key is not None:
                self._write(self._maps.connection_sets, key, partition, Signal.CONNECTION, event)

    def forget(self, containers: Collection[ContainerId] | None) -> None:
        """Makes void what was learned of the processes in these containers (None: of all processes), since something
        that it was computed from has changed. The processes are then learned anew."""
        for (pid, _, _), (_, container) in self._learned.items():
            if containers is None or container in containers:
                self._void(pid)

    def _void(self, pid: int) -> None:
        self._maps.process_classes.update(_u32(pid % _PROCESS_SLOTS), bytes(_PROCESS.size))

    def _atoms(self, partitions: Iterable[Partition], signals: set[Signal]) -> list[int]:
        return sorted(
            {atom for partition in partitions for atom, signal in partition.signals.items() if signal in signals}
        )

    def _write(self, map_: Map, key: bytes, partition: Partition, signal: Signal, event: LiveEvent) -> None:
        evaluator = self._evaluators.get((partition, signal))
        if evaluator is None:
            evaluator = self._evaluators[partition, signal] = self._evaluator(partition, signal)
        place = self._store.place(tuple(to_words(evaluator(event), partition.words)), _owner(event))
        if place is not None:
            map_.update(key, _u32(place))

    def _evaluator(self, partition: Partition, signal: Signal) -> Callable[[LiveEvent], int]:
        sets = CandidateSets(self._clauses, partition, {signal})
        holding = compile_program(self._clauses.graph, [(atom, atom) for atom in self._atoms([partition], {signal})])
        return lambda event: sets.of(holding(event))

    # processes

    def _process_atoms(self) -> dict[str, set[int]]:
        """The tests that a process decides, by whose rules have them."""
        clauses = self._clauses
        found: dict[str, set[int]] = {}
        for partition in clauses.partitions:
            atoms = {atom for atom, signal in partition.signals.items() if signal in (Signal.OWN, Signal.PROCESS)}
            for clause in partition.clauses:
                owner = clauses.namespaces[clause.rule] if clause.rule >= 0 else SYSTEM
                found.setdefault(owner, set()).update(clauses.graph.reachable(clause.parts) & atoms)
        return found

    def _verdicts_on(self, atoms: Iterable[int], regexes: Regexes) -> Callable[[LiveEvent], Verdicts]:
        return compile_verdicts(self._clauses.graph, sorted(atoms), regexes)

    def _verdicts(self, event: LiveEvent) -> Verdicts:
        """Which tests of the event's process hold, and which are undecided. Those of a namespace's rules are made for
        its own pods alone: for all others its clauses are ruled out by their scope, which doesn't hold then."""
        verdicts = self._of_system(event)
        if not self._of_namespaces:
            return verdicts
        namespace = event[NAMESPACE]
        of_namespace = self._of_namespaces.get(namespace) if isinstance(namespace, str) else None
        return verdicts | of_namespace(event) if of_namespace is not None else verdicts

    def _process(self, event: LiveEvent, facts: Facts) -> None:
        """Writes the candidate sets of the event's process, which the kernel doesn't know, if they are still true."""
        record = event.record
        pid, header = record.process.pid, record.header
        identity = (pid, facts.start, facts.cred)
        # First what takes no time: in a flood most records are older than what was written since they were made.
        if facts.as_of < self._learned.get(identity, (0, None))[0] or header.flags & LINEAGE_ENDS:
            return
        if not record.context.containers.is_known(header.cgroup, pid) or not _is_known(record):
            return
        patience = self._waiting[pid, facts.start] = self._waiting.get((pid, facts.start), 0) + 1
        if len(self._waiting) > _MAX_PROCESSES:
            self._waiting.popitem(last=False)
        if patience < _PATIENCE:
            return
        owner = _owner(event)
        verdicts = self._verdicts(event)
        whole = self._process_set(self._by_process, verdicts, owner)
        own = self._process_set(self._by_own, verdicts, owner)
        if whole is None or own is None:
            return
        self._write_process(event, facts, whole, own)
        self._learned[identity] = clock_gettime_ns(CLOCK_BOOTTIME), record.container
        if len(self._learned) > _MAX_PROCESSES:
            (oldest, _, _), _ = self._learned.popitem(last=False)
            self._void(oldest)

    def _process_set(
        self, by_partition: dict[Partition, CandidateSets], verdicts: Verdicts, owner: str | None
    ) -> int | None:
        words = [0] * self._words
        for partition, sets in by_partition.items():
            first = self._first_words[partition]
            words[first : first + partition.words] = to_words(
                sets.of(verdicts.holding, verdicts.undecided), partition.words
            )
        return self._store.place(tuple(words), owner)

    def _write_process(self, event: LiveEvent, facts: Facts, whole: int, own: int) -> None:
        """Writes the entry in steps, so that it is void while it is being written. If the process has changed since
        ``as_of``, the kernel itself knows that the entry is void."""
        pid = event.record.process.pid
        classes, slot = self._maps.process_classes, _u32(pid % _PROCESS_SLOTS)
        entry = (facts.start, facts.cred, event.record.header.cgroup, facts.as_of, whole, own)
        self._void(pid)
        classes.update(slot, _PROCESS.pack(*entry, 0, pid))
        classes.update(slot, _PROCESS.pack(*entry, 1, pid))


def _is_known(record: SyscallRecord) -> bool:
    """Whether it is known what the process and all of its ancestors execute. What is unknown now may become known
    later."""
    images = (record.image, *map(record.ancestor_image, range(len(record.ancestors))))
    return all(image is not NO_IMAGE for image in images)


def _connection(call: int, record: SyscallRecord) -> bytes | None:
    """The key by which the kernel's filter knows a connection (``struct connection_key`` of bpf/maps.h); None if the
    record doesn't have all of it."""
    socket = record.descriptor
    if not isinstance(socket, OpenSocket):
        return None
    facts = socket.facts
    kind = (call, facts.family, facts.type, facts.protocol)
    if facts.family not in (AF_INET, AF_INET6):
        return _CONNECTION.pack(*kind, 0, 0, 0, b"", b"", b"")
    width = 4 if facts.family == AF_INET else 16
    accepts, messages = record.call.descriptor == RETURNED, record.call.family is Family.MESSAGE
    passed = record.sections.get(Section.ADDRESS, (0, b""))[1]
    elsewhere = record.call.flags & SENDS and socket.sends_anywhere and passed
    if facts.remote_port and not elsewhere:
        passed = b""
    else:
        used = _USED.get(int.from_bytes(passed[:2], byteorder))
        if used is None or len(passed) < used or record.call.address < 0:
            return None
        passed = passed[:used]
    return _CONNECTION.pack(
        *kind,
        0 if accepts else htons(facts.remote_port),
        facts.local_port if accepts or messages else 0,
        facts.role if messages else 0,
        facts.local[:width],
        facts.remote[:width],
        passed,
    )


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")
