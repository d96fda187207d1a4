"""Whether programs may read kernel memory by plain instructions, and how.

``bpf_rdonly_cast`` is a function of the kernel (Linux 6.2 and newer) that makes any address readable as an object of a
type, which is given by its BTF id. The verifier replaces the call by a register move, and a read at an address that
isn't mapped gives 0. The programs of bpf/ have their own offsets (probes/offsets.py) and need plain bytes. Since 6.17
the id 0 stands for those; on older kernels any structure will do that is one long array of integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from tiercel_agent.kernel.loading.loader import is_taken
from tiercel_agent.kernel.probes.btf import Btf

_INSTRUCTION = Struct("<BBhi")
_PLAIN_BYTES = 0
_ARRAYS = ("saved_cmdlines_buffer", "irq_stack")
"""Structures that are an array of integers from their first byte on: of 128 KiB and, on x86-64, of 16 KiB."""
_FARTHEST = 12000
"""Bytes: no member that is read is farther than that from the beginning of its structure."""


@dataclass(frozen=True, slots=True)
class DirectReads:
    """BTF ids: of ``bpf_rdonly_cast``, and of the type that it makes of an address."""

    function: int
    type: int


def direct_reads(btf: Btf) -> DirectReads | None:
    """How this kernel lets programs read its memory by instructions; None if it doesn't.

    Such a read is one instruction, where the helper bpf_probe_read_kernel takes some 75.
    """
    function = btf.function("bpf_rdonly_cast")
    if function is None:
        return None
    structures = [number for name in _ARRAYS if (number := btf.structure(name)) is not None]
    for type_ in (_PLAIN_BYTES, *structures):
        if is_taken(_probe(function, type_)):
            return DirectReads(function, type_)
    return None


def _probe(function: int, type_: int) -> bytes:
    """A program that reads numbers of all sizes: at the beginning, at an unaligned place, and far away."""
    reads = [
        (size, 0x60, offset, 0)  # r0 = *(size *)(r6 + offset)
        for offset in (0, 4, _FARTHEST)
        for size in (0x71, 0x69, 0x61, 0x79)
    ]
    program = [
        (0x79, 0x11, 0, 0),  # r1 = the first argument of the tracepoint
        (0xB7, 0x02, 0, type_),  # r2 = the type
        (0x85, 0x20, 0, function),  # call the kernel's function
        (0xBF, 0x06, 0, 0),  # r6 = r0
        *reads,
        (0xB7, 0x00, 0, 0),  # r0 = 0
        (0x95, 0x00, 0, 0),  # return r0
    ]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
