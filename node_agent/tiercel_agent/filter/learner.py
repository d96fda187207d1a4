"""Learning: from a call that came through and matched nothing, what the kernel needs to stop its like."""

from __future__ import annotations

import platform
from collections import OrderedDict
from collections.abc import Sequence
from socket import AF_INET, AF_INET6
from struct import Struct
from sys import byteorder
from time import CLOCK_BOOTTIME, clock_gettime_ns
from typing import NamedTuple

from tiercel_agent.events.descriptor import OpenFile, OpenSocket
from tiercel_agent.events.live import LiveEvent
from tiercel_agent.events.names import REFUSED
from tiercel_agent.events.occurrence import Occurrence
from tiercel_agent.events.processes import NO_IMAGE
from tiercel_agent.events.syscalls import SUBJECT_END, SUBJECT_PATH, SYSCALLS, native_numbers
from tiercel_agent.events.wire import LINEAGE_ENDS, Section
from tiercel_agent.filter import determined
from tiercel_agent.filter.determined import determined_by, fields_of
from tiercel_agent.filter.undecided import Possibilities
from tiercel_agent.kernel.libbpf import LibbpfError, Map
from tiercel_engine.condition import Atom
from tiercel_engine.evaluation.codegen import compile_program
from tiercel_engine.evaluation.graph import Graph
from tiercel_engine.evaluation.operators import test_of
from tiercel_engine.evaluation.requirements import tests_event_type
from tiercel_engine.event import Event
from tiercel_engine.rule import Rule

_KEY = Struct("=5Ii3I")
_FACTS = Struct("=5Ii3II3Q")
_PROCESS = Struct("=4QIIII")
_SUBJECT_SIZE = 128
_REAL, _RELATIVE = b"\2", b"\3"  # SUBJECT_… of bpf/filter.c
_UNKNOWN, _NONE, _ANY = 0, 1, 0xFFFFFFFF
_FIRST_CLASS = 2
_DROP, _LOOK, _PASS = 1, 2, 3
_PATIENCE = 3
"""Calls of a process that come through before it is worth a class: many processes end before."""
_USED: dict[int, int] = {AF_INET: 8, AF_INET6: 24}
"""Bytes of a socket address up to the end of the address proper."""
_MAX_CLASSES = 1 << 20
_MAX_PROCESSES = 16384


class Facts(NamedTuple):
    """``struct filter_facts`` of bpf/filter.h."""

    generation: int
    process: int
    given: int
    real: int
    call: int
    result: int
    arg0: int
    arg1: int
    arg2: int
    verdict: int
    start: int
    cred: int
    as_of: int


class Maps(NamedTuple):
    verdicts: Map
    subjects: Map
    process_classes: Map
    changes: Map
    generation: Map


