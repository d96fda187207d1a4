"""Which rules are expensive: the kernel can't rule them out for ordinary calls.

Each rule is tried on ordinary calls of ordinary processes. Where it stays a candidate by all signals, every such call
goes to user space.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tiercel_agent.events.syscalls import RETURNED
from tiercel_agent.filter.automaton import build
from tiercel_agent.filter.candidates import CandidateSets
from tiercel_agent.filter.clauses import Clauses, Partition
from tiercel_agent.filter.decidability import NAME_SIGNALS, Signal
from tiercel_engine.condition import Atom, Operator, Transformed
from tiercel_engine.evaluation.codegen import compile_program
from tiercel_engine.evaluation.walk import atom_fields
from tiercel_engine.event import Event, Value
from tiercel_engine.language.printer import print_node

FREQUENT = frozenset(
    "open openat openat2 close socket connect accept accept4 sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg "
    "dup dup2 dup3 prctl".split()
)
"""Calls that busy programs make thousands of times a second."""

_PATH = "/srv/data/report.txt"
_PROCESS: dict[str, Value | None] = {
    "proc.name": "program",
    "proc.exe": "program",
    "proc.exepath": "/usr/bin/program",
    "proc.cmdline": "program --serve",
    "proc.exeline": "program --serve",
    "proc.args": "--serve",
    "proc.pname": "parent",
    "proc.aname": ["parent", "init"],
    "proc.pexe": "parent",
    "proc.pexepath": "/usr/bin/parent",
    "proc.pcmdline": "parent",
    "proc.pid": 4000,
    "proc.ppid": 3000,
    "proc.is_exe_writable": False,
    "proc.is_exe_upper_layer": False,
    "proc.is_exe_lower_layer": False,
    "proc.is_exe_from_memfd": False,
    "thread.cap_permitted": "",
    "thread.cap_effective": "",
    "thread.cap_inheritable": "",
    "user.uid": 1000,
    "group.gid": 1000,
}
_PLACES: Mapping[str, dict[str, Value | None]] = {
    "on the host": {"container.id": "host", "container.name": "host"},
    "in containers": {"container.id": "0123456789ab", "container.name": "app", "k8s.pod.uid": "0"},
}
_OPENED: dict[str, Value | None] = {
    "evt.rawres": 3,
    "fd.num": 3,
    "fd.name": _PATH,
    "fd.nameraw": _PATH,
    "fs.path.name": _PATH,
    "fs.path.nameraw": _PATH,
    "evt.abspath": _PATH,
    "evt.arg.name": _PATH,
    "fd.directory": _PATH.rpartition("/")[0],
    "fd.filename": _PATH.rpartition("/")[2],
    "fd.type": "file",
    "fd.typechar": "f",
    "evt.is_open_exec": False,
}
_CONNECTED: dict[str, Value | None] = {
    "fd.type": "ipv4",
    "fd.typechar": "4",
    "fd.sockfamily": "ip",
    "fd.l4proto": "tcp",
    "fd.is_server": False,
    **dict.fromkeys(("fd.cip", "fd.lip", "fd.cnet", "fd.lnet"), "10.20.0.7"),
    **dict.fromkeys(("fd.sip", "fd.rip", "fd.snet", "fd.rnet"), "10.30.0.9"),
    "fd.ip": ["10.20.0.7", "10.30.0.9"],
    "fd.net": ["10.20.0.7", "10.30.0.9"],
    **dict.fromkeys(("fd.sport", "fd.rport"), 8443),
    **dict.fromkeys(("fd.sproto", "fd.rproto"), "8443"),
}
_KINDS: Mapping[str, dict[str, Value | None]] = {
    "for reading": {
        **_OPENED,
        "evt.is_open_read": True,
        "evt.is_open_write": False,
        "evt.is_open_create": False,
        "evt.arg.flags": "O_RDONLY|O_CLOEXEC",
        "evt.arg.mode": "0",
    },
    "for writing": {
        **_OPENED,
        "evt.is_open_read": False,
        "evt.is_open_write": True,
        "evt.is_open_create": True,
        "evt.arg.flags": "O_WRONLY|O_CREAT|O_CLOEXEC",
        "evt.arg.mode": "S_IRUSR|S_IWUSR",
    },
}


@dataclass(frozen=True, slots=True)
class Expense:
    """Why a rule is expensive: the ``calls`` that go to user space, as phrases; the tests that only user space can
    make, as text; and ``advice`` how to avoid it."""

    calls: tuple[str, ...]
    undecided: tuple[str, ...]
    advice: str

    @property
    def message(self) -> str:
        because = f", since only user space can test {_listed(self.undecided)}" if self.undecided else ""
        return f"{_listed(self.calls)} will go to user space{because}"


def expenses(clauses: Clauses, rules: int) -> dict[int, Expense]:
    """By position, the expense of each expensive rule among the first ``rules``."""
    calls: dict[int, dict[str, set[tuple[str, str]]]] = {}
    undecided: dict[int, dict[str, None]] = {}
    atoms: dict[int, list[Atom]] = {}
    for partition in clauses.partitions:
        frequent = [call.name for call in partition.calls if call.name in FREQUENT]
        if not frequent:
            continue
        ordinary = _ordinary(clauses, partition)
        for kind, place, candidates in ordinary:
            for bit, clause in enumerate(partition.clauses):
                if not candidates >> bit & 1 or not 0 <= clause.rule < rules:
                    continue
                for name in frequent:
                    calls.setdefault(clause.rule, {}).setdefault(name, set()).add((kind, place))
                for number in sorted(clauses.graph.reachable(clause.parts)):
                    part = clauses.graph.parts[number]
                    if isinstance(part, Atom) and number not in partition.signals:
                        undecided.setdefault(clause.rule, {})[_shortened(print_node(part))] = None
                        atoms.setdefault(clause.rule, []).append(part)
    return {
        rule: Expense(
            _phrases(of_rule),
            tuple(undecided.get(rule, ())),
            _advice(atoms.get(rule, ())),
        )
        for rule, of_rule in calls.items()
    }


def _ordinary(clauses: Clauses, partition: Partition) -> list[tuple[str, str, int]]:
    """By kind of ordinary call and place of the process: the candidates that are left, as a bit set."""
    sets_of_signals = [
        CandidateSets(clauses, partition, {signal}) for signal in set(partition.signals.values()) | {Signal.PROCESS}
    ]
    plain = sorted(atom for atom, signal in partition.signals.items() if signal not in NAME_SIGNALS)
    program = compile_program(clauses.graph, [(atom, atom) for atom in plain])
    named = [
        atom for atom, signal in partition.signals.items() if signal in NAME_SIGNALS and _name_holds(clauses, atom)
    ]
    ordinary = []
    for kind, fields in _kinds(partition).items():
        for place, container in _PLACES.items():
            event = Event("syscall", 0, {**_PROCESS, **container, **fields, "evt.type": partition.calls[0].name})
            event |= {"evt.res": "SUCCESS", "evt.failed": False, "evt.dir": "<", "evt.num": 1}
            holding = [*program(event), *named]
            candidates = (1 << len(partition.clauses)) - 1
            for sets in sets_of_signals:
                candidates &= sets.of(holding)
            ordinary.append((kind, place, candidates))
    return ordinary


def _kinds(partition: Partition) -> dict[str, dict[str, Value | None]]:
    if partition.decidable.names:
        return {f" {kind}": fields for kind, fields in _KINDS.items()}
    result = {"evt.rawres": 7 if partition.calls[0].descriptor == RETURNED else 0}
    return {"": {**_CONNECTED, **result} if partition.decidable.connection else {**result}}


def _name_holds(clauses: Clauses, atom: int) -> bool:
    patterns = clauses.name_tests[atom].patterns
    automaton = build(patterns, most_states=5000)
    return bool(automaton.accept_sets[automaton.accept(_PATH.encode())])


def _advice(atoms: Iterable[Atom]) -> str:
    keys = {operand.key.partition("[")[0] for atom in atoms for operand in atom_fields(atom)}
    if keys & {"user.name", "user.loginname", "group.name"}:
        return "names of users may change at any time: compare user.uid and group.gid"
    if keys & {"fd.sip.name", "fd.cip.name", "fd.rip.name", "fd.lip.name"}:
        return "compare the address (fd.sip) or a network (fd.snet) besides the host name"
    for atom in atoms:
        of_file = any(operand.key.startswith(("fd.", "fs.", "evt.arg.")) for operand in atom_fields(atom))
        if isinstance(atom.left, Transformed) or not isinstance(atom.right, tuple):
            return "the kernel doesn't compute values: add a test of a field itself, such as fd.name startswith /etc/"
        if of_file and atom.operator in (Operator.REGEX, Operator.GLOB, Operator.IGLOB):
            return "let the pattern begin with the folder that it means, or add fd.name startswith …"
    return "add a test that the kernel can make: of the file's name, its flags or result, of addresses, of the process"


def _phrases(calls: Mapping[str, set[tuple[str, str]]]) -> tuple[str, ...]:
    """Phrases such as ``every open and openat for reading in containers``. ``calls`` has by call the kinds and places
    for which it goes to user space."""
    alike: dict[tuple[str, str], list[str]] = {}
    for call, variants in calls.items():
        kinds, places = {kind for kind, _ in variants}, {place for _, place in variants}
        kind = kinds.pop() if len(kinds) == 1 else ""
        alike.setdefault((kind, f" {places.pop()}" if len(places) == 1 else ""), []).append(call)
    return tuple(f"every {_listed(names)}{kind}{place}" for (kind, place), names in alike.items())


def _listed(items: Iterable[str]) -> str:
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last


def _shortened(text: str, length: int = 80) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
