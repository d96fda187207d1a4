"""What the kernel's looks at a call decide.

A look decides a field if every two calls that are alike in it have the same value of the field. What isn't listed here
no look decides: user space has to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from tiercel_agent.events.syscalls import RETURNED, SUBJECT_END, SUBJECT_PATH, Syscall, keyed
from tiercel_agent.filter.name_tests import name_test
from tiercel_engine.condition import Atom, Operator
from tiercel_engine.evaluation.walk import atom_fields
from tiercel_engine.fields import FAMILIES, stages

LARGEST_RESULT = 16
"""Results from here on are alike (bpf/filter.h)."""


class Look(Enum):
    """What the kernel looks at; the values are what people read."""

    OWN = "process"
    """The process itself."""
    PROCESS = "process and its ancestors"
    CALL = "arguments and result"
    NAME = "beginning of the file's name"
    FLOATING_NAME = "anything in the file's name"
    RAW_NAME = "beginning of the name as it was passed"
    RAW_FLOATING_NAME = "anything in the name as it was passed"
    CONNECTION = "ends of the connection"


OF_NAMES = frozenset({Look.NAME, Look.FLOATING_NAME, Look.RAW_NAME, Look.RAW_FLOATING_NAME})

_FAMILIES = tuple(family for family in FAMILIES if family in stages.OWN)
_NAMED_ELSEWHERE = frozenset({"uid", "gid"})
"""Kinds of arguments whose text isn't their number's alone."""


@dataclass(frozen=True, slots=True)
class Determined:
    """What the looks at one kind of call decide: the fields that the call's key has the values of, those that the
    name of the file decides, whether there is a connection, and whether ``fd.num`` is the result."""

    values: frozenset[str]
    names: frozenset[str]
    raw_names: frozenset[str]
    connection: frozenset[str]
    result_is_descriptor: bool

    def look_at(self, atom: Atom) -> Look | None:
        """The look that decides the atom, or a part of it (``filter.name_tests``); None if none does."""
        fields = frozenset(fields_of(atom))
        for look, of_look in (
            (Look.OWN, stages.OWN),
            (Look.PROCESS, stages.PROCESS),
            (Look.CONNECTION, self.connection),
        ):
            if fields <= of_look:
                return look
        if fields <= self.names:
            test = name_test(atom)
            return None if test is None else Look.FLOATING_NAME if test.floats else Look.NAME
        if fields <= self.raw_names:  # as written: components and slashes aren't cleaned
            test = name_test(atom) if atom.operator is not Operator.PMATCH else None
            return None if test is None else Look.RAW_FLOATING_NAME if test.floats else Look.RAW_NAME
        return Look.CALL if all(self._has_value(key, atom) for key in fields) else None

    def _has_value(self, key: str, atom: Atom) -> bool:
        if key in self.values:
            return True
        if key == "evt.num":  # counted from 1; rules compare it with 0 to say always or never
            return _is_below(atom, 1)
        if key == "evt.rawres" or (key == "fd.num" and self.result_is_descriptor):
            return _is_below(atom, LARGEST_RESULT)
        return False


def determined_by(call: Syscall) -> Determined:
    names = {f"evt.arg.{parameter.name}" for parameter in keyed(call) if parameter.kind not in _NAMED_ELSEWHERE}
    arguments = {f"evt.arg.{parameter.name}" for parameter in call.parameters}
    fields = stages.CALL | names
    if "evt.arg.flags" in names or call.name == "creat":
        fields |= stages.FLAGS
        if "evt.arg.mode" in names:
            fields |= {"evt.is_open_exec"}
    if call.name in ("openat2", "open_by_handle_at"):
        fields -= stages.FLAGS
    nothing = frozenset[str]()
    if call.flags & SUBJECT_PATH:
        # what the call has no argument for has no value, whatever the call is like
        fields |= stages.OPENED | (stages.NAME_ARGUMENTS - arguments)
        return Determined(fields, stages.NAME | (stages.NAME_ARGUMENTS & arguments), stages.RAW_NAME, nothing, True)
    if call.flags & SUBJECT_END:
        accepts = call.descriptor == RETURNED  # the client's port is another one each time
        return Determined(
            fields, nothing, nothing, stages.CONNECTION - stages.CLIENT_PORT if accepts else stages.CONNECTION, False
        )
    return Determined(fields, nothing, nothing, nothing, False)


def fields_of(atom: Atom) -> Iterable[str]:
    """The keys that an atom reads, with arguments left out: ``proc.aname[2]`` is decided where ``proc.aname`` is,
    ``k8s.pod.label.app`` where ``k8s.pod.label`` is."""
    return (_without_argument(operand.key) for operand in atom_fields(atom))


def _without_argument(key: str) -> str:
    name = key.partition("[")[0]
    return next((family for family in _FAMILIES if name.startswith(f"{family}.")), name)


def _is_below(atom: Atom, limit: int) -> bool:
    """Whether the atom compares with numbers below a limit only: it comes out the same for all values from there on."""
    if not isinstance(atom.right, tuple):
        return False
    return all(isinstance(constant, int) and constant < limit for constant in atom.right)