class Classes:
    """Numbers for the sets of tests that hold: equal sets, one class."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, tuple[int, ...]], int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, kind: str, holding: Sequence[int]) -> int:
        return self._numbers.setdefault((kind, tuple(sorted(holding))), len(self._numbers) + _FIRST_CLASS)


class Learner:
    """Learns for one set of rules at a time. ``use`` begins a new generation: all that was learned is void at once.

    ``generation`` is the last one that the maps have seen.
    """

    def __init__(self, maps: Maps, generation: int = 0) -> None:
        self._maps = maps
        self.generation = generation
        self._begin(())

    def use(self, rules: Sequence[Rule]) -> int:
        """The new generation's number. Without rules nothing is filtered."""
        self._begin(rules)
        self.generation += 1
        self._maps.generation.update(_u32(0), _u32(self.generation if rules else 0))
        return self.generation

    def learn(self, event: LiveEvent) -> None:
        """Called for an event that no rule matched."""
        section = event.occurrence.sections.get(Section.FILTER)
        if section is None:
            return
        facts = Facts._make(_FACTS.unpack_from(section[1]))
        if facts.generation != self.generation or facts.call not in self._without:
            return
        process = facts.process or self._process(event, facts)
        if process == _UNKNOWN:
            return
        if len(self._classes) > _MAX_CLASSES:
            self.use(self._rules)
            return
        key = facts._replace(process=process, given=_ANY, real=_ANY)
        verdict = self._verdict(key, self._without[facts.call], event)
        if verdict == _LOOK:
            given, real = self._subjects(event)
            if given and real:
                key = key._replace(given=given, real=real, arg2=_file_kind(event.occurrence))
                self._verdict(key, self._with[facts.call], event)

    def _begin(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._classes = Classes()
        self._known_verdicts: OrderedDict[bytes, int] = OrderedDict()
        self._waiting: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._told: OrderedDict[tuple[int, int, int], tuple[int, int]] = OrderedDict()
        self._known_subjects: OrderedDict[bytes, int] = OrderedDict()
        graph = Graph()
        roots = [graph.add(rule.condition) for rule in rules]
        atoms = {number: part for number, part in enumerate(graph.parts) if isinstance(part, Atom)}

        def reading(fields: frozenset[str]) -> list[tuple[int, int]]:
            return [(number, number) for number, atom in atoms.items() if fields.issuperset(fields_of(atom))]

        self._of_process = compile_program(graph, reading(determined.PROCESS))
        self._of_path = compile_program(graph, reading(determined.PATH))
        self._of_end = compile_program(graph, reading(determined.END))
        self._without: dict[int, Possibilities] = {}
        self._with: dict[int, Possibilities] = {}
        self._looks: frozenset[int] = frozenset()
        if not rules:
            return
        looks: set[int] = set()
        types = [(number, test_of(atom)) for number, atom in atoms.items() if tests_event_type(atom)]
        for call in SYSCALLS:
            known = {number: test(call.name) for number, test in types}
            folded = graph.fold(roots, known)
            left = [folded[root] for root in roots]
            by_key = determined_by(call)
            now = {number: part for number, part in enumerate(graph.parts) if isinstance(part, Atom)}
            for with_subject, table in ((False, self._without), (True, self._with)):
                decided = frozenset(
                    number for number, atom in now.items() if by_key.by_key(atom, with_subject=with_subject)
                )
                for native in native_numbers(call, platform.machine()):
                    table[native] = Possibilities(graph, left, decided)
            if call.flags & (SUBJECT_PATH | SUBJECT_END):
                looks.update(native_numbers(call, platform.machine()))
        self._looks = frozenset(looks)

    # processes

    def _process(self, event: LiveEvent, facts: Facts) -> int:
        """The class of the event's process, which the kernel doesn't know; told to it, if it is still true."""
        occurrence = event.occurrence
        pid = occurrence.process.pid
        if occurrence.header.flags & LINEAGE_ENDS or not occurrence.world.knows_cgroup(occurrence.header.cgroup, pid):
            return _UNKNOWN
        if not _is_known(occurrence):
            return _UNKNOWN
        identity = (pid, facts.start, facts.cred)
        told = self._told.get(identity)
        if told is not None and facts.as_of < told[0]:  # the record is older than what was told since
            return _UNKNOWN
        patience = self._waiting[pid, facts.start] = self._waiting.get((pid, facts.start), 0) + 1
        if len(self._waiting) > _MAX_PROCESSES:
            self._waiting.popitem(last=False)
        if patience < _PATIENCE:
            return _UNKNOWN
        number = self._class_of_process(event)
        self._tell_process(event, facts, number)
        self._told[identity] = (clock_gettime_ns(CLOCK_BOOTTIME), number)
        if len(self._told) > _MAX_PROCESSES:
            self._told.popitem(last=False)
        return number

    def _class_of_process(self, event: LiveEvent) -> int:
        return self._classes.number("process", self._of_process(event))

    def _tell_process(self, event: LiveEvent, facts: Facts, number: int) -> None:
        """In two steps: a change after the first deletes the entry, so that the second finds none; one before it
        stands in `changes`."""
        maps, key = self._maps, _u32(event.occurrence.process.pid)
        entry = (facts.start, facts.cred, event.occurrence.header.cgroup, facts.as_of, self.generation, number)
        try:
            maps.process_classes.update(key, _PROCESS.pack(*entry, 0, 0))
            changed = maps.changes.find(key, 8)
            if changed is not None and int.from_bytes(changed, "little") >= facts.as_of:
                maps.process_classes.delete(key)
            else:
                maps.process_classes.update(key, _PROCESS.pack(*entry, 1, 0), only_existing=True)
        except LibbpfError:  # full, or gone meanwhile
            return

    # subjects

    def _subjects(self, event: LiveEvent) -> tuple[int, int]:
        """The classes of what the call is about, as passed and as resolved; _UNKNOWN where they can't be told."""
        occurrence = event.occurrence
        if occurrence.call.flags & SUBJECT_END:
            return self._end(event), _NONE
        passed = _passed_path(occurrence)
        if passed is None:
            return _UNKNOWN, _UNKNOWN
        names = occurrence.names.fd
        given = self._path(passed, names.given or "", names.raw)
        result = occurrence.header.result
        if result < 0:
            return given, _UNKNOWN if result in REFUSED else _NONE
        opened = occurrence.descriptor
        if not isinstance(opened, OpenFile) or opened.path is None:
            return given, _UNKNOWN
        return given, self._path(_REAL + _components(opened.path.encode("utf-8", "surrogateescape")), opened.path)

    def _path(self, subject: bytes, name: str, raw: str | None = None) -> int:
        if len(subject) > _SUBJECT_SIZE - 2 or not name.startswith("/"):
            return _UNKNOWN
        known = self._known_subjects.get(subject)
        if known is not None:
            self._tell_subject(subject, known)
            return known
        directory, _, filename = name.rpartition("/")
        fields = dict.fromkeys(determined.NAME, name) | {"fd.directory": directory or "/", "fd.filename": filename}
        # A text that is passed, and that is the path of a file too, has one class: what was passed is then the same.
        fields |= dict.fromkeys(determined.RAW_NAME, name if raw is None else raw)
        number = self._classes.number("path", self._of_path(Event("syscall", 0, {**fields})))
        self._tell_subject(subject, number)
        return number

    def _end(self, event: LiveEvent) -> int:
        subject = _connection(event.occurrence)
        if subject is None:
            return _UNKNOWN
        number = self._classes.number("end", self._of_end(event))
        self._tell_subject(subject, number)
        return number

    def _tell_subject(self, subject: bytes, number: int) -> None:
        self._known_subjects[subject] = number
        if len(self._known_subjects) > _MAX_PROCESSES:
            self._known_subjects.popitem(last=False)
        value = _u32(self.generation) + _u32(number)
        self._maps.subjects.update(subject.ljust(_SUBJECT_SIZE, b"\0"), value)

    # verdicts

    def _verdict(self, facts: Facts, possibilities: Possibilities, event: LiveEvent) -> int:
        key = _KEY.pack(*facts[:9])
        verdict = self._known_verdicts.get(key)
        if verdict is None:
            if facts.process != self._class_of_process(event):  # it changed while the kernel looked
                return _PASS
            if not any(possibilities.may_match(view) for view in event.views()):
                verdict = _DROP
            else:
                looks = facts.given == _ANY and facts.call in self._looks
                verdict = _LOOK if looks else _PASS
            self._known_verdicts[key] = verdict
            if len(self._known_verdicts) > _MAX_PROCESSES:
                self._known_verdicts.popitem(last=False)
        self._maps.verdicts.update(key, _u32(verdict))
        return verdict


def _is_known(occurrence: Occurrence) -> bool:
    """Whether it is known what the process and its ancestors execute: what is missing now may be told later."""
    images = (occurrence.image, *map(occurrence.ancestor_image, range(len(occurrence.ancestors))))
    return all(image is not NO_IMAGE for image in images)


def _passed_path(occurrence: Occurrence) -> bytes | None:
    """The path argument as class_of_given of bpf/filter.c puts it together: a relative one after its folder."""
    found = occurrence.sections.get(Section.PATH_0)
    if found is None:
        return None
    if found[1].startswith(b"/"):
        return found[1]
    base = occurrence.sections.get(Section.BASE_0)
    return None if base is None or base[0] or not found[1] else _RELATIVE + _components(base[1]) + b"\0" + found[1]


def _connection(occurrence: Occurrence) -> bytes | None:
    """The ends of a connection as the filter puts them together (class_of_connection of bpf/filter.c)."""
    found = occurrence.descriptor
    if not isinstance(found, OpenSocket) or found.facts.family not in (AF_INET, AF_INET6):
        return None
    facts = found.facts
    width = 4 if facts.family == AF_INET else 16
    subject = bytearray(_SUBJECT_SIZE)
    subject[2:8] = (
        facts.family.to_bytes(2, byteorder) + facts.type.to_bytes(2, byteorder) + facts.protocol.to_bytes(2, byteorder)
    )
    subject[8:10] = facts.remote_port.to_bytes(2, "big")
    subject[24 : 24 + width] = facts.local[:width]
    subject[40 : 40 + width] = facts.remote[:width]
    if not facts.remote_port:
        passed = occurrence.sections.get(Section.ADDRESS, (0, b""))[1]
        used = _USED.get(int.from_bytes(passed[:2], byteorder))
        if used is None or len(passed) < used:
            return None
        subject[64 : 64 + used] = passed[:used]
    return bytes(subject)


def _components(path: bytes) -> bytes:
    """A path as the filter puts it together: the last component first, each ended by a NUL."""
    return b"".join(component + b"\0" for component in reversed(path.split(b"/")) if component)


def _file_kind(occurrence: Occurrence) -> int:
    """The bits of the mode that tell the kind of the file that was opened; 0 if none was."""
    opened = occurrence.descriptor
    return opened.facts.mode >> 12 if isinstance(opened, OpenFile) and occurrence.header.result >= 0 else 0


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")
