"""Machines that can't be watched: `tiercel detect` says what lacks and what to do in one sentence, and ends with 3.

What lacks is taken away for real, for a child alone: capabilities, a namespace, a file, a system call.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from live_support.deprived import (
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

from tiercel_agent.detection.detector import open_detector
from tiercel_agent.kernel.bytecode.compiler import Bytecode
from tiercel_agent.kernel.bytecode.provider import BytecodeProvider
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.kernel.loading import program_set
from tiercel_agent.kernel.loading.libbpf import library
from tiercel_agent.kernel.probes import offsets
from tiercel_engine.matching.requirements import Requirements

ASKED = Requirements(frozenset({"openat"}), frozenset(), frozenset())
_SYS_RESOURCE = 24
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
    sentence = f"eBPF programs may not be loaded without CAP_BPF and CAP_PERFMON: {TO_DO}"
    if Path("/proc/sys/kernel/unprivileged_bpf_disabled").read_text().strip() != "0":
        sentence += " (kernel.unprivileged_bpf_disabled=0 would not do, since these programs read the kernel's memory)"
    refused(result, sentence)


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
        "a seccomp filter forbids bpf(), although this process has CAP_BPF and CAP_PERFMON: allow it there (docker "
        "run --security-opt seccomp=unconfined, a pod's seccompProfile: {type: Unconfined}, a unit's "
        "SystemCallFilter=bpf)"
    )
    refused(detect(forbid_bpf), sentence)


def test_a_kernel_without_type_information(detect, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    sentence = "the kernel shows no type information in /sys/kernel/btf/vmlinux: use one with CONFIG_DEBUG_INFO_BTF=y"
    refused(detect(lambda: cover("/sys/kernel/btf", tmp_path / "empty")), sentence)


def test_type_information_that_is_cut_short(detect, tmp_path: Path):
    whole = Path("/sys/kernel/btf/vmlinux")
    if not whole.exists():
        pytest.skip("the kernel has no type information")
    (tmp_path / "cut").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    sentence = f"the type information in {whole} can't be read: it is cut short, or only a newer libbpf knows its form"
    refused(detect(lambda: cover(whole, tmp_path / "cut")), sentence)


def test_a_member_that_the_kernel_lacks(opened_detectors, monkeypatch):
    """No kernel that lacks one is at hand here, so this kernel is asked for a member that none has."""
    monkeypatch.setitem(offsets.REQUIRED, "TASK_TIERCEL", ("task_struct.tiercel",))
    with pytest.raises(DetectorError) as refusal:
        open_detector(ASKED)
    assert str(refusal.value) == (
        f"kernel {platform.release()} has no task_struct.tiercel: it can't be watched, please report it"
    )


def test_a_program_that_the_verifier_refuses(opened_detectors, monkeypatch):
    """It ends without a result."""
    bad = {"on_return": bytes((0x95, 0, 0, 0, 0, 0, 0, 0))}
    good = BytecodeProvider.get

    def get(self, *arguments) -> Bytecode:
        bytecode = good(self, *arguments)
        return replace(bytecode, programs={**bytecode.programs, **bad})

    monkeypatch.setattr(BytecodeProvider, "get", get)
    with pytest.raises(DetectorError) as refusal:
        open_detector(ASKED)
    assert str(refusal.value) == (
        f"kernel {platform.release()} refuses the program on_return (Permission denied; R0 !read_ok): "
        "please report this with the lines that follow"
    )
    assert "R0 !read_ok" in refusal.value.log


def test_a_tracepoint_that_the_kernel_lacks(opened_detectors, monkeypatch):
    points = {**program_set._TRACEPOINTS, "tiercel_none": "on_fork"}
    monkeypatch.setattr(program_set, "_TRACEPOINTS", points)
    with pytest.raises(DetectorError) as refusal:
        open_detector(ASKED)
    assert str(refusal.value) == (
        f"kernel {platform.release()} has no tracepoint tiercel_none: use one with CONFIG_TRACEPOINTS=y"
    )


def test_locked_memory_that_may_not_be_raised():
    """Only kernels before 5.11 count it. There, the limit and the refusal are real."""
    program = (
        "from dataclasses import replace; from tiercel_agent.kernel.probes.permissions import *;"
        "facts = replace(read_facts(), release='5.10.0-32-amd64');"
        "print(locked_memory_refusal(allow_locked_memory(facts)))"
    )

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 1 << 20))
        drop(_SYS_RESOURCE)

    told = subprocess.run(
        [sys.executable, "-c", program], preexec_fn=prepare, capture_output=True, text=True, check=True
    )
    assert told.stdout == (
        "kernel 5.10.0-32-amd64 counts eBPF programs and maps as locked memory, of which this process may have "
        "1024 KiB, and it may not raise that: allow more (a unit's LimitMEMLOCK=infinity, docker run --ulimit "
        "memlock=-1), or give it CAP_SYS_RESOURCE (agents of a cluster get it by the operator's "
        "--agent-capability=SYS_RESOURCE)\n"
    )


def test_a_kernel_that_is_locked_down(detect, tmp_path: Path):
    (tmp_path / "lockdown").write_text("none integrity [confidentiality]\n")
    if not Path("/sys/kernel/security").is_dir():
        pytest.skip("no /sys/kernel/security")
    sentence = "kernel lockdown keeps eBPF programs from reading kernel memory: boot with lockdown=integrity"
    refused(detect(lambda: cover("/sys/kernel/security", tmp_path)), sentence)


def test_no_bcc(detect, tmp_path: Path):
    """Another module of that name, such as PyPI's, is found first."""
    (tmp_path / "bcc.py").touch()
    result = detect(lambda: None, {"PYTHONPATH": str(tmp_path), "STATE_DIRECTORY": str(tmp_path / "empty")})
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
        f"Error: eBPF programs could not be compiled for kernel {platform.release()}, please report it: "
        "Failed to compile BPF module <text>"
    )
    assert [line for line in log if line.startswith("maps.h:") and "error: unknown type name 'broken'" in line]
    assert "Traceback" not in result.stderr
    assert result.returncode == 3


def test_what_fewer_capabilities_cost_is_said_at_the_start(detect):
    result = detect(lambda: drop(SYS_PTRACE))
    assert result.stderr.startswith("Warning: CAP_SYS_PTRACE is missing: of processes that run already, ")
    assert "\nwatching: 1 rules" in result.stderr
    assert result.returncode == 0
