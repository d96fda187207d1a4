"""Rules that cost: of which the kernel can't tell for ordinary calls that they don't match.

A rule is put before ordinary calls of ordinary processes. Where it stays possible by everything that the kernel looks
at, each such call goes to user space.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tiercel_agent.events.syscalls import RETURNED
from tiercel_agent.filter.automaton import build
from tiercel_agent.filter.candidates import Possible
from tiercel_agent.filter.clauses import Clauses, Space
from tiercel_agent.filter.decidability import OF_NAMES, Look
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
    """What of a rule costs: calls, in words; the tests that only user space can make, as text; and what would help."""

    calls: tuple[str, ...]
    undecided: tuple[str, ...]
    advice: str

    @property
    def message(self) -> str:
        because = f", since only user space can test {_listed(self.undecided)}" if self.undecided else ""
        return f"{_listed(self.calls)} will go to user space{because}"


def expenses(clauses: Clauses, rules: int) -> dict[int, Expense]:
    """What of each of so many rules costs, by position; nothing for those that don't."""
    calls: dict[int, dict[str, set[tuple[str, str]]]] = {}
    undecided: dict[int, dict[str, None]] = {}
    atoms: dict[int, list[Atom]] = {}
    for space in clauses.spaces:
        frequent = [call.name for call in space.calls if call.name in FREQUENT]
        if not frequent:
            continue
        ordinary = _ordinary(clauses, space)
        for kind, place, row in ordinary:
            for bit, clause in enumerate(space.clauses):
                if not row >> bit & 1 or not 0 <= clause.rule < rules:
                    continue
                for name in frequent:
                    calls.setdefault(clause.rule, {}).setdefault(name, set()).add((kind, place))
                for number in sorted(clauses.graph.reachable(clause.parts)):
                    part = clauses.graph.parts[number]
                    if isinstance(part, Atom) and number not in space.looks:
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


def _ordinary(clauses: Clauses, space: Space) -> list[tuple[str, str, int]]:
    """Kind of call, place of the process, and the clauses that the kernel leaves possible."""
    possible = {look: Possible(clauses, space, {look}) for look in set(space.looks.values()) | {Look.PROCESS}}
    plain = sorted(atom for atom, look in space.looks.items() if look not in OF_NAMES)
    program = compile_program(clauses.graph, [(atom, atom) for atom in plain])
    named = [atom for atom, look in space.looks.items() if look in OF_NAMES and _name_holds(clauses, atom)]
    found = []
    for kind, fields in _kinds(space).items():
        for place, container in _PLACES.items():
            event = Event("syscall", 0, {**_PROCESS, **container, **fields, "evt.type": space.calls[0].name})
            event |= {"evt.res": "SUCCESS", "evt.failed": False, "evt.dir": "<", "evt.num": 1}
            holding = [*program(event), *named]
            row = (1 << len(space.clauses)) - 1
            for of_look in possible.values():
                row &= of_look.row(holding)
            found.append((kind, place, row))
    return found


def _kinds(space: Space) -> dict[str, dict[str, Value | None]]:
    if space.determined.names:
        return {f" {kind}": fields for kind, fields in _KINDS.items()}
    result = {"evt.rawres": 7 if space.calls[0].descriptor == RETURNED else 0}
    return {"": {**_CONNECTED, **result} if space.determined.connection else {**result}}


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
    """``every open and openat for reading in containers``, by call the kinds and places that cost."""
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
