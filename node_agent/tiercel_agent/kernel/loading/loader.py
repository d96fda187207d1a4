"""Loading bytecode into the kernel: makes the maps, puts their descriptors and the ids of kernel functions into the
programs, and loads these.

The layout of an instruction is the kernel's (Documentation/bpf/standardization/instruction-set.rst): opcode, registers
(destination in the low half), offset, immediate.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from struct import Struct

from tiercel_agent.kernel.bytecode.compiler import Bytecode, CompileError, MapSpec
from tiercel_agent.kernel.bytecode.hook_points import HOOK_POINTS
from tiercel_agent.kernel.loading.features import (
    AT_RAW_TRACEPOINT,
    CALLS,
    EVENTS,
    OF_EVENTS,
    RING_CODE,
    RINGS,
    Chain,
    Features,
    ProgramKind,
    ProgramType,
    part_of,
)
from tiercel_agent.kernel.loading.hooks import (
    KEY_TYPE,
    NO_PREALLOC,
    STORAGES,
    TASK_STORAGE,
    VALUE_TYPE,
    attach_hook,
    storage_types,
)
from tiercel_agent.kernel.loading.libbpf import Refused, Thing, code_of, library
from tiercel_agent.kernel.loading.libbpf_options import LoadOptions, MapOptions, RunOptions

DIRECT_READS = 0x7FFF0001
"""The number that stands for bpf_rdonly_cast in the C code (bpf/read.h)."""

_INSTRUCTION = Struct("<BBhi")
_LOAD_64, _CALL = 0x18, 0x85
_MAP_BY_FD, _KERNEL_FUNCTION = 1, 2  # BPF_PSEUDO_MAP_FD, BPF_PSEUDO_KFUNC_CALL, as source register
_LOG_SIZE = 1 << 22
_MOST_LOGGED = 3000  # characters of a log
_INSTRUCTIONS, _STATISTICS = 1, 4  # BPF_LOG_LEVEL1, BPF_LOG_STATS
_RINGS = {0x7FFF0002: "calls", 0x7FFF0003: "processes"}
"""The numbers that stand for rings in bpf/shares.h, where bcc has no names for them."""
_MAPPED = ("candidate_sets",)
_MMAPABLE = 1 << 10  # BPF_F_MMAPABLE


_NAME_PREFIX = "tcl_"
_NAME_LENGTH = 15


def kernel_name(name: str) -> str:
    """The name by which the kernel knows a program or a map, as bpftool shows it: cut to what the kernel keeps, and
    without the function that a program of a ring is at."""
    return (_NAME_PREFIX + name.partition(":")[0])[:_NAME_LENGTH]


_ARRAY = 2  # BPF_MAP_TYPE_ARRAY


@dataclass(frozen=True, slots=True)
class Size:
    """A map's number of entries, and the size of a value in bytes."""

    entries: int
    value: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """Descriptors of loaded programs and of their maps, by name; the receiver closes them."""

    programs: Mapping[str, int]
    maps: Mapping[str, int]
    missing: Mapping[str, Refused] = field(default_factory=dict)
    """The optional programs that the verifier has refused."""

    def close(self) -> None:
        for fd in (*self.programs.values(), *self.maps.values()):
            os.close(fd)


def load_programs(
    bytecode: Bytecode,
    sizes: Mapping[str, Size],
    features: Features,
    optional: Container[str] = (),
    wanted: Collection[str] = (),
) -> Loaded:
    """Makes the maps and loads the programs. Nothing runs until they are attached.

    ``sizes`` has the maps whose size is chosen here, ``features`` those for which the programs were compiled,
    ``optional`` has the parts that may be refused (``part_of``), ``wanted`` of the programs at functions and hooks of
    the kernel those that are needed. Raises CompileError or Refused.
    """
    maps: dict[str, int] = {}
    programs: dict[str, int] = {}
    missing: dict[str, Refused] = {}
    try:
        _make_maps(bytecode, sizes, features, maps)
        for name, kinds, code in _linked_programs(bytecode, features, maps):
            part = part_of(name)
            if part in missing or not _is_wanted(name, features, wanted):
                continue
            try:
                programs[name] = _loaded(name, kinds, code)
            except Refused as refused:
                if part not in optional or not (refused.by_verifier or kinds[0].function):
                    raise
                missing[part] = refused
    except Exception:
        Loaded(programs, maps).close()
        raise
    return Loaded(programs, maps, missing)


def _is_wanted(name: str, features: Features, wanted: Collection[str]) -> bool:
    if name in features.hooks or ":" in name:
        return name in wanted
    return not name.startswith(RINGS.prefix) or any(":" in each for each in wanted) or name in RING_CODE


