"""Operations of io_uring: how this kernel lays out their requests, and where programs can be when they are done.

The best place is the function that does an operation, at its beginning and its end: it runs in the thread that does
the work, and the kernel's hooks are called in between. Kernels that refuse programs there have tracepoints of the
submission and the completion. The layouts are those of io_uring/*.c of the kernel, the opcodes those of its
uapi/linux/io_uring.h.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct

from tiercel_agent.kernel.loading.features import ProgramKind, ProgramType, RingPoints
from tiercel_agent.kernel.loading.loader import attachable
from tiercel_agent.kernel.probes.btf import Btf
from tiercel_agent.kernel.probes.hooks import FEXIT, RETURNS_0

_FENTRY = 24  # BPF_TRACE_FENTRY
_LAYOUT = Struct("=3H2H6H6s")
_SUBMISSION, _COMPLETION = "io_uring_submit_req", "io_uring_complete"
_MEMBERS = {
    "TASK_IO_URING": "task_struct.io_uring",
    "TASK_FLAGS": "task_struct.flags",
    "KIOCB_OPCODE": "io_kiocb.opcode",
    "KIOCB_RES": "io_kiocb.cqe.res",
    "KIOCB_FILE": "io_kiocb.file",
    "FILENAME_NAME": "filename.name",
}


@dataclass(frozen=True, slots=True)
class _Operation:
    """``arguments`` are the members that are the arguments of the call, by index, with their sizes in bytes; ``names``
    those of its first and second path, ``how`` its struct open_how, ``slot`` where a slot for the file is named."""

    opcode: int
    call: str
    functions: tuple[str, ...]
    arguments: Mapping[int, tuple[str, int]]
    names: tuple[str, ...] = ()
    how: str = ""
    slot: str = ""


_DESCRIPTOR = ("io_kiocb.cqe.fd", 4)
_OPERATIONS = (
    _Operation(
        18,
        "openat",
        ("io_openat", "io_openat2"),
        {0: ("io_open.dfd", 4), 2: ("io_open.how.flags", 8), 3: ("io_open.how.mode", 8)},
        ("io_open.filename",),
        slot="io_open.file_slot",
    ),
    _Operation(
        28,
        "openat2",
        ("io_openat2",),
        {0: ("io_open.dfd", 4)},
        ("io_open.filename",),
        how="io_open.how",
        slot="io_open.file_slot",
    ),
    _Operation(
        35,
        "renameat2",
        ("io_renameat",),
        {0: ("io_rename.old_dfd", 4), 2: ("io_rename.new_dfd", 4), 4: ("io_rename.flags", 4)},
        ("io_rename.oldpath", "io_rename.newpath"),
    ),
    _Operation(
        36,
        "unlinkat",
        ("io_unlinkat",),
        {0: ("io_unlink.dfd", 4), 2: ("io_unlink.flags", 4)},
        ("io_unlink.filename",),
    ),
    _Operation(
        37,
        "mkdirat",
        ("io_mkdirat",),
        {0: ("io_mkdir.dfd", 4), 2: ("io_mkdir.mode", 2)},
        ("io_mkdir.filename",),
    ),
    _Operation(
        38,
        "symlinkat",
        ("io_symlinkat",),
        {1: ("io_link.new_dfd", 4)},
        ("io_link.oldpath", "io_link.newpath"),
    ),
    _Operation(
        39,
        "linkat",
        ("io_linkat",),
        {0: ("io_link.old_dfd", 4), 2: ("io_link.new_dfd", 4), 4: ("io_link.flags", 4)},
        ("io_link.oldpath", "io_link.newpath"),
    ),
    _Operation(
        16,
        "connect",
        ("io_connect",),
        {0: _DESCRIPTOR, 1: ("io_connect.addr", 8), 2: ("io_connect.addr_len", 4)},
    ),
    _Operation(9, "sendmsg", ("io_sendmsg",), {0: _DESCRIPTOR, 1: ("io_sr_msg.umsg", 8)}),
    _Operation(
        26,
        "sendto",
        ("io_send",),
        {0: _DESCRIPTOR, 1: ("io_sr_msg.buf", 8), 2: ("io_sr_msg.len", 4)},
    ),
)


@dataclass(frozen=True, slots=True)
class RingLayout:
    """An operation as this kernel has it: ``struct ring_operation`` of bpf/rings.h but for its first member."""

    opcode: int
    call: str
    functions: tuple[str, ...]
    members: tuple[int, ...]
    sizes: bytes

    def packed(self, number: int) -> bytes:
        """The structure, for the system call of that number."""
        return _LAYOUT.pack(number + 1, *self.members, self.sizes)


@dataclass(frozen=True, slots=True)
class Rings:
    """What is known of this kernel's io_uring. Without ``layouts`` its operations aren't seen, and ``reason`` says
    why; it is empty if the kernel has no io_uring."""

    offsets: Mapping[str, int] = field(default_factory=dict)
    layouts: tuple[RingLayout, ...] = ()
    points: RingPoints | None = None
    reason: str = ""


def rings(btf: Btf, *, calls_at_event: bool) -> Rings:
    """How operations of rings can be seen on this kernel. ``calls_at_event`` is whether the programs of system calls
    are at a trace event (call_event.py)."""
    if btf.structure("io_kiocb") is None:
        return Rings()
    offsets = {name: offset for name, path in _MEMBERS.items() if (offset := btf.offset(path)) is not None}
    if offsets.keys() != _MEMBERS.keys():
        return Rings(reason="this kernel lays out requests of io_uring in a way that isn't known")
    layouts = tuple(_layouts(btf))
    points = _functions(btf, layouts) or (None if calls_at_event else _tracepoints(btf))
    if points is None:
        return Rings(reason="this kernel refuses programs at functions, and has no known tracepoints of io_uring")
    return Rings(offsets, layouts, points)


def _layouts(btf: Btf) -> Iterator[RingLayout]:
    for operation in _OPERATIONS:
        members = (*(path for path, _ in operation.arguments.values()), *operation.names, operation.how, operation.slot)
        found = {path: btf.offset(path) for path in members if path}
        if None in found.values():
            continue
        offset = {path: at for path, at in found.items() if at is not None}
        arguments = [operation.arguments.get(index, ("", 0)) for index in range(6)]
        yield RingLayout(
            operation.opcode,
            operation.call,
            operation.functions,
            (
                offset.get(operation.how, 0),
                offset[operation.slot] + 1 if operation.slot else 0,
                *(offset.get(name, 0) for name in (*operation.names, "", "")[:2]),
                *(offset.get(path, 0) for path, _ in arguments),
            ),
            bytes(size for _, size in arguments),
        )


def _functions(btf: Btf, layouts: tuple[RingLayout, ...]) -> RingPoints | None:
    found = {}
    for name in {function: None for layout in layouts for function in layout.functions}:
        if (number := btf.function(name)) is not None:
            begins, ends = (ProgramKind(ProgramType.TRACING, attach, number) for attach in (_FENTRY, FEXIT))
            if attachable(begins, RETURNS_0) and attachable(ends, RETURNS_0):
                found[name] = (begins, ends)
    return RingPoints(functions=found) if found else None


def _tracepoints(btf: Btf) -> RingPoints | None:
    if not all(btf.typedef(f"btf_trace_{name}") for name in (_SUBMISSION, _COMPLETION)):
        return None
    return RingPoints(tracepoints=(_SUBMISSION, _COMPLETION))


def ring_programs(rings: Rings, calls: Container[str]) -> list[str]:
    """The programs at functions that are needed for these system calls, by their names (kernel/loading/loader.py)."""
    functions = rings.points.functions if rings.points is not None else {}
    needed = {name for layout in rings.layouts if layout.call in calls for name in layout.functions}
    return [f"{program}:{name}" for name in functions if name in needed for program in ("ring_begins", "ring_ends")]
