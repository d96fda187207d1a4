"""What the kernel refused, in one sentence: what is missing and what to do."""

from __future__ import annotations

import errno
import re

from tiercel_agent.kernel.bytecode.compiler import BccMissing, CompileError
from tiercel_agent.kernel.loading.libbpf import LibbpfError, Refused, Thing, reason
from tiercel_agent.kernel.probes.permissions import Facts, locked_memory_refusal, module_refusal

_FORBIDDEN = (errno.EPERM, errno.EACCES)
_FORBIDDEN_IN_WORDS = ("Operation not permitted", "super-user")  # as bcc prints them
_OF_STATISTICS = ("processed ", "verification time ", "stack depth ", "max_states_per_insn ", "insns processed ")
_READS = re.compile(r"(unknown func|cannot use helper|cannot call helper).*bpf_probe_read_kernel")
_TRACEPOINTS_NEED = {
    "sys_exit": "CONFIG_FTRACE_SYSCALLS=y",
    "cgroup_mkdir": "CONFIG_CGROUPS=y",
    "cgroup_rmdir": "CONFIG_CGROUPS=y",
}


def explained(error: CompileError | LibbpfError, facts: Facts) -> tuple[str, str]:
    """The sentence, and the lines that a report of the failure should have; "" if the failure is a known one."""
    if isinstance(error, BccMissing):
        return f"bcc can't be used ({error}): apt-get install python3-bpfcc, for a Python that sees it", ""
    if isinstance(error, Refused):
        what, remedy = _refused(error, facts)
        return f"{what}: {remedy}", error.log if error.by_verifier else ""
    log = error.log if isinstance(error, CompileError) else ""
    if any(sign in f"{error}{log}" for sign in _FORBIDDEN_IN_WORDS):
        return _forbidden(facts), ""
    what = "compiled" if isinstance(error, CompileError) else "loaded"
    text = str(error.strerror) if isinstance(error, LibbpfError) else str(error)
    return f"eBPF programs could not be {what} for kernel {facts.release}, please report it: {text}", log


def in_short(error: Refused, facts: Facts) -> str:
    """What was refused and why, without what to do."""
    return _refused(error, facts)[0]


def last_words(log: str) -> str:
    """The last line that the verifier wrote before its statistics: it says why."""
    lines = (line.strip() for line in reversed(log.splitlines()))
    return next((line for line in lines if line and not line.startswith(_OF_STATISTICS)), "")


def _refused(error: Refused, facts: Facts) -> tuple[str, str]:
    """What and why, and what to do about it."""
    code, kernel = error.errno or 0, f"kernel {facts.release}"
    if error.by_verifier and _READS.search(last_words(error.log)):
        # Lockdown is recognised by its effect, since containers often can't see securityfs.
        what = f"{kernel} lets no program read its memory (the program {error.name}: {last_words(error.log)})"
        return what, "kernel lockdown does that, boot with lockdown=integrity"
    if error.by_verifier:
        why = f"{reason(code)}; {last_words(error.log)}" if last_words(error.log) else reason(code)
        return f"{kernel} refuses the program {error.name} ({why})", "please report this with the lines that follow"
    if code in _FORBIDDEN:
        what, _, remedy = _forbidden(facts).partition(": ")
        return what, remedy
    if error.thing is Thing.TRACEPOINT and code == errno.ENOENT:
        needed = _TRACEPOINTS_NEED.get(error.name, "CONFIG_TRACEPOINTS=y")
        return f"{kernel} has no tracepoint {error.name}", f"use one with {needed}"
    if code == errno.ENOMEM:
        what = f"{kernel} has no memory for the {error.thing} {error.name}"
        return what, "free some, or allow this control group more"
    return f"{kernel} refuses the {error.thing} {error.name} ({reason(code)})", "please report this"


def _forbidden(facts: Facts) -> str:
    return locked_memory_refusal(facts) if facts.counts_locked_memory else module_refusal(facts)
