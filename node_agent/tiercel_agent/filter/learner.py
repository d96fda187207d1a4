"""Learning: from a call that came through, the rows by which the kernel judges its like.

Rows are evaluated exactly, by what the rules ask of the process, of the call's arguments and result, and of the ends
of a connection. What can't be told with certainty is not told: the kernel then takes everything for possible.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from socket import AF_INET, AF_INET6, htons
from struct import Struct
from sys import byteorder
from time import CLOCK_BOOTTIME, clock_gettime_ns
from typing import NamedTuple

from tiercel_agent.context.container import ContainerId
from tiercel_agent.events.descriptor import OpenSocket
from tiercel_agent.events.live import LiveEvent
from tiercel_agent.events.processes import NO_IMAGE
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_agent.events.syscalls import RETURNED, SUBJECT_END, Family
from tiercel_agent.filter.candidates import Possible, words
from tiercel_agent.filter.clauses import Space
from tiercel_agent.filter.decidability import Look
from tiercel_agent.filter.tables import Tables
from tiercel_agent.kernel.loading.libbpf import Map
from tiercel_agent.kernel.records import LINEAGE_ENDS, Section
from tiercel_engine.evaluation.codegen import compile_program

_FACTS = Struct("=Ii6I3Q")
_CALL_KEY_SIZE = 24
_PROCESS = Struct("=4Q4I")
_CONNECTION = Struct("=6HI16s16s24s")
_KNOWN_PROCESS, _KNOWN_CALL, _KNOWN_CONNECTION, _NOT_TO_BE_LEARNED = 1, 2, 8, 16  # bpf/filter.h
_KIND_UNKNOWN = 0xFF
_PATIENCE = 3
"""Calls of a process that come through before it is worth a row: many processes end before."""
_USED: dict[int, int] = {AF_INET: 8, AF_INET6: 24}
"""Bytes of a socket address up to the end of the address proper."""
_MAX_PROCESSES = 16384
_PROCESS_SLOTS = 32768


class Facts(NamedTuple):
    """``struct filter_facts`` of bpf/filter.h."""

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
    call_rows: Map
    connection_rows: Map
    process_classes: Map


class Rows:
    """The rows that are learned: equal ones are stored once, behind those that were there from the beginning."""

    def __init__(self, memory: memoryview, begin: int) -> None:
        self._memory = memory
        self._end = begin
        self._places: dict[tuple[int, ...], int] = {}

    def place(self, row: tuple[int, ...]) -> int | None:
        """Where the row stands; None if there is no room for it."""
        place = self._places.get(row)
        if place is None:
            if self._end + len(row) > len(self._memory):
                return None
            place = self._places[row] = self._end
            for offset, word in enumerate(row):
                self._memory[place + offset] = word
            self._end += len(row)
        return place


class Learner:
    """Learns for one set of rules; the rows are those of the programs that run with them.

    ``since``, ns since boot, is when these were attached: of changes from before they know nothing, so that what a
    process was then is not learned.
    """

    def __init__(self, maps: Maps, tables: Tables, rows: Rows) -> None:
        self.since = 0
        self.with_processes = True
        """Whether changes of processes are told: else nothing of them may be learned."""
        self._maps = maps
        self._rows = rows
        self._waiting: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._told: OrderedDict[tuple[int, int, int], tuple[int, ContainerId | None]] = OrderedDict()
        self._clauses = tables.clauses
        spaces = self._clauses.spaces
        self._words = tables.process_words
        self._space_of = {number: space for space in spaces for number in space.numbers()}
        self._firsts = tables.firsts
        of_processes = self._atoms(spaces, {Look.OWN, Look.PROCESS})
        self._holding = compile_program(self._clauses.graph, [(atom, atom) for atom in of_processes])
        self._by_process = {space: Possible(self._clauses, space, {Look.OWN, Look.PROCESS}) for space in spaces}
        self._by_own = {space: Possible(self._clauses, space, {Look.OWN}) for space in spaces}
        self._evaluators: dict[tuple[Space, Look], Callable[[LiveEvent], int]] = {}

    def learn(self, event: LiveEvent) -> None:
        """Called for an event that came through."""
        section = event.record.sections.get(Section.FILTER)
        if section is None:
            return
        facts = Facts._make(_FACTS.unpack_from(section[1]))
        space = self._space_of.get(facts.call)
        if facts.known & _NOT_TO_BE_LEARNED or space is None:
            return
        if not facts.known & _KNOWN_CALL and facts.kind != _KIND_UNKNOWN:
            self._tell(self._maps.call_rows, section[1][:_CALL_KEY_SIZE], space, Look.CALL, event)
        if self.with_processes and facts.as_of > self.since:
            self._process(event, facts)
        if event.record.call.flags & SUBJECT_END and not facts.known & _KNOWN_CONNECTION:
            key = _connection(facts.call, event.record)
            if key is not None:
                self._tell(self._maps.connection_rows, key, space, Look.CONNECTION, event)

    def forget(self, containers: Collection[ContainerId] | None) -> None:
        """What was learned of the processes in these is void, of all processes if None: something that their rows say
        isn't so any more. They are learned anew."""
        for (pid, _, _), (_, container) in self._told.items():
            if containers is None or container in containers:
                self._void(pid)

    def _void(self, pid: int) -> None:
        self._maps.process_classes.update(_u32(pid % _PROCESS_SLOTS), bytes(_PROCESS.size))

    def _atoms(self, spaces: Iterable[Space], looks: set[Look]) -> list[int]:
        return sorted({atom for space in spaces for atom, look in space.looks.items() if look in looks})

    def _tell(self, map_: Map, key: bytes, space: Space, look: Look, event: LiveEvent) -> None:
        evaluator = self._evaluators.get((space, look))
        if evaluator is None:
            evaluator = self._evaluators[space, look] = self._evaluator(space, look)
        place = self._rows.place(tuple(words(evaluator(event), space.words)))
        if place is not None:
            map_.update(key, _u32(place))

    def _evaluator(self, space: Space, look: Look) -> Callable[[LiveEvent], int]:
        possible = Possible(self._clauses, space, {look})
        holding = compile_program(self._clauses.graph, [(atom, atom) for atom in self._atoms([space], {look})])
        return lambda event: possible.row(holding(event))

    # processes

    def _process(self, event: LiveEvent, facts: Facts) -> None:
        """Tells the rows of the event's process, which the kernel doesn't know, if they are still true."""
        record = event.record
        pid, header = record.process.pid, record.header
        if header.flags & LINEAGE_ENDS or not record.context.containers.is_known(header.cgroup, pid):
            return
        if not _is_known(record):
            return
        identity = (pid, facts.start, facts.cred)
        if facts.as_of < self._told.get(identity, (0, None))[0]:  # the record is older than what was told since
            return
        patience = self._waiting[pid, facts.start] = self._waiting.get((pid, facts.start), 0) + 1
        if len(self._waiting) > _MAX_PROCESSES:
            self._waiting.popitem(last=False)
        if patience < _PATIENCE:
            return
        holding = self._holding(event)
        row, own = self._process_row(self._by_process, holding), self._process_row(self._by_own, holding)
        if row is None or own is None:
            return
        self._tell_process(event, facts, row, own)
        self._told[identity] = clock_gettime_ns(CLOCK_BOOTTIME), record.container
        if len(self._told) > _MAX_PROCESSES:
            (oldest, _, _), _ = self._told.popitem(last=False)
            self._void(oldest)

    def _process_row(self, possible: dict[Space, Possible], holding: list[int]) -> int | None:
        row = [0] * self._words
        for space, of_space in possible.items():
            first = self._firsts[space]
            row[first : first + space.words] = words(of_space.row(holding), space.words)
        return self._rows.place(tuple(row))

    def _tell_process(self, event: LiveEvent, facts: Facts, row: int, own: int) -> None:
        """In steps: the entry is void while it is written. What has changed since ``as_of`` the kernel knows itself."""
        pid = event.record.process.pid
        classes, slot = self._maps.process_classes, _u32(pid % _PROCESS_SLOTS)
        entry = (facts.start, facts.cred, event.record.header.cgroup, facts.as_of, row, own)
        self._void(pid)
        classes.update(slot, _PROCESS.pack(*entry, 0, pid))
        classes.update(slot, _PROCESS.pack(*entry, 1, pid))


def _is_known(record: SyscallRecord) -> bool:
    """Whether it is known what the process and its ancestors execute: what is missing now may be told later."""
    images = (record.image, *map(record.ancestor_image, range(len(record.ancestors))))
    return all(image is not NO_IMAGE for image in images)


def _connection(call: int, record: SyscallRecord) -> bytes | None:
    """A socket as the filter puts it together (connection_row of bpf/filter.c)."""
    found = record.descriptor
    if not isinstance(found, OpenSocket):
        return None
    facts = found.facts
    kind = (call, facts.family, facts.type, facts.protocol)
    if facts.family not in (AF_INET, AF_INET6):
        return _CONNECTION.pack(*kind, 0, 0, 0, b"", b"", b"")
    width = 4 if facts.family == AF_INET else 16
    accepts, messages = record.call.descriptor == RETURNED, record.call.family is Family.MESSAGE
    passed = b""
    if not facts.remote_port:
        passed = record.sections.get(Section.ADDRESS, (0, b""))[1]
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