def verify_programs(bytecode: Bytecode, sizes: Mapping[str, Size], features: Features) -> dict[str, tuple[int, str]]:
    """For each program the kernel's error number (0: the program loads) and the verifier's statistics. Nothing stays
    loaded.

    The arguments are those of ``load_programs``. Raises CompileError, or Refused if it isn't the verifier that refuses.
    """
    maps: dict[str, int] = {}
    results = {}
    try:
        _make_maps(bytecode, sizes, features, maps)
        for name, kinds, code in _linked_programs(bytecode, features, maps):
            loaded, log = _verified(name, kinds[0], code, _STATISTICS)
            if loaded >= 0:
                os.close(loaded)
            elif not log:
                raise Refused(Thing.PROGRAM, name, code_of(loaded))
            results[name] = (0 if loaded >= 0 else code_of(loaded), log)
    finally:
        Loaded({}, maps).close()
    return results


def _make_maps(bytecode: Bytecode, sizes: Mapping[str, Size], features: Features, maps: dict[str, int]) -> None:
    """Makes the maps, and adds their descriptors to ``maps`` one by one, so that the caller can close them if one is
    refused. Raises Refused."""
    for name, spec in bytecode.maps.items():
        if name in STORAGES.values():
            if features.hooks:
                maps[name] = _create_storage(name, spec.value_size)
            continue
        flags = spec.flags | (_MMAPABLE if name in _MAPPED else 0)
        size = sizes.get(name, Size(spec.max_entries, spec.value_size))
        maps[name] = _create(name, replace(spec, max_entries=size.entries, value_size=size.value, flags=flags))
    for chain in features.chains:
        maps[chain.array] = _create(chain.array, bytecode.maps["families"])


def _linked_programs(
    bytecode: Bytecode, features: Features, maps: Mapping[str, int]
) -> Iterator[tuple[str, tuple[ProgramKind, ...], bytes]]:
    """Name and code of each program, and what it can be loaded as, the best first. Raises CompileError."""
    by_number = {spec.fd: maps[name] for name, spec in bytecode.maps.items() if name in maps}
    by_number |= {number: maps[name] for number, name in {**_RINGS, **STORAGES}.items() if name in maps}
    of_calls = AT_RAW_TRACEPOINT if features.call_event is None else ProgramKind(ProgramType.TRACEPOINT)

    def linked(code: str, chain: Chain = CALLS) -> bytes:
        found = by_number | {bytecode.maps["families"].fd: maps[chain.array]}
        return _linked(bytecode.programs[code], found, features.direct_reads)

    for name in bytecode.programs:
        if name in HOOK_POINTS:
            if name in features.hooks:
                yield name, features.hooks[name], linked(name)
        elif name in OF_EVENTS:
            yield name, (AT_RAW_TRACEPOINT,), linked(name, EVENTS if EVENTS in features.chains else CALLS)
        elif name not in RING_CODE:
            yield name, (of_calls,), linked(name)
    kinds = {EVENTS: AT_RAW_TRACEPOINT}
    if features.rings is not None and features.rings.tracepoints:
        for name in ("ring_begins", "ring_completes"):
            yield name, (AT_RAW_TRACEPOINT,), linked(name)
    elif features.rings is not None:
        for function, (begins, ends) in features.rings.functions.items():
            kinds[RINGS] = ends
            yield f"ring_begins:{function}", (begins,), linked("ring_begins", RINGS)
            yield f"ring_ends:{function}", (ends,), linked("ring_ends", RINGS)
    for chain in features.chains:
        for name in chain.copies:
            yield chain.prefix + name, (kinds[chain],), linked(name, chain)


def takes_storage(code: Callable[[int], bytes]) -> bool:
    """Whether the kernel gives programs at tracepoints a storage for the thread; ``code`` makes the instructions of one
    that asks for it, of the descriptor of the map. Nothing stays loaded."""
    try:
        storage = _create_storage("probe", 8)
    except Refused:
        return False
    try:
        return is_taken(code(storage))
    finally:
        os.close(storage)


def takes_value(size: int) -> bool:
    """Whether an array map may have a value of so many bytes."""
    try:
        made = _create("probe", MapSpec(-1, _ARRAY, 4, size, 1, 0))
    except Refused as refused:
        return refused.errno != errno.E2BIG
    os.close(made)
    return True


def _create_storage(name: str, size: int) -> int:
    """A map with a value of that many bytes for each thread. Raises Refused."""
    types = storage_types(size)
    try:
        return _create(name, MapSpec(-1, TASK_STORAGE, 4, size, 0, NO_PREALLOC), types)
    finally:
        os.close(types)


