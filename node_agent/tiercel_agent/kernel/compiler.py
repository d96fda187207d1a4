"""Compiling bpf/ to bytecode, in a process of its own.

bcc keeps LLVM in memory, so a child compiles, and hands over the bytecode and what maps it wants; when it ends, the
compiler is gone. A compile that hangs or crashes takes down the child only. Loading the bytecode needs no compiler
(kernel/loader.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Mapping
from ctypes import c_size_t, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiercel_agent.kernel.source import kconfig, macro_flags, program_text

PROGRAMS = (
    "on_return",
    "walk_name",
    "match_names",
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
    "on_cgroup_made",
    "on_cgroup_removed",
)
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
    "records",
    "settings",
    "rows",
    "automaton",
    "call_rows",
    "connection_rows",
    "process_classes",
    "changed",
    "lineage",
    "clause_rules",
    "shares",
)

# Included by bcc's own preamble; with kconfig.h in place they may be empty.
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
_TIMEOUT = 60.0  # seconds
_NO_BCC = 4  # exit status of the child
_WARNINGS = ("-Wno-everything", "-Werror=implicit-function-declaration", "-Werror=return-type")
# At each call of a helper of these names bcc reads all of /proc/kallsyms, to learn whether the kernel has it: two
# thirds of the time of a compile. Kernels from 5.5 have them; under other names, bcc declares and calls the same ones.
_RENAMED = ("-Dbpf_probe_read_user=probe_read_user", "-Dbpf_probe_read_user_str=probe_read_user_str")


class CompileError(Exception):
    """The programs could not be compiled or loaded: why, in a line; ``log`` is the end of what was printed."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class BccMissing(CompileError):
    """There is no bcc that could be used."""


@dataclass(frozen=True, slots=True)
class MapSpec:
    """What a map is made with: the numbers of ``union bpf_attr``; ``fd`` is what the bytecode calls it by."""

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
    compiler: int
    """The pid that the compiler had."""


def compile_programs(macros: Mapping[str, int]) -> Bytecode:
    """Compiles bpf/ with these macros. Raises CompileError."""
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as result:
        child = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable, "-m", "tiercel_agent.kernel.compiler", str(result.fileno())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(result.fileno(),),
        )
        try:
            child.communicate(json.dumps(dict(macros)).encode(), timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise CompileError(f"no result within {_TIMEOUT:.0f} seconds", _tail(log.fileno())) from None
        if child.returncode != 0:
            *printed, reason = _tail(log.fileno()).splitlines() or [f"the compiler's status is {child.returncode}"]
            raise (BccMissing if child.returncode == _NO_BCC else CompileError)(reason, "\n".join(printed))
        result.seek(0)
        compiled = json.load(result)
    programs = {name: b64decode(code) for name, code in compiled["programs"].items()}
    return Bytecode(programs, {name: MapSpec(*spec) for name, spec in compiled["maps"].items()}, child.pid)


def _tail(fd: int, size: int = 3000) -> str:
    end = os.lseek(fd, 0, os.SEEK_END)
    return os.pread(fd, size, max(0, end - size)).decode(errors="replace").strip()


def _main(result: int) -> None:
    macros = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        headers = dict.fromkeys(_EMPTY_HEADERS, "") | {"linux/kconfig.h": kconfig()}
        for name, text in headers.items():
            path = Path(folder, "include", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        os.environ["BCC_KERNEL_SOURCE"] = folder
        try:
            from bcc import BPF, lib  # noqa: PLC0415 (reads the environment, and LLVM is wanted in this process only)
        except (ImportError, OSError) as error:  # OSError: its library is missing
            print(error)
            sys.exit(_NO_BCC)

        bpf = BPF(text=program_text(), cflags=[*macro_flags(macros), *_WARNINGS, *_RENAMED])
        programs = {name: b64encode(bpf.dump_func(name)).decode() for name in PROGRAMS}
        maps = {name: _map_spec(lib, bpf.module, name.encode()) for name in MAPS}
    with open(result, "w") as file:
        json.dump({"programs": programs, "maps": maps}, file)


def _map_spec(lib: Any, module: Any, name: bytes) -> list[int]:
    number = lib.bpf_table_id(module, name)
    for sizes in (lib.bpf_table_key_size_id, lib.bpf_table_leaf_size_id):  # not declared by bcc's Python part
        sizes.argtypes, sizes.restype = [c_void_p, c_size_t], c_size_t
    return [
        lib.bpf_table_fd(module, name),
        lib.bpf_table_type_id(module, number),
        lib.bpf_table_key_size_id(module, number),
        lib.bpf_table_leaf_size_id(module, number),
        lib.bpf_table_max_entries_id(module, number),
        lib.bpf_table_flags_id(module, number),
    ]


if __name__ == "__main__":
    try:
        _main(int(sys.argv[1]))
    except Exception as error:
        sys.exit(str(error))
