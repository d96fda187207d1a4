"""Each reason for which a kernel refuses has a sentence of its own that says what to do: of kernels that aren't here.

What can be taken away on this machine is in tests/live/detector/test_refusals.py.
"""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest

from tiercel_agent.kernel.bytecode.compiler import BccMissing, CompileError
from tiercel_agent.kernel.loading.libbpf import LibbpfError, Refused, Thing
from tiercel_agent.kernel.probes.permissions import Facts, refusal
from tiercel_agent.kernel.refusals import explained, last_words

HERE = Facts(
    release="6.1.0-50-cloud-amd64",
    capabilities=1 << 38 | 1 << 39,
    user=0,
    user_map=("0", "0", "4294967295"),
    seccomp=False,
    bpf_answer=errno.EINVAL,
    lockdown="none",
    modules="lockdown,capability,yama,apparmor,bpf",
    unprivileged_bpf_disabled="2",
    locked_memory=-1,
)
RELEASE = HERE.release
DEBIAN_11 = replace(HERE, release="5.10.0-32-amd64", locked_memory=65536)


def test_a_machine_that_can_be_watched_is_not_refused():
    assert refusal(HERE) is None
    assert refusal(replace(HERE, lockdown="integrity")) is None, "it forbids programs that write, and none else"
    assert refusal(replace(HERE, seccomp=True)) is None, "a filter that lets bpf() through"
    assert refusal(replace(HERE, capabilities=1 << 21)) is None, "CAP_SYS_ADMIN is both"
    assert refusal(DEBIAN_11) is None, "it may be enough, or be raised"


@pytest.mark.parametrize("release", ["5.7.19", "4.19.0-27-amd64", "5.4.0+"])
def test_a_kernel_that_is_too_old(release: str):
    assert refusal(replace(HERE, release=release)) == f"kernel {release} is too old: 5.8 or newer is needed"


@pytest.mark.parametrize("release", ["5.8.0", "5.10", "6.1+local", "7.2.13+deb14-cloud-amd64", "next-20261130"])
def test_any_other_release_is_tried(release: str):
    assert refusal(replace(HERE, release=release)) is None


SECCOMP = "a seccomp filter forbids bpf(), although this process has CAP_BPF and CAP_PERFMON: allow it there (docker "
MODULE = (
    "the kernel refuses bpf() although this process has CAP_BPF and CAP_PERFMON: allow it in the security module that "
    "forbids it (there are lockdown,capability,yama,apparmor,bpf), in a container run it privileged"
)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bpf_answer": errno.EPERM, "seccomp": True}, SECCOMP),
        ({"bpf_answer": errno.ENOSYS, "seccomp": True}, SECCOMP),
        ({"bpf_answer": errno.ENOSYS}, f"kernel {RELEASE} has no bpf(): use one with CONFIG_BPF_SYSCALL=y"),
        ({"bpf_answer": errno.EPERM}, MODULE),
        (
            {"bpf_answer": errno.EPERM, "lockdown": "integrity"},
            MODULE + "; if it is kernel lockdown, which is on here (integrity), boot with lockdown=none",
        ),
        (
            {"lockdown": "confidentiality"},
            "kernel lockdown keeps eBPF programs from reading kernel memory: boot with lockdown=integrity",
        ),
    ],
)
def test_what_forbids_bpf_is_named(change: dict[str, Any], sentence: str):
    found = refusal(replace(HERE, **change))
    assert found is not None
    assert found.startswith(sentence)


def test_a_setting_that_would_not_help_is_named_to_those_who_may_think_of_it():
    nobody = replace(HERE, user=1000, capabilities=0)
    would_not = "(kernel.unprivileged_bpf_disabled=0 would not do, since these programs read the kernel's memory)"
    assert str(refusal(nobody)).endswith(would_not)
    assert would_not not in str(refusal(replace(nobody, unprivileged_bpf_disabled="0")))
    assert would_not not in str(refusal(replace(HERE, capabilities=0)))


