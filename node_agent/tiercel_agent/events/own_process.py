"""The agent itself, as the kernel numbers it and what it has loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tiercel_agent.kernel.probes.own_number import own_number, pid_namespace

_KINDS = ("prog_id", "map_id", "link_id")
_MOST_FDINFO = 4096  # bytes


@dataclass(frozen=True, slots=True)
class OwnProcess:
    """The agent as the kernel numbers it: ``pid`` in the PID namespace ``namespace``, ``number`` in the initial one (0
    if unknown). ``objects`` are its programs, maps and links in the kernel, by kind and id."""

    pid: int
    namespace: int
    number: int
    objects: frozenset[tuple[str, int]] = frozenset()


def own_process() -> OwnProcess:
    """This process, with what it has loaded by now."""
    return OwnProcess(os.getpid(), pid_namespace(), own_number(), frozenset(_own_objects()))


def _own_objects() -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for entry in os.listdir("/proc/self/fdinfo"):  # noqa: PTH208 (only names are wanted)
        found += _objects_of(Path("/proc/self/fdinfo", entry))
    return found


def _objects_of(file: Path) -> list[tuple[str, int]]:
    return [(kind, number) for kind, number in fdinfo(file).items() if kind in _KINDS]


def fdinfo(path: Path) -> dict[str, int]:
    """The numbers that the kernel tells of a descriptor, by name; none if it is gone."""
    try:
        with path.open("rb") as file:
            lines = file.read(_MOST_FDINFO).decode(errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":")[::2] for line in lines)
    return {name: int(value) for name, value in pairs if value.strip().isdecimal()}
