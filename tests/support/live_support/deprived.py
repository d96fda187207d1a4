"""`tiercel detect` in a child process that lacks something, which the child drops before it executes the tool."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS, NEW_USER = 0x20000, 0x10000000
_BIND, _PRIVATE_EVERYWHERE, _READ_ONLY = 0x1000, 0x40000 | 0x4000, 1
_CAPBSET_DROP, _NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 24, 38, 22, 2
PERFMON, BPF, SYS_ADMIN, SYS_PTRACE = 38, 39, 21, 19
_CANNOT_TAKE = 77
BPF_CALL = {"x86_64": 321, "aarch64": 280}

RULES = "- rule: Bpf\n  desc: d\n  condition: evt.type = bpf\n  output: o\n  priority: INFO\n"


def check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def drop(*capabilities: int) -> None:
    """Removes capabilities from those that root gets at the next exec."""
    for capability in capabilities:
        check(LIBC.prctl(_CAPBSET_DROP, capability, 0, 0, 0))


def cover(path: str | Path, cover: str | Path) -> None:
    """Shows ``cover`` in place of ``path`` in a mount namespace of this process."""
    check(LIBC.unshare(_NEW_MOUNTS))
    check(LIBC.mount(b"none", b"/", None, _PRIVATE_EVERYWHERE, None))
    check(LIBC.mount(os.fsencode(cover), os.fsencode(path), None, _BIND, None))


def mount_disk(path: Path, options: str, *, read_only: bool = False) -> None:
    """Mounts a file system in memory, in a mount namespace of this process."""
    path.mkdir(exist_ok=True)
    check(LIBC.unshare(_NEW_MOUNTS))
    check(LIBC.mount(b"none", b"/", None, _PRIVATE_EVERYWHERE, None))
    check(LIBC.mount(b"none", os.fsencode(path), b"tmpfs", _READ_ONLY if read_only else 0, options.encode()))


def forbid_bpf() -> None:
    """Installs a seccomp filter such as container runtimes have, by which bpf() fails with EPERM."""
    number = BPF_CALL[platform.machine()]
    program = b"".join(
        struct.pack("<HBBI", *instruction)
        for instruction in (
            (0x20, 0, 0, 0),  # load the call's number
            (0x15, 0, 1, number),  # if it is bpf
            (0x06, 0, 0, 0x00050001),  # fail with EPERM
            (0x06, 0, 0, 0x7FFF0000),  # else allow
        )
    )
    buffer = ctypes.create_string_buffer(program)
    header = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", 4, ctypes.addressof(buffer)))
    check(LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    check(LIBC.prctl(_SET_SECCOMP, _FILTER, header, 0, 0))


Detect = Callable[..., subprocess.CompletedProcess[str]]


def detect_in(tmp_path: Path, state: Path) -> Detect:
    """Runs `tiercel detect` for a moment in a child that ``takes`` something away from itself first.

    What it keeps is in ``state``.
    """
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)

    def run(takes: Callable[[], None], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        def prepare() -> None:
            try:
                takes()
            except OSError as error:
                os.write(2, str(error).encode())
                os._exit(_CANNOT_TAKE)

        result = subprocess.run(
            [sys.executable, "-c", "from tiercel_cli.main import main; main()", "detect", "-r", rules, "--for", "0s"],
            preexec_fn=prepare,
            env={**os.environ, "STATE_DIRECTORY": str(state), **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode == _CANNOT_TAKE:
            pytest.skip(f"cannot be taken away here: {result.stderr}")
        return result

    return run


def refused(result: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert result.stderr == f"Error: {sentence}\n"
    assert (result.returncode, result.stdout) == (3, "")
