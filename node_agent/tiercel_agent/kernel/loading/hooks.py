"""The kernel's own hooks: the programs at them (bpf/hooks.c), and the storage in which they write for a thread."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from struct import pack

from tiercel_agent.kernel.loading.libbpf import Refused, Thing, code_of, library

STORAGES: Mapping[int, str] = {0x7FFF0004: "captured_subjects", 0x7FFF0005: "captured_names"}
"""The maps that are storages of threads, by the numbers that stand for them in bpf/capture.h."""

TASK_STORAGE, NO_PREALLOC = 29, 1  # BPF_MAP_TYPE_TASK_STORAGE, BPF_F_NO_PREALLOC
KEY_TYPE, VALUE_TYPE = 1, 3
"""Types in what ``storage_types`` returns."""

_INT, _ARRAY = 1, 3  # BTF_KIND_…
_HEADER_LENGTH = 24


def storage_types(size: int) -> int:
    """A descriptor of type information for a storage whose values have that many bytes: the kernel demands it (kernel
    Documentation/bpf/btf.rst has the format). Raises Refused."""
    names = b"\0int\0u8\0"
    types = (
        pack("<4I", 1, _INT << 24, 4, 32)
        + pack("<4I", 5, _INT << 24, 1, 8)
        + pack("<6I", 0, _ARRAY << 24, 0, 2, KEY_TYPE, size)
    )
    header = pack("<HBBIIIII", 0xEB9F, 1, 0, _HEADER_LENGTH, 0, len(types), len(types), len(names))
    blob = header + types + names
    loaded = library().bpf_btf_load(blob, ctypes.c_size_t(len(blob)), None)
    if loaded < 0:
        raise Refused(Thing.TYPES, "storage", code_of(loaded))
    return int(loaded)


def attach_hook(name: str, program_fd: int) -> int:
    """Attaches a loaded program to the hook for which it was loaded; closing the returned descriptor detaches it.
    Raises Refused."""
    opened = library().bpf_raw_tracepoint_open(None, program_fd)
    if opened < 0:
        raise Refused(Thing.HOOK, name, code_of(opened))
    return int(opened)
