"""Compiling and loading the programs in a process of its own.

bcc keeps LLVM in memory, so a child compiles, loads, and hands the descriptors of programs and maps over a Unix
socket; when it ends, the compiler is gone. A compile that hangs or crashes takes down the child only.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from ctypes import c_uint32
from dataclasses import dataclass
from pathlib import Path

from tiercel_agent.kernel.source import kconfig, macro_flags, program_text

PROGRAMS = (
    "on_return",
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
)
MAPS = (
    "plans",
    "families",
    "calls",
    "processes",
    "counters",
    "verdicts",
    "subjects",
    "process_classes",
    "changes",
    "generation",
    "lineage",
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
_TIMEOUT = 60.0  # seconds; a verifier that rejects makes bcc print its log and try again
_DESCRIPTORS = 64
_NO_BCC = 4  # exit status of the child
_WARNINGS = ("-Wno-everything", "-Werror=implicit-function-declaration", "-Werror=return-type")
# At each call of a helper of these names bcc reads all of /proc/kallsyms, to learn whether the kernel has it: two
# thirds of the time of a compile. Kernels from 5.5 have them; under other names, bcc declares and calls the same ones.
_RENAMED = ("-Dbpf_probe_read_user=probe_read_user", "-Dbpf_probe_read_user_str=probe_read_user_str")


class CompileError(Exception):
    """The programs could not be compiled or loaded: why, in a line; ``log`` is the end of what bcc printed."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class BccMissing(CompileError):
    """There is no bcc that could be used."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Descriptors of loaded programs and of their maps, by name; the receiver closes them."""

    programs: Mapping[str, int]
    maps: Mapping[str, int]
    compiler: int
    """The pid that the compiler had."""

    def close(self) -> None:
        for fd in (*self.programs.values(), *self.maps.values()):
            os.close(fd)


def compile_programs(macros: Mapping[str, int]) -> Loaded:
    """Compiles bpf/ with these macros and loads it. Raises CompileError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, tempfile.TemporaryFile() as log:
        child = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable, "-m", "tiercel_agent.kernel.compiler", str(theirs.fileno())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        try:
            child.communicate(json.dumps(dict(macros)).encode(), timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise CompileError(f"no result within {_TIMEOUT:.0f} seconds", _tail(log.fileno())) from None
        if child.returncode != 0:
            *printed, reason = _tail(log.fileno()).splitlines() or [f"the compiler's status is {child.returncode}"]
            raise (BccMissing if child.returncode == _NO_BCC else CompileError)(reason, "\n".join(printed))
        message, fds, _, _ = socket.recv_fds(ours, 65536, _DESCRIPTORS)
    names = json.loads(message)
    programs = dict(zip(names["programs"], fds, strict=False))
    return Loaded(programs, dict(zip(names["maps"], fds[len(programs) :], strict=True)), child.pid)


def _tail(fd: int, size: int = 3000) -> str:
    end = os.lseek(fd, 0, os.SEEK_END)
    return os.pread(fd, size, max(0, end - size)).decode(errors="replace").strip()


def _main(channel: int) -> None:
    macros = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        headers = dict.fromkeys(_EMPTY_HEADERS, "") | {"linux/kconfig.h": kconfig()}
        for name, text in headers.items():
            path = Path(folder, "include", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        os.environ["BCC_KERNEL_SOURCE"] = folder
        try:
            from bcc import BPF  # noqa: PLC0415 (reads the environment, and LLVM is wanted in this process only)
        except (ImportError, OSError) as error:  # OSError: its library is missing
            print(error)
            sys.exit(_NO_BCC)

        bpf = BPF(text=program_text(), cflags=[*macro_flags(macros), *_WARNINGS, *_RENAMED])
        programs = {name: bpf.load_func(name, BPF.RAW_TRACEPOINT).fd for name in PROGRAMS}
        # the types of keys and values don't matter here, and bcc can't translate all of them
        maps = {name: bpf.get_table(name, c_uint32, c_uint32).map_fd for name in MAPS}
    with socket.socket(fileno=channel) as sender:
        names = json.dumps({"programs": list(programs), "maps": list(maps)}).encode()
        socket.send_fds(sender, [names], [*programs.values(), *maps.values()])


if __name__ == "__main__":
    try:
        _main(int(sys.argv[1]))
    except Exception as error:
        sys.exit(str(error))
