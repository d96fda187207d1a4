"""Machines that can't be watched: `tiercel detect` says what lacks and what to do in one sentence, and ends with 3.

What lacks is taken away for real, for a child alone: capabilities, a namespace, a file, a system call.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest
from deprived import (
    BPF,
    BPF_CALL,
    LIBC,
    NEW_USER,
    PERFMON,
    SYS_ADMIN,
    SYS_PTRACE,
    check,
    cover,
    drop,
    forbid_bpf,
    refused,
)

from tiercel_agent.kernel.libbpf import library

TO_DO = "run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"


@pytest.mark.parametrize(
    ("capabilities", "named"),
    [
        ((BPF, SYS_ADMIN), "CAP_BPF"),
        ((PERFMON, SYS_ADMIN), "CAP_PERFMON"),
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
        check(LIBC.unshare(NEW_USER))
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")

    sentence = "eBPF programs may not be loaded from inside a user namespace: run as root of the machine itself"
    refused(detect(become_its_root), sentence)


def test_a_seccomp_filter(detect):
    if platform.machine() not in BPF_CALL:
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
    result = detect(lambda: drop(SYS_PTRACE))
    assert result.stderr.startswith("note: CAP_SYS_PTRACE is missing: of processes that run already, ")
    assert "\nwatching: 1 rules" in result.stderr
    assert result.returncode == 0