VERIFIER = "0: (85) call foo#1\nR1 type=scalar expected=fp\nprocessed 1 insns (limit 1000000) max_states_per_insn 0"
TOO_LARGE = "BPF program is too large. Processed 1000001 insn\nprocessed 1000001 insns (limit 1000000) total_states 9"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            Refused(Thing.PROGRAM, "send", errno.EACCES, VERIFIER),
            f"kernel {RELEASE} refuses the program send (Permission denied; R1 type=scalar expected=fp): "
            "please report this with the lines that follow",
        ),
        (
            Refused(Thing.PROGRAM, "on_return", errno.E2BIG, TOO_LARGE),
            f"kernel {RELEASE} refuses the program on_return (Argument list too long; BPF program is too large. "
            "Processed 1000001 insn): please report this with the lines that follow",
        ),
        (
            Refused(Thing.PROGRAM, "on_return", errno.EINVAL, "9: (85) call\nunknown func bpf_probe_read_kernel#113"),
            f"kernel {RELEASE} lets no program read its memory (the program on_return: unknown func "
            "bpf_probe_read_kernel#113): kernel lockdown does that, boot with lockdown=integrity",
        ),
        (Refused(Thing.PROGRAM, "send", errno.EPERM), MODULE),
        (Refused(Thing.MAP, "candidate_sets", errno.EACCES), MODULE),
        (
            Refused(Thing.MAP, "candidate_sets", errno.ENOMEM),
            f"kernel {RELEASE} has no memory for the map candidate_sets: free some, or allow this control group more",
        ),
        (
            Refused(Thing.MAP, "calls", errno.EINVAL),
            f"kernel {RELEASE} refuses the map calls (Invalid argument): please report this",
        ),
        (
            Refused(Thing.TRACEPOINT, "sys_exit", errno.ENOENT),
            f"kernel {RELEASE} has no tracepoint sys_exit: use one with CONFIG_FTRACE_SYSCALLS=y",
        ),
        (
            Refused(Thing.TRACEPOINT, "sched_process_exec", 524),
            f"kernel {RELEASE} refuses the raw tracepoint sched_process_exec (Operation not supported): "
            "please report this",
        ),
        (CompileError("bpf: Failed to load program: Operation not permitted"), MODULE),
        (
            CompileError("no result within 600 seconds"),
            f"eBPF programs could not be compiled for kernel {RELEASE}, please report it: no result within 600 seconds",
        ),
        (BccMissing("No module named 'bcc'"), "bcc can't be used (No module named 'bcc'): apt-get install "),
        (
            LibbpfError(errno.EMFILE, "ring buffer: Too many open files"),
            f"eBPF programs could not be loaded for kernel {RELEASE}, please report it: ring buffer: Too many open",
        ),
    ],
)
def test_what_was_refused_is_named(error: CompileError | LibbpfError, sentence: str):
    assert explained(error, HERE)[0].startswith(sentence)


def test_only_what_nobody_foresaw_comes_with_lines_for_a_report():
    assert explained(Refused(Thing.PROGRAM, "send", errno.EACCES, VERIFIER), HERE)[1] == VERIFIER
    assert explained(CompileError("unknown", "records.h:1: error"), HERE)[1] == "records.h:1: error"
    assert explained(Refused(Thing.TRACEPOINT, "sys_exit", errno.ENOENT), HERE)[1] == ""
    assert explained(CompileError("Operation not permitted", "lines"), HERE)[1] == ""


def test_before_5_11_what_is_not_permitted_may_be_locked_memory():
    refused = Refused(Thing.MAP, "candidate_sets", errno.EPERM)
    assert explained(refused, DEBIAN_11)[0] == (
        "kernel 5.10.0-32-amd64 counts eBPF programs and maps as locked memory, of which this process may have 64 KiB, "
        "and it may not raise that: allow more (a unit's LimitMEMLOCK=infinity, docker run --ulimit memlock=-1), or "
        "give it CAP_SYS_RESOURCE (agents of a cluster get it by the operator's --agent-capability=SYS_RESOURCE)"
    )
    assert explained(refused, replace(DEBIAN_11, locked_memory=-1))[0] == MODULE
    assert explained(refused, replace(DEBIAN_11, release=RELEASE))[0] == MODULE


def test_the_verifiers_last_word_is_no_statistics():
    assert last_words(VERIFIER) == "R1 type=scalar expected=fp"
    assert last_words(TOO_LARGE) == "BPF program is too large. Processed 1000001 insn"
    assert last_words("processed 1 insns (limit 1000000)\nverification time 5 usec\nstack depth 0") == ""
    assert last_words("R0 !read_ok\nprocessed 1 insns (limit 1000000)\ninsns processed 1") == "R0 !read_ok"  # 7.2