def _create(name: str, spec: MapSpec, types: int = 0) -> int:
    options = MapOptions(sz=ctypes.sizeof(MapOptions), map_flags=spec.flags)
    if types:
        options.btf_fd, options.btf_key_type_id, options.btf_value_type_id = types, KEY_TYPE, VALUE_TYPE
    made = library().bpf_map_create(
        spec.type,
        kernel_name(name).encode(),
        spec.key_size,
        spec.value_size,
        spec.max_entries,
        ctypes.byref(options),
    )
    if made < 0:
        raise Refused(Thing.MAP, name, code_of(made))
    return int(made)


def _linked(code: bytes, maps: Mapping[int, int], direct_reads: int | None) -> bytes:
    """The code with the descriptors of our maps and the id of the kernel's function put in. Raises CompileError."""
    linked = bytearray(code)
    skip = False
    for at in range(0, len(linked), _INSTRUCTION.size):
        if skip:  # the second half of a 64-bit load
            skip = False
            continue
        opcode, registers, offset, immediate = _INSTRUCTION.unpack_from(linked, at)
        if opcode == _LOAD_64:
            skip = True
            if registers >> 4 == _MAP_BY_FD:
                _INSTRUCTION.pack_into(linked, at, opcode, registers, offset, maps[immediate])
        elif opcode == _CALL and immediate == DIRECT_READS:
            if direct_reads is None:
                raise CompileError("the programs read the kernel's memory in a way that this kernel doesn't know")
            _INSTRUCTION.pack_into(linked, at, opcode, _KERNEL_FUNCTION << 4, 0, direct_reads)
    return bytes(linked)


def _loaded(name: str, kinds: Sequence[ProgramKind], code: bytes) -> int:
    """The descriptor of the program, loaded as the first of these kinds that the kernel takes. Raises Refused."""
    for kind in kinds[:-1]:
        try:
            return _load(name, kind, code)
        except Refused:
            continue
    return _load(name, kinds[-1], code)


def _load(name: str, kind: ProgramKind, code: bytes) -> int:
    """The descriptor of the loaded program. Raises Refused."""
    loaded, _ = _verified(name, kind, code, 0)
    if loaded >= 0:
        return loaded
    refused = code_of(loaded)
    # Load it again to get the reasons: first the statistics, then all instructions. Kernels before 6.4 keep only the
    # beginning of a log that is too long, and the log of a large program takes too much time.
    again, log = _verified(name, kind, code, _STATISTICS)
    if again < 0 and code_of(again) != errno.E2BIG:
        again, whole = _verified(name, kind, code, _INSTRUCTIONS)
        log = whole if again < 0 and code_of(again) == refused else log
    if again >= 0:
        return again
    raise Refused(Thing.PROGRAM, name, refused, log[-_MOST_LOGGED:])


def _verified(name: str, kind: ProgramKind, code: bytes, log_level: int) -> tuple[int, str]:
    """What libbpf returned (a descriptor, or a failure), and what the verifier wrote."""
    options = LoadOptions(sz=ctypes.sizeof(LoadOptions), attempts=5)
    options.expected_attach_type, options.attach_btf_id = kind.attach, kind.function
    log = ctypes.create_string_buffer(_LOG_SIZE if log_level else 1)
    if log_level:
        options.log_level, options.log_size, options.log_buf = log_level, _LOG_SIZE, ctypes.addressof(log)
    instructions = len(code) // _INSTRUCTION.size
    loaded = library().bpf_prog_load(
        kind.type, kernel_name(name).encode(), b"GPL", code, instructions, ctypes.byref(options)
    )
    return int(loaded), log.value.decode(errors="replace").strip()


def attachable(kind: ProgramKind, code: bytes) -> bool:
    """Whether the kernel loads these instructions as a program of that kind, and attaches it. It doesn't stay so."""
    loaded, _ = _verified("probe", kind, code, 0)
    if loaded < 0:
        return False
    try:
        os.close(attach_hook("probe", loaded))
    except Refused:
        return False
    finally:
        os.close(loaded)
    return True


def is_taken(code: bytes) -> bool:
    """Whether the kernel loads a program of these instructions. It doesn't stay loaded."""
    loaded, _ = _verified("probe", AT_RAW_TRACEPOINT, code, 0)
    if loaded < 0:
        return False
    os.close(loaded)
    return True


def result_of(code: bytes) -> int | None:
    """What a program of these instructions returns when this process runs it once; None if the kernel doesn't load it,
    or doesn't run it so. It doesn't stay loaded."""
    loaded, _ = _verified("probe", AT_RAW_TRACEPOINT, code, 0)
    if loaded < 0:
        return None
    options = RunOptions(sz=ctypes.sizeof(RunOptions))
    try:
        failed = library().bpf_prog_test_run_opts(loaded, ctypes.byref(options))
    finally:
        os.close(loaded)
    return None if failed else int(options.retval)
