"""What is known of a container and of its pod, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Image:
    """``name`` as the container was asked for, with its tag; ``id`` and ``digest`` are ``sha256:`` and 64 digits.
    "" stands for what isn't known."""

    name: str = ""
    repository: str = ""
    tag: str = ""
    digest: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    source: str
    destination: str
    mode: str = ""
    writable: bool = True
    propagation: str = ""


@dataclass(frozen=True, slots=True)
class Owner:
    """An object that a pod belongs to."""

    kind: str
    name: str
    uid: str = ""
    group: str = ""
    """Of the API; "" is the core."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, as the API server or the runtime tells it.

    ``owners`` are the controllers, the nearest first: a ReplicaSet, then its Deployment.
    """

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    service_account: str = ""
    ip: str = ""
    owners: tuple[Owner, ...] = ()
    probes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Commands of health checks by the container's name and ``liveness`` or ``readiness``."""
    config_hash: str = ""
    """Of a static pod: what its cgroups are named by, in place of a UID."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container, as its runtime tells it. None stands for what the runtime doesn't tell."""

    id: str
    name: str = ""
    runtime: str = ""
    """As ``container.type`` shows it."""
    image: Image = Image()
    privileged: bool | None = None
    host_pid: bool | None = None
    host_network: bool | None = None
    host_ipc: bool | None = None
    mounts: tuple[Mount, ...] = ()
    started: int = 0
    """Nanoseconds since the epoch; 0 if it has not started."""
    labels: Mapping[str, str] = field(default_factory=dict)
    ip: str = ""
    cni: str = ""
    """The network interfaces and addresses as JSON."""
    health_check: str = ""
    sandbox_id: str = ""
    pod: Pod | None = None
    """As far as the runtime knows it."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A namespace, or a node."""

    name: str
    uid: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Workload:
    """All that is known of a container's surroundings. ``missing`` names what isn't known yet.

    ``namespace`` is known where a rule asks for more than its name.
    """

    container: Container | None = None
    pod: Pod | None = None
    namespace: Labelled | None = None
    missing: tuple[str, ...] = ()


NOTHING = Workload()
