"""Which of the kernel's own hooks programs can be at, and how.

A hook of the LSM framework is best: it takes effect if ``bpf`` is among the active security modules. Otherwise a
program can be at the return of the function that calls all modules (fexit); the kernel leaves that out where it would
interrupt itself. Both are used from Linux 5.15 on, since programs ask for the registers of the call and for a storage
of the thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from struct import Struct

from tiercel_agent.kernel.bytecode.hook_points import HOOK_POINTS
from tiercel_agent.kernel.loading.features import ProgramKind, ProgramType
from tiercel_agent.kernel.loading.loader import attachable, takes_storage
from tiercel_agent.kernel.probes.btf import Btf

_SINCE = (5, 15)
_ACTIVE_MODULES = Path("/sys/kernel/security/lsm")
_PROBED = "file_open"
FEXIT, _LSM_MAC = 25, 27  # BPF_TRACEFEXIT, BPF_LSM_MAC
_INSTRUCTION = Struct("<BBhi")


class HookKind(StrEnum):
    """How programs are at hooks."""

    LSM = "LSM"
    FEXIT = "fexit"


@dataclass(frozen=True, slots=True)
class Hooks:
    """``kinds`` work on this kernel, the best first; ``programs`` has those that have a hook here, and what each can be
    loaded as. Both are empty if there are none, and ``reason`` says why."""

    kinds: tuple[HookKind, ...] = ()
    programs: Mapping[str, tuple[ProgramKind, ...]] = field(default_factory=dict)
    reason: str = ""


def hooks(btf: Btf, version: tuple[int, int] | None, active: Path = _ACTIVE_MODULES) -> Hooks:
    """The hooks of this kernel."""
    if version is None or version < _SINCE:
        return Hooks(reason="this kernel is older than 5.15")
    if not takes_storage(_asks_for_storage):
        return Hooks(reason="this kernel gives programs no storage for a thread")
    kinds = tuple(kind for kind in HookKind if _works(btf, kind, active))
    if not kinds:
        return Hooks(reason="this kernel refuses programs at functions and at security hooks (fexit, LSM)")
    found = {
        program: tuple(made for kind in kinds if (made := _kind(btf, kind, point)) is not None)
        for program, point in HOOK_POINTS.items()
    }
    return Hooks(kinds, {program: made for program, made in found.items() if made})


def _works(btf: Btf, kind: HookKind, active: Path) -> bool:
    if kind is HookKind.LSM and "bpf" not in _modules(active):
        return False
    made = _kind(btf, kind, _PROBED)
    return made is not None and attachable(made, RETURNS_0)


def _modules(active: Path) -> list[str]:
    try:
        return active.read_text("ascii").strip().split(",")
    except (OSError, UnicodeDecodeError):
        return []


def _kind(btf: Btf, kind: HookKind, point: str) -> ProgramKind | None:
    lsm = kind is HookKind.LSM
    function = btf.function(f"bpf_lsm_{point}" if lsm else f"security_{point}")
    if function is None:
        return None
    return (
        ProgramKind(ProgramType.LSM, _LSM_MAC, function) if lsm else ProgramKind(ProgramType.TRACING, FEXIT, function)
    )


def _code(*instructions: tuple[int, int, int, int]) -> bytes:
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)


_RETURN = ((0xB7, 0x00, 0, 0), (0x95, 0x00, 0, 0))
RETURNS_0 = _code(*_RETURN)


def _asks_for_storage(storage: int) -> bytes:
    """A program that asks for the thread's storage, and for the registers of its call."""
    return _code(
        (0x85, 0x00, 0, 158),  # r0 = bpf_get_current_task_btf()
        (0xBF, 0x06, 0, 0),  # r6 = r0
        (0xBF, 0x01, 0, 0),  # r1 = r0
        (0x85, 0x00, 0, 175),  # bpf_task_pt_regs(r1)
        (0x18, 0x11, 0, storage),  # r1 = the map
        (0x00, 0x00, 0, 0),
        (0xBF, 0x62, 0, 0),  # r2 = r6
        (0xB7, 0x03, 0, 0),  # r3 = 0
        (0xB7, 0x04, 0, 0),  # r4 = 0
        (0x85, 0x00, 0, 156),  # bpf_task_storage_get(r1, r2, r3, r4)
        *_RETURN,
    )
