"""What is known of a container and of its pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Image:
    """``name`` is the reference that the container was made with, tag included. ``id`` and ``digest`` are ``sha256:``
    and 64 hex digits. "" where something isn't known."""

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
    """The API group; "" is the core group."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, as the API server or the runtime describes it.

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
    """Commands of health checks, by the container's name and ``liveness`` or ``readiness``."""
    config_hash: str = ""
    """Only of a static pod: the text that its cgroups have in place of a UID."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container, as its runtime describes it. None stands for what the runtime doesn't say."""

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
    """The pod as far as the runtime knows it."""
    cgroups: tuple[str, ...] = ()
    """Where the runtime has put the container: paths from the root of a hierarchy, of which one is right."""
    pid: int = 0
    """The container's first process, as the agent numbers processes; 0 if there is none."""
    finished: int = 0
    """Nanoseconds since the epoch; 0 if it hasn't come to its end."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A namespace or a node, with its labels."""

    name: str
    uid: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Workload:
    """A container, its pod and its namespace, as far as they are known. ``missing`` has the names of what isn't known
    yet.

    ``namespace`` is only known if a rule asks for more than the namespace's name. ``container`` is only known once its
    runtime has vouched for it.
    """

    container: Container | None = None
    pod: Pod | None = None
    namespace: Labelled | None = None
    missing: tuple[str, ...] = ()


NOTHING = Workload()
