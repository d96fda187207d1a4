"""Which conditions the parts of a verdict's key decide.

A field is determined by a part if every two calls that are alike in that part have the same value of it. What isn't
listed here is undecided in the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tiercel_agent.events.syscalls import RETURNED, SUBJECT_END, SUBJECT_PATH, Syscall, keyed
from tiercel_engine.condition import Atom
from tiercel_engine.evaluation.walk import atom_fields

LARGEST_RESULT = 16
"""Results from here on are alike (bpf/filter.h)."""

PROCESS = frozenset(
    "proc.name proc.pname proc.aname proc.exe proc.pexe proc.aexe proc.exepath proc.pexepath proc.aexepath proc.args "
    "proc.aargs proc.cmdline proc.pcmdline proc.acmdline proc.exeline proc.cmdnargs proc.cmdlenargs proc.env proc.aenv "
    "proc.pid proc.ppid proc.apid proc.vpid proc.is_exe_writable proc.is_exe_upper_layer proc.is_exe_lower_layer "
    "proc.is_exe_from_memfd proc.exe_ino proc.exe_ino.ctime proc.exe_ino.mtime thread.cap_permitted "
    "thread.cap_inheritable thread.cap_effective user.uid group.gid "
    "container.id container.full_id container.name container.type k8s.pod.uid".split()
)
"""Determined by the process's class. Left out is what changes unseen: terminals, sessions and groups, logins, and the
names of users and groups, which files and servers tell that may say otherwise tomorrow."""

_CALL = frozenset(
    "evt.type syscall.type evt.dir evt.category evt.source evt.hostname evt.is_io evt.is_io_read evt.is_io_write "
    "evt.io_dir evt.res evt.failed".split()
)
_FLAGS = frozenset({"evt.is_open_read", "evt.is_open_write", "evt.is_open_create"})
NAME = frozenset("fd.name fs.path.name evt.abspath evt.arg.name evt.arg.path evt.arg.filename".split())
RAW_NAME = frozenset({"fd.nameraw", "fs.path.nameraw"})
_EITHER_NAME = NAME | {"fd.directory", "fd.filename"}
"""Of one class each in both views of an event; a raw name stays what it is in the second view."""
PATH = _EITHER_NAME | RAW_NAME
_OPENED = frozenset({"fd.type", "fd.typechar"})
END = frozenset(
    "fd.cip fd.sip fd.lip fd.rip fd.ip fd.net fd.cnet fd.snet fd.lnet fd.rnet fd.sport fd.rport fd.sproto fd.rproto "
    "fd.l4proto fd.type fd.typechar fd.sockfamily fd.is_server".split()
)


_NAMED_ELSEWHERE = frozenset({"uid", "gid"})
"""Kinds of arguments whose text isn't their number's alone."""


@dataclass(frozen=True, slots=True)
class Determined:
    """What a call's key determines: the values of some fields, and what comes out of tests on the fields of one class
    alone. A test on fields of two classes, or of a class and the call, is undecided."""

    values: frozenset[str]
    subject_values: frozenset[str]
    subject_classes: tuple[frozenset[str], ...]
    result_is_descriptor: bool

    def by_key(self, atom: Atom, *, with_subject: bool) -> bool:
        """Whether the atom comes out the same for all calls of one key."""
        fields = frozenset(fields_of(atom))
        if any(fields <= of_class for of_class in (PROCESS, *(self.subject_classes if with_subject else ()))):
            return True
        return all(self._has_value(key, atom, with_subject) for key in fields)

    def _has_value(self, key: str, atom: Atom, with_subject: bool) -> bool:
        if key in self.values or (with_subject and key in self.subject_values):
            return True
        if key == "evt.num":  # counted from 1; rules compare it with 0 to say always or never
            return _is_below(atom, 1)
        if key == "evt.rawres" or (key == "fd.num" and self.result_is_descriptor):
            return _is_below(atom, LARGEST_RESULT)
        return False


def determined_by(call: Syscall) -> Determined:
    names = {f"evt.arg.{parameter.name}" for parameter in keyed(call) if parameter.kind not in _NAMED_ELSEWHERE}
    fields = _CALL | names
    if "evt.arg.flags" in names or call.name == "creat":
        fields |= _FLAGS
        if "evt.arg.mode" in names:
            fields |= {"evt.is_open_exec"}
    if call.name in ("openat2", "open_by_handle_at"):
        fields -= _FLAGS
    if call.flags & SUBJECT_PATH:
        return Determined(fields, _OPENED, (_EITHER_NAME, RAW_NAME), call.descriptor == RETURNED)
    if call.flags & SUBJECT_END:
        return Determined(fields, frozenset(), (END,), False)
    return Determined(fields, frozenset(), (), False)


def fields_of(atom: Atom) -> Iterable[str]:
    """The keys that an atom reads, with those of a family's argument reduced to the field: ``proc.aname[2]`` is
    determined where ``proc.aname`` is."""
    return (operand.key.partition("[")[0] for operand in atom_fields(atom))


def _is_below(atom: Atom, limit: int) -> bool:
    """Whether the atom compares with numbers below a limit only: it comes out the same for all values from there on."""
    if not isinstance(atom.right, tuple):
        return False
    return all(isinstance(constant, int) and constant < limit for constant in atom.right)
