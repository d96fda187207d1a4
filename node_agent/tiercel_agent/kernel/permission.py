"""What the kernel permits this process: why it may not watch, or what it then doesn't see, and what to do about it."""

from __future__ import annotations

from pathlib import Path

# Bits of /proc/PID/status; the kernel's include/uapi/linux/capability.h.
_DAC_OVERRIDE, _DAC_READ_SEARCH, _SYS_PTRACE, _SYS_ADMIN, _PERFMON, _BPF = 1, 2, 19, 21, 38, 39

_TO_DO = "run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
_ALL_USERS = "0 0 4294967295"
_LOCKDOWN = Path("/sys/kernel/security/lockdown")

REFUSED = (
    "the kernel refuses bpf() although this process has CAP_BPF and CAP_PERFMON: allow it in the seccomp filter or "
    "security module that forbids it (in a container: run it privileged)"
)
"""Where ``refusal`` knows no reason."""


def refusal() -> str | None:
    """Why eBPF programs may not be loaded, as far as that can be told beforehand."""
    held = _effective_capabilities()
    missing = [
        name for name, bit in (("CAP_BPF", _BPF), ("CAP_PERFMON", _PERFMON)) if not held & (1 << bit | 1 << _SYS_ADMIN)
    ]
    if missing:
        return f"eBPF programs may not be loaded without {' and '.join(missing)}: {_TO_DO}"
    if Path("/proc/self/uid_map").read_text("ascii").split() != _ALL_USERS.split():
        return "eBPF programs may not be loaded from inside a user namespace: run as root of the machine itself"
    if _LOCKDOWN.is_file() and "[confidentiality]" in _LOCKDOWN.read_text("ascii"):
        return "kernel lockdown keeps eBPF programs from reading kernel memory: boot with lockdown=integrity"
    return None


def blind_spots() -> list[str]:
    """A line for each capability that is missing and not indispensable, and what that costs."""
    held = _effective_capabilities()
    lines = []
    if not held & 1 << _SYS_PTRACE:
        lines.append(
            "CAP_SYS_PTRACE is missing: of processes that run already, executable and working directory are unknown, "
            "and of all processes, names of users and files in their root folders"
        )
    if not held & (1 << _DAC_READ_SEARCH | 1 << _DAC_OVERRIDE):
        lines.append(
            "CAP_DAC_READ_SEARCH is missing: the environment of processes that run already is unknown, and links in "
            "other users' private folders are not followed"
        )
    return lines


def _effective_capabilities() -> int:
    status = Path("/proc/self/status").read_text("utf-8", "replace")
    return int(status.partition("\nCapEff:")[2].split(maxsplit=1)[0], 16)
