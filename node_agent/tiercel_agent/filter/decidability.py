"""Which tests the kernel can decide, and by which signal.

A signal decides a field if the field has the same value in all calls that have the same value of the signal. Fields
that aren't listed here are decided by no signal, so that their tests are left to user space.
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
"""The kernel takes all results from this one on for the same (bpf/records.h)."""


class Signal(Enum):
    """One thing that the kernel knows of a call. The values are names for people to read."""

    OWN = "process"
    """The process itself."""
    PROCESS = "process and its ancestors"
    CALL = "arguments and result"
    NAME = "beginning of the file's name"
    FLOATING_NAME = "anything in the file's name"
    RAW_NAME = "beginning of the name as it was passed"
    RAW_FLOATING_NAME = "anything in the name as it was passed"
    CONNECTION = "ends of the connection"


NAME_SIGNALS = frozenset({Signal.NAME, Signal.FLOATING_NAME, Signal.RAW_NAME, Signal.RAW_FLOATING_NAME})

_FAMILIES = tuple(family for family in FAMILIES if family in stages.OWN)
_NAMED_ELSEWHERE = frozenset({"uid", "gid"})
"""Kinds of arguments whose text depends on more than their number."""


@dataclass(frozen=True, slots=True)
class DecidableFields:
    """The fields that are decided in the kernel for one kind of call, beside those of its process.

    ``values`` are decided by its arguments and result, ``names`` by the file's name, ``raw_names`` by the name as it
    was passed, ``connection`` by the connection's ends. ``result_is_descriptor``: ``fd.num`` is the call's result.
    """

    values: frozenset[str]
    names: frozenset[str]
    raw_names: frozenset[str]
    connection: frozenset[str]
    result_is_descriptor: bool

    def signal_for(self, atom: Atom) -> Signal | None:
        """The signal that decides the atom, or at least rules it out for some values (``filter.name_tests``). None if
        there is none."""
        fields = frozenset(fields_of(atom))
        for signal, of_signal in (
            (Signal.OWN, stages.OWN),
            (Signal.PROCESS, stages.PROCESS),
            (Signal.CONNECTION, self.connection),
        ):
            if fields <= of_signal:
                return signal
        if fields <= self.names:
            test = name_test(atom)
            return None if test is None else Signal.FLOATING_NAME if test.floats else Signal.NAME
        if fields <= self.raw_names:  # as passed: neither components nor slashes are cleaned
            test = name_test(atom) if atom.operator is not Operator.PMATCH else None
            return None if test is None else Signal.RAW_FLOATING_NAME if test.floats else Signal.RAW_NAME
        return Signal.CALL if all(self._has_value(key, atom) for key in fields) else None

    def _has_value(self, key: str, atom: Atom) -> bool:
        if key in self.values:
            return True
        if key == "evt.num":  # counted from 1; rules compare it with 0 to say always or never
            return _is_below(atom, 1)
        if key == "evt.rawres" or (key == "fd.num" and self.result_is_descriptor):
            return _is_below(atom, LARGEST_RESULT)
        return False


def decidable_fields(call: Syscall) -> DecidableFields:
    """What the kernel decides for this kind of call."""
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
        # an argument that this kind of call doesn't have never has a value
        fields |= stages.OPENED | (stages.NAME_ARGUMENTS - arguments)
        return DecidableFields(
            fields, stages.NAME | (stages.NAME_ARGUMENTS & arguments), stages.RAW_NAME, nothing, True
        )
    if call.flags & SUBJECT_END:
        accepts = call.descriptor == RETURNED  # the client's port differs each time
        return DecidableFields(
            fields, nothing, nothing, stages.CONNECTION - stages.CLIENT_PORT if accepts else stages.CONNECTION, False
        )
    return DecidableFields(fields, nothing, nothing, nothing, False)


def fields_of(atom: Atom) -> Iterable[str]:
    """The keys of the fields that an atom reads, without their arguments: ``proc.aname[2]`` is decided where
    ``proc.aname`` is, ``k8s.pod.label.app`` where ``k8s.pod.label`` is."""
    return (_without_argument(operand.key) for operand in atom_fields(atom))


def _without_argument(key: str) -> str:
    name = key.partition("[")[0]
    return next((family for family in _FAMILIES if name.startswith(f"{family}.")), name)


def _is_below(atom: Atom, limit: int) -> bool:
    """Whether the atom compares with numbers below a limit only, so that its result is the same for all values from the
    limit on."""
    if not isinstance(atom.right, tuple):
        return False
    return all(isinstance(constant, int) and constant < limit for constant in atom.right)
