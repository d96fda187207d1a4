"""The interface of container runtimes, and which socket is asked for which container."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tiercel_agent.workloads.model import Container


class NoAnswer(Exception):
    """The runtime is not there, doesn't answer in time, or gives an answer that can't be read."""


class Runtime(Protocol):
    """One runtime's socket. Used within one event loop."""

    async def container(self, id_: str, *, in_pod: bool) -> Container | None:
        """The container of that full id; None if the runtime knows none. Raises NoAnswer.

        ``in_pod``: its cgroup lies in that of a Kubernetes pod.
        """

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Socket:
    """A runtime's socket. ``runtimes`` are the names of runtimes in the cgroup paths of its containers; the one of a
    socket that speaks the CRI is the name that it gives itself."""

    path: Path
    interface: str
    runtimes: frozenset[str]


CRI, CONTAINERD, DOCKER = "cri", "containerd", "docker"

DEFAULT_SOCKETS: tuple[Path, ...] = tuple(
    map(
        Path,
        (
            "/run/containerd/containerd.sock",
            "/run/k3s/containerd/containerd.sock",
            "/run/k0s/containerd.sock",
            "/var/snap/microk8s/common/run/containerd.sock",
            "/run/crio/crio.sock",
            "/run/docker.sock",
            "/run/podman/podman.sock",
        ),
    )
)


def is_there(path: Path) -> bool:
    """Whether a socket exists, as far as this process has the right to see it."""
    try:
        return path.exists()
    except OSError:
        return False


def sockets_for(runtime: str | None, sockets: Iterable[Socket], *, in_pod: bool) -> list[Socket]:
    """The sockets at which a container is searched for, those of the runtime that its cgroup names first. A pod's
    cgroup of the cgroupfs driver names no runtime and is taken for containerd's, so the other sockets are asked as
    well."""
    fitting: list[Socket] = []
    others: list[Socket] = []
    for socket in sockets:
        (fitting if runtime is None or runtime in socket.runtimes else others).append(socket)
    return [*fitting, *others] if in_pod and runtime == "containerd" else fitting
