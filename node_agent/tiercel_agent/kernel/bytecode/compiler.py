"""Compiling bpf/ to bytecode, in a process of its own.

bcc keeps LLVM in memory. So a child process compiles, and returns the bytecode and which maps it needs; the memory is
free again when the child ends. A compile that hangs or crashes ends the child only. Loading the bytecode needs no
compiler (kernel/loading/loader.py).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from ctypes import CDLL, c_size_t, c_void_p
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

from tiercel_agent.kernel.bytecode.hook_points import HOOK_POINTS
from tiercel_agent.kernel.bytecode.program_text import kconfig, macro_flags, program_text

PROGRAMS = (
    "on_return",
    "walk_name",
    "match_names",
    "clean_name",
    "connection",
    "admit",
    "begin",
    "send",
    "plain",
    "paths",
    "descriptor",
    "message",
    "exec_failed",
    "image",
    "on_exec",
    "on_fork",
    "on_exit",
    "on_rename",
    "cgroup_made",
    "cgroup_gone",
)
RING_PROGRAMS = ("ring_begins", "ring_ends", "ring_completes")
"""Those that are there if RINGS is defined."""
MAPS = (
    "plans",
    "families",
    "calls",
    "processes",
    "cgroups",
    "counters",
    "call_counts",
    "undelivered",
    "ended",
    "scratch_spaces",
    "settings",
    "candidate_sets",
    "automaton",
    "call_sets",
    "connection_sets",
    "process_classes",
    "changed",
    "clause_rules",
    "rule_counters",
    "counter_pools",
    "pool_of_rule",
    "told_matches",
    "captured_subjects",
    "captured_names",
    "ring_operations",
    "empty_ring_call",
    "ring_calls",
    "shares",
    "losses",
)

# Headers that bcc includes in front of each program. With kconfig.h in place they may be empty.
_EMPTY_HEADERS = (
    "uapi/linux/bpf.h",
    "uapi/linux/if_packet.h",
    "uapi/linux/ptrace.h",
    "linux/bpf_common.h",
    "linux/version.h",
    "linux/log2.h",
    "linux/types.h",
    "linux/sched.h",
    "linux/fs.h",
    "asm/page.h",
)
LIMIT = 600.0
"""Seconds that compiling may take: an idle machine needs two, a busy or an emulated one some minutes."""
_POLL_INTERVAL = 1.0  # seconds
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_NO_BCC = 4  # exit status of the child
_WARNINGS = ("-Wno-everything", "-Werror=implicit-function-declaration", "-Werror=return-type")
# For each call of a helper of these names, bcc reads all of /proc/kallsyms to learn whether the kernel has it, which
# takes two thirds of the time of a compile. Kernels from 5.5 on have them. Under other names, bcc declares and calls
# the same helpers.
_RENAMED = ("-Dbpf_probe_read_user=probe_read_user", "-Dbpf_probe_read_user_str=probe_read_user_str")
FLAGS = (*_WARNINGS, *_RENAMED)
"""What the compiler is called with besides the macros."""


class CompileError(Exception):
    """The programs could not be compiled or loaded. The message says why; ``log`` is the end of the compiler's
    output."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class BccMissing(CompileError):
    """There is no usable bcc."""


@dataclass(frozen=True, slots=True)
class MapSpec:
    """How a map is made, with the numbers of ``union bpf_attr``; ``fd`` is the number by which the bytecode names the
    map."""

    fd: int
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


@dataclass(frozen=True, slots=True)
class Bytecode:
    """Compiled programs by name, and the maps that they use."""

    programs: Mapping[str, bytes]
    maps: Mapping[str, MapSpec]


@dataclass(frozen=True, slots=True)
class Child:
    """A process of the agent's. ``pid`` is its number in the agent's PID namespace, and ``start`` when it started, in
    clock ticks since boot: that distinguishes it from a later process of the same number."""

    pid: int
    start: int


