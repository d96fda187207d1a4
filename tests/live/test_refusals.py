"""Machines that can't be watched: `tiercel detect` says what lacks and what to do in one sentence, and ends with 3.

What lacks is taken away for real, for a child alone: capabilities, a namespace, a file, a system call.
"""

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

from tiercel_agent.kernel.libbpf import library

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS, _NEW_USER = 0x20000, 0x10000000
_BIND, _PRIVATE_EVERYWHERE = 0x1000, 0x40000 | 0x4000
_CAPBSET_DROP, _NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 24, 38, 22, 2
_PERFMON, _BPF, _SYS_ADMIN, _SYS_PTRACE = 38, 39, 21, 19
_CANNOT_TAKE = 77
_BPF_CALL = {"x86_64": 321, "aarch64": 280}

RULES = "- rule: Bpf\n  desc: d\n  condition: evt.type = bpf\n  output: o\n  priority: INFO\n"


def check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def drop(*capabilities: int) -> None:
    """From what root gets at the next exec."""
    for capability in capabilities:
        check(_LIBC.prctl(_CAPBSET_DROP, capability, 0, 0, 0))


def cover(path: str | Path, cover: str | Path) -> None:
    """Shows ``cover`` in place of ``path`` in a mount namespace of this process."""
    check(_LIBC.unshare(_NEW_MOUNTS))
    check(_LIBC.mount(b"none", b"/", None, _PRIVATE_EVERYWHERE, None))
    check(_LIBC.mount(os.fsencode(cover), os.fsencode(path), None, _BIND, None))


def forbid_bpf() -> None:
    """By a seccomp filter as container runtimes have it: bpf() fails with EPERM."""
    number = _BPF_CALL[platform.machine()]
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
    check(_LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    check(_LIBC.prctl(_SET_SECCOMP, _FILTER, header, 0, 0))


@pytest.fixture
def detect(tmp_path: Path, opened_detectors: object) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `tiercel detect` for a moment in a child that ``takes`` something away from itself first."""
    if os.geteuid() != 0:
        pytest.skip("live tests need root")
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
            env={**os.environ, **(env or {})},
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


TO_DO = "run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"


@pytest.mark.parametrize(
    ("capabilities", "named"),
    [
        ((_BPF, _SYS_ADMIN), "CAP_BPF"),
        ((_PERFMON, _SYS_ADMIN), "CAP_PERFMON"),
        (range(40), "CAP_BPF and CAP_PERFMON"),
    ],
)
def test_missing_capabilities_are_named(detect, capabilities, named):
    refused(detect(lambda: drop(*capabilities)), f"eBPF programs may not be loaded without {named}: {TO_DO}")


def test_not_root(detect, tmp_path: Path):
    def become_nobody() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    # pytest's folders are closed to others; if the checkout is too, this user can't run the tool at all
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    try:
        result = detect(become_nobody)
    except PermissionError:
        pytest.skip("other users may not enter the checkout")
    refused(result, f"eBPF programs may not be loaded without CAP_BPF and CAP_PERFMON: {TO_DO}")


def test_root_of_a_user_namespace(detect):
    def become_its_root() -> None:
        uid = os.getuid()
        check(_LIBC.unshare(_NEW_USER))
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")

    sentence = "eBPF programs may not be loaded from inside a user namespace: run as root of the machine itself"
    refused(detect(become_its_root), sentence)


def test_a_seccomp_filter(detect):
    if platform.machine() not in _BPF_CALL:
        pytest.skip(f"the number of bpf() on {platform.machine()} is unknown here")
    sentence = (
        "the kernel refuses bpf() although this process has CAP_BPF and CAP_PERFMON: allow it in the seccomp filter or "
        "security module that forbids it (in a container: run it privileged)"
    )
    refused(detect(forbid_bpf), sentence)


def test_a_kernel_without_type_information(detect, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    sentence = "the kernel shows no type information in /sys/kernel/btf/vmlinux: use one with CONFIG_DEBUG_INFO_BTF=y"
    refused(detect(lambda: cover("/sys/kernel/btf", tmp_path / "empty")), sentence)


def test_a_kernel_that_is_locked_down(detect, tmp_path: Path):
    (tmp_path / "lockdown").write_text("none integrity [confidentiality]\n")
    if not Path("/sys/kernel/security").is_dir():
        pytest.skip("no /sys/kernel/security")
    sentence = "kernel lockdown keeps eBPF programs from reading kernel memory: boot with lockdown=integrity"
    refused(detect(lambda: cover("/sys/kernel/security", tmp_path)), sentence)


def test_no_bcc(detect, tmp_path: Path):
    """A module of that name comes first that is something else, like PyPI's."""
    (tmp_path / "bcc.py").touch()
    result = detect(lambda: None, {"PYTHONPATH": str(tmp_path)})
    refused(
        result,
        f"bcc can't be used (cannot import name 'BPF' from 'bcc' ({tmp_path}/bcc.py)): "
        "apt-get install python3-bpfcc, for a Python that sees it",
    )


def test_no_libbpf(detect, tmp_path: Path):
    library()
    place = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/libbpf.so" in line)
    (tmp_path / "empty").touch()
    result = detect(lambda: cover(place, tmp_path / "empty"))
    refused(result, "libbpf is not installed (Debian and Ubuntu: apt-get install python3-bpfcc)")


def test_programs_that_do_not_compile_come_with_the_compilers_words(detect, tmp_path: Path):
    import tiercel_agent

    header = Path(tiercel_agent.__file__).parent / "bpf" / "maps.h"
    (tmp_path / "maps.h").write_text(header.read_text() + "broken thing;\n")
    result = detect(lambda: cover(header.resolve(), tmp_path / "maps.h"))
    sentence, *log = result.stderr.splitlines()
    assert sentence == (
        "Error: eBPF programs could not be loaded, please report it: Failed to compile BPF module <text>"
    )
    assert [line for line in log if line.startswith("maps.h:") and "error: unknown type name 'broken'" in line]
    assert "Traceback" not in result.stderr
    assert result.returncode == 3


def test_what_fewer_capabilities_cost_is_said_at_the_start(detect):
    result = detect(lambda: drop(_SYS_PTRACE))
    assert result.stderr.startswith("note: CAP_SYS_PTRACE is missing: of processes that run already, ")
    assert "\nwatching: 1 rules" in result.stderr
    assert result.returncode == 0
