"""Which kernels there are, as data: a series, and the suite of Debian that keeps it up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Architecture:
    """What differs between the machines that qemu emulates."""

    name: str
    """Debian's name."""
    machine: str
    """The kernel's name (``uname -m``)."""
    qemu: tuple[str, ...]
    """The program, and the arguments that choose the machine."""
    console: str
    wheels: tuple[str, ...]
    """Platforms of Python packages that run on it."""
    packages: tuple[str, ...] = ()
    """What its guests have beside what all have."""


AMD64 = Architecture(
    "amd64",
    "x86_64",
    ("qemu-system-x86_64", "-cpu", "max"),
    "ttyS0",
    ("manylinux2014_x86_64", "manylinux_2_28_x86_64"),
    ("runc", "containerd", "podman"),
)
ARM64 = Architecture(
    "arm64",
    "aarch64",
    ("qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on"),
    "ttyAMA0",
    ("manylinux2014_aarch64", "manylinux_2_28_aarch64"),
    ("gcc-arm-linux-gnueabihf", "libc6-dev-armhf-cross"),
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """The newest kernel of a series that a suite has; of an empty series, the newest of all."""

    name: str
    architecture: Architecture
    suite: str
    series: str = ""


KERNELS = (
    Kernel("5.10", AMD64, "bullseye", "5.10"),
    Kernel("6.1", AMD64, "bookworm", "6.1"),
    Kernel("6.12", AMD64, "trixie", "6.12"),
    Kernel("newest", AMD64, "sid"),
    Kernel("arm64-6.1", ARM64, "bookworm", "6.1"),
    Kernel("arm64-6.12", ARM64, "trixie", "6.12"),
    Kernel("arm64-newest", ARM64, "sid"),
)


def named(names: Sequence[str]) -> tuple[Kernel, ...]:
    """The kernels of these names, in the order of the list above. Raises ValueError for a name that isn't there."""
    if unknown := set(names) - {kernel.name for kernel in KERNELS}:
        known = " ".join(kernel.name for kernel in KERNELS)
        raise ValueError(f"no kernel is called {' '.join(sorted(unknown))}; there are {known}")
    return tuple(kernel for kernel in KERNELS if kernel.name in names)