def compile_programs(
    macros: Mapping[str, int],
    limit: float = LIMIT,
    *,
    begun: Callable[[Child], None] = lambda _child: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Bytecode:
    """Compiles bpf/ with these macros. Raises CompileError, also if it takes more than ``limit`` seconds.

    ``begun`` is called with the process that compiles, ``meanwhile`` about once a second while it runs.
    """
    with tempfile.TemporaryFile() as request, tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as result:
        request.write(json.dumps(dict(macros)).encode())
        request.seek(0)
        child = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable, "-m", "tiercel_agent.kernel.bytecode.compiler", str(result.fileno()), str(os.getpid())],
            stdin=request,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(result.fileno(),),
        )
        try:
            begun(Child(child.pid, start_of(child.pid)))
            _wait(child, limit, meanwhile)
        except subprocess.TimeoutExpired:
            raise CompileError(f"no result within {limit:.0f} seconds", _tail(log.fileno())) from None
        finally:
            if child.returncode is None:
                child.kill()
                child.wait()
        if child.returncode != 0:
            *printed, reason = _tail(log.fileno()).splitlines() or [f"the compiler's status is {child.returncode}"]
            raise (BccMissing if child.returncode == _NO_BCC else CompileError)(reason, "\n".join(printed))
        result.seek(0)
        return decoded(json.load(result))


def encoded(bytecode: Bytecode) -> dict[str, Any]:
    """The bytecode as a value for JSON."""
    programs = {name: b64encode(code).decode() for name, code in bytecode.programs.items()}
    return {"programs": programs, "maps": {name: list(astuple(spec)) for name, spec in bytecode.maps.items()}}


def decoded(value: Mapping[str, Any]) -> Bytecode:
    """The bytecode from the value that ``encoded`` made."""
    programs = {name: b64decode(code) for name, code in value["programs"].items()}
    return Bytecode(programs, {name: MapSpec(*spec) for name, spec in value["maps"].items()})


def _wait(child: subprocess.Popen[bytes], limit: float, meanwhile: Callable[[], None]) -> None:
    """Waits until the child ends. Raises TimeoutExpired."""
    end = time.monotonic() + limit
    while True:
        left = end - time.monotonic()
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, min(left, _POLL_INTERVAL)))
            return
        if left <= 0:
            raise subprocess.TimeoutExpired(child.args, limit)
        meanwhile()


def start_of(process: int | Literal["self"]) -> int:
    """When a process started, in clock ticks since boot. Raises OSError if there is none of that number."""
    return int(Path(f"/proc/{process}/stat").read_bytes().rpartition(b") ")[2].split()[19])


def _tail(fd: int, size: int = 3000) -> str:
    end = os.lseek(fd, 0, os.SEEK_END)
    return os.pread(fd, size, max(0, end - size)).decode(errors="replace").strip()


def _main(result: int, parent: int) -> None:
    # Nobody waits for the result once the agent has ended.
    CDLL(None).prctl(_DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the agent has ended")
    macros = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        headers = dict.fromkeys(_EMPTY_HEADERS, "") | {"linux/kconfig.h": kconfig()}
        for name, text in headers.items():
            path = Path(folder, "include", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        os.environ["BCC_KERNEL_SOURCE"] = folder
        try:
            from bcc import BPF, lib  # noqa: PLC0415 (it reads the environment, and only this process needs LLVM)
        except (ImportError, OSError) as error:  # OSError: its library is missing
            print(error)
            sys.exit(_NO_BCC)

        bpf = BPF(text=program_text(), cflags=[*macro_flags(macros), *FLAGS])
        names = [*PROGRAMS, *(HOOK_POINTS if "HOOKS" in macros else ()), *(RING_PROGRAMS if "RINGS" in macros else ())]
        programs = {name: bpf.dump_func(name) for name in names}
        maps = {name: _map_spec(lib, bpf.module, name.encode()) for name in MAPS}
    with open(result, "w") as file:
        json.dump(encoded(Bytecode(programs, maps)), file)


def _map_spec(lib: Any, module: Any, name: bytes) -> MapSpec:
    number = lib.bpf_table_id(module, name)
    for sizes in (lib.bpf_table_key_size_id, lib.bpf_table_leaf_size_id):  # bcc's Python part doesn't declare them
        sizes.argtypes, sizes.restype = [c_void_p, c_size_t], c_size_t
    return MapSpec(
        lib.bpf_table_fd(module, name),
        lib.bpf_table_type_id(module, number),
        lib.bpf_table_key_size_id(module, number),
        lib.bpf_table_leaf_size_id(module, number),
        lib.bpf_table_max_entries_id(module, number),
        lib.bpf_table_flags_id(module, number),
    )


if __name__ == "__main__":
    try:
        _main(int(sys.argv[1]), int(sys.argv[2]))
    except Exception as error:
        sys.exit(str(error))
