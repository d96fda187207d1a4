"""What the kernel permits this process: why it may not watch, or what it doesn't see, and what to do about it."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import resource
from dataclasses import dataclass, replace
from pathlib import Path

OLDEST_KERNEL = (5, 8)
OWN_ACCOUNT_SINCE = (5, 11)
"""From this version on the memory of programs and maps is accounted to the control group, and not as locked memory."""

# Bits of /proc/PID/status; the kernel's include/uapi/linux/capability.h.
_DAC_OVERRIDE, _DAC_READ_SEARCH, _SYS_PTRACE, _SYS_ADMIN, _PERFMON, _BPF = 1, 2, 19, 21, 38, 39

_TO_DO = "run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
_ALL_USERS = ("0", "0", "4294967295")
_LOCKDOWN = Path("/sys/kernel/security/lockdown")
_MODULES = Path("/sys/kernel/security/lsm")
_UNPRIVILEGED = Path("/proc/sys/kernel/unprivileged_bpf_disabled")
_BPF_CALL = {"x86_64": 321, "aarch64": 280}
_NO_COMMAND = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Facts:
    """What the kernel's permissions depend on, as far as a process can find out."""

    release: str
    capabilities: int
    """The effective capabilities, as bits."""
    user: int
    user_map: tuple[str, ...]
    """The numbers in /proc/self/uid_map."""
    seccomp: bool
    """Whether a filter of system calls is in force."""
    bpf_answer: int
    """The error number of a bpf() with a command that doesn't exist: EINVAL if bpf() may be called."""
    lockdown: str
    """``none``, ``integrity`` or ``confidentiality``; "" if the kernel has no lockdown."""
    modules: str
    """The security modules, separated by commas."""
    unprivileged_bpf_disabled: str
    locked_memory: int
    """How many bytes of memory may be locked; -1: there is no limit."""

    @property
    def version(self) -> tuple[int, int] | None:
        """The version of the kernel; None if its release doesn't begin with one."""
        numbers = re.match(r"(\d+)\.(\d+)", self.release)
        return (int(numbers[1]), int(numbers[2])) if numbers else None

    @property
    def counts_locked_memory(self) -> bool:
        """Whether programs and maps use up the memory that this process may lock."""
        return self.version is not None and self.version < OWN_ACCOUNT_SINCE and self.locked_memory >= 0


def read_facts() -> Facts:
    """The facts about this process and its kernel."""
    status = dict(
        line.split(":\t", 1)
        for line in Path("/proc/self/status").read_text("utf-8", "replace").splitlines()
        if ":\t" in line
    )
    lockdown = re.search(r"\[(\w+)\]", _text(_LOCKDOWN))
    return Facts(
        release=platform.release(),
        capabilities=int(status["CapEff"], 16),
        user=os.geteuid(),
        user_map=tuple(Path("/proc/self/uid_map").read_text("ascii").split()),
        seccomp=status.get("Seccomp", "0").strip() != "0",
        bpf_answer=_bpf_answer(platform.machine()),
        lockdown=lockdown[1] if lockdown else "",
        modules=_text(_MODULES),
        unprivileged_bpf_disabled=_text(_UNPRIVILEGED),
        locked_memory=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
    )


def allow_locked_memory(facts: Facts) -> Facts:
    """Raises the limit of locked memory as far as permitted, if programs and maps use it up. Returns the facts after
    that."""
    if not facts.counts_locked_memory:
        return facts
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    for limit in ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, limit)
        except (OSError, ValueError):
            continue
        break
    return replace(facts, locked_memory=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0])


def refusal(facts: Facts) -> str | None:
    """Why eBPF programs may not be loaded, as far as that is known before loading; None if nothing speaks against
    it."""
    if facts.version is not None and facts.version < OLDEST_KERNEL:
        return f"kernel {facts.release} is too old: {'.'.join(map(str, OLDEST_KERNEL))} or newer is needed"
    missing = [
        name
        for name, bit in (("CAP_BPF", _BPF), ("CAP_PERFMON", _PERFMON))
        if not facts.capabilities & (1 << bit | 1 << _SYS_ADMIN)
    ]
    if missing:
        also = ""
        if facts.user and facts.unprivileged_bpf_disabled not in ("", "0"):
            also = " (kernel.unprivileged_bpf_disabled=0 would not do, since these programs read the kernel's memory)"
        return f"eBPF programs may not be loaded without {' and '.join(missing)}: {_TO_DO}{also}"
    if facts.user_map != _ALL_USERS:
        return "eBPF programs may not be loaded from inside a user namespace: run as root of the machine itself"
    if facts.bpf_answer in (errno.EPERM, errno.EACCES, errno.ENOSYS) and facts.seccomp:
        return (
            "a seccomp filter forbids bpf(), although this process has CAP_BPF and CAP_PERFMON: allow it there (docker "
            "run --security-opt seccomp=unconfined, a pod's seccompProfile: {type: Unconfined}, a unit's "
            "SystemCallFilter=bpf)"
        )
    if facts.bpf_answer == errno.ENOSYS:
        return f"kernel {facts.release} has no bpf(): use one with CONFIG_BPF_SYSCALL=y"
    if facts.bpf_answer in (errno.EPERM, errno.EACCES):
        return module_refusal(facts)
    if facts.lockdown == "confidentiality":
        return "kernel lockdown keeps eBPF programs from reading kernel memory: boot with lockdown=integrity"
    return None


def module_refusal(facts: Facts) -> str:
    """The sentence for a bpf() that fails with EPERM or EACCES if nothing else explains it."""
    among = f" (there are {facts.modules})" if facts.modules else ""
    text = (
        "the kernel refuses bpf() although this process has CAP_BPF and CAP_PERFMON: allow it in the security module "
        f"that forbids it{among}, in a container run it privileged"
    )
    if facts.lockdown == "integrity":
        text += "; if it is kernel lockdown, which is on here (integrity), boot with lockdown=none"
    return text


def locked_memory_refusal(facts: Facts) -> str:
    """The sentence for locked memory that is used up."""
    return (
        f"kernel {facts.release} counts eBPF programs and maps as locked memory, of which this process may have "
        f"{facts.locked_memory >> 10} KiB, and it may not raise that: allow more (a unit's LimitMEMLOCK=infinity, "
        "docker run --ulimit memlock=-1), or give it CAP_SYS_RESOURCE (agents of a cluster get it by the operator's "
        "--agent-capability=SYS_RESOURCE)"
    )


def blind_spots(facts: Facts) -> list[str]:
    """A line for each capability that is missing and not indispensable: what isn't seen without it."""
    lines = []
    if not facts.capabilities & 1 << _SYS_PTRACE:
        lines.append(
            "CAP_SYS_PTRACE is missing: of processes that run already, executable and working directory are unknown, "
            "and of all processes, names of users and files in their root folders"
        )
    if not facts.capabilities & (1 << _DAC_READ_SEARCH | 1 << _DAC_OVERRIDE):
        lines.append(
            "CAP_DAC_READ_SEARCH is missing: the environment of processes that run already is unknown, and links in "
            "other users' private folders are not followed"
        )
    return lines


def _bpf_answer(machine: str) -> int:
    number = _BPF_CALL.get(machine)
    if number is None:
        return errno.EINVAL
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(ctypes.c_long(number), ctypes.c_long(_NO_COMMAND), None, ctypes.c_long(0))
    return ctypes.get_errno()


def _text(path: Path) -> str:
    """The text of a file of the kernel; "" if it may not be read, or isn't there."""
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
