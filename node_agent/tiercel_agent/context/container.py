"""Which container a control group belongs to, read from its path.

A path is what ``/proc/PID/cgroup`` shows or where the cgroup lies below its hierarchy's root. Forms
that runtimes write, ``ID`` being 64 hex digits:

=====================================================  =================================================
``…/cri-containerd-ID.scope``                          containerd, Kubernetes with the systemd driver
``…/crio-ID.scope``, ``…/crio-ID``                     CRI-O, both drivers
``…/docker-ID.scope``, ``/docker/ID``                  Docker, both drivers
``…/libpod-ID.scope``, ``…/libpod-ID``                 podman, both drivers; ``libpod-payload-ID`` in a unit
``…/nerdctl-ID.scope``                                 nerdctl on containerd
``…/kubepods…/pod<UID>/ID``                            Kubernetes with the cgroupfs driver
``….slice:cri-containerd:ID``                          a systemd name given to the cgroupfs driver
``/default/<any id>``                                  ``ctr``, in containerd's default namespace
``…/kubepods…/pod<UID>/<any name>``                    others below a pod, such as Kata's ``kata_ID``
``…/lxc.payload.<name>``, ``/lxc/<name>``              LXC and LXD
``…/machine-<name>.scope/payload``                     systemd-nspawn, also in ``systemd-nspawn@<name>.service``
``…/runc-<any id>.scope``                              runc itself, with systemd's driver
``/garden/<any id>``, ``/ecs/<task>/<any id>``         Garden (Cloud Foundry, Concourse), Amazon ECS
``…/ID``                                               Docker or others below a parent of the admin's choice
=====================================================  =================================================

Monitors (``crio-conmon-ID.scope``, ``libpod-conmon-ID.scope``) run on the host and are no container. A systemd service
can't pass for one either: its cgroup's name ends in ``.service``.

Nested containers: the outermost one that belongs to a pod counts, else the innermost. So a process of a
Kubernetes cluster in containers (kind) belongs to its pod, and what a pod runs inside of it (Docker
in Docker, or a cgroup named to look like another pod's) stays the pod's.

Containers of others have no form of their own (``ctr -n``, plain ``runc run``, Nomad): ``unexplained`` gives those a
name once their namespaces show that they are containers.

A name is what somebody has chosen, and no proof. ``cgroup`` says where the container claims to be: whether its runtime
agrees is for ``workloads.vouching`` to tell.

Whoever may create cgroups chooses their names. That is root, except below ``user@UID.service``, which systemd gives to
that user: rootless podman, Docker and nerdctl run there, and a user may make any other cgroup there. Such a container
is reported with ``user`` set, never with a pod, and only in the forms with a runtime's name. The caller must believe it
only of a process outside of the host's mount namespace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from tiercel_engine.printable import printable

SHORT_ID = 12


@dataclass(frozen=True, slots=True)
class ContainerId:
    """A container as its cgroup's path names it.

    ``id`` is the runtime's full id; ``runtime`` its name as ``container.type`` shows it, None if the path doesn't
    tell. ``pod_uid`` is the Kubernetes pod's UID with hyphens (32 hex digits for a static pod); ``user`` the
    id of the user in whose systemd instance the container runs, None if that is the machine's; ``cgroup`` the path down
    to the container's own cgroup, without those inside of it.
    """

    id: str
    runtime: str | None = None
    pod_uid: str | None = None
    user: int | None = None
    cgroup: str = ""

    @property
    def short(self) -> str:
        """The id as ``container.id`` shows it."""
        return self.id[:SHORT_ID]


_RUNTIMES = {
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "docker": "docker",
    "libpod": "podman",
    "libpod-payload": "podman",
}
_PREFIX = "|".join(_RUNTIMES)
_NAMED = re.compile(rf"(?:[^:]+\.slice:)?({_PREFIX})[-:]([0-9a-f]{{64}})(?:\.scope)?")
_BARE = re.compile(r"[0-9a-f]{64}")
_PARENTS = {"docker": "docker", "moby": "docker", "default": "containerd", "k8s.io": "containerd"}
_POD = re.compile(
    r"(?:[a-z-]*-)?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice(?::.*)?)?"
)
_USER = re.compile(r"user@(\d{1,10})\.service")
# The names that runtimes accept, and no name of a systemd unit.
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,75}"
_OWN_NAME = re.compile(rf"(?!.*\.(?:scope|slice|service)$){_NAME}")
_LXC = re.compile(rf"lxc\.payload\.({_NAME})")
_MACHINE = re.compile(rf"(?:machine-({_NAME})\.scope|systemd-nspawn@({_NAME})\.service)")
_RUNC = re.compile(rf"runc-({_NAME})\.scope")
_KATA = re.compile(r"kata_([0-9a-f]{64})")
_FIRST_PARENTS = {"default": "containerd", "lxc": "lxc", "garden": "garden"}
"""Runtimes whose containers have a cgroup of any name below one of this name at the hierarchy's root."""
_DELETED = " (deleted)"


def container_of(cgroup_path: str) -> ContainerId | None:
    """The container that a cgroup lies in, or None for one of the host's."""
    parts = [part for part in cgroup_path.removesuffix(_DELETED).split("/") if part not in ("", "..")]
    innermost: ContainerId | None = None
    pod_uid: str | None = None
    user: int | None = None
    in_kubepods = False
    for number, part in enumerate(parts):
        of_pod = pod_uid
        if number and (match := _USER.fullmatch(part)) and parts[0] == "user.slice" and user is None:
            user = int(match[1])
            continue
        if user is None:
            in_kubepods = in_kubepods or "kubepods" in part
            if in_kubepods and (match := _POD.fullmatch(part)):
                pod_uid = match[1].replace("_", "-")
        id_and_runtime = _named(part) or (_unnamed(parts, number, pod_uid) if user is None else None)
        if id_and_runtime is None and of_pod is not None:  # whatever is in a pod's cgroup is of that pod
            id_and_runtime = _of_pod(part)
        if id_and_runtime is None:
            continue
        innermost = ContainerId(*id_and_runtime, pod_uid, user, "/" + "/".join(parts[: number + 1]))
        if pod_uid is not None:
            break
    return innermost


@lru_cache(4096)
def concerned(cgroup_path: str) -> str:
    """Who has made a cgroup, for people: a container, or the user, service or part of the host that it is below."""
    container = container_of(cgroup_path)
    if container is not None:
        return f"container {container.short}"
    return printable("/".join(cgroup_path.split("/", 3)[:3]))


def concerned_by_member(text: str) -> str:
    """The same for a process, by the text of its ``/proc/PID/cgroup``, in whose lines a path is behind two colons."""
    paths = [line.split(":", 2)[-1] for line in text.splitlines()] or ["/"]
    return concerned(next((path for path in paths if container_of(path)), paths[-1]))


def _named(part: str) -> tuple[str, str] | None:
    """Id and runtime of a container whose cgroup is named by both."""
    match = _NAMED.fullmatch(part)
    return (match[2], _RUNTIMES[match[1]]) if match else None


def _unnamed(parts: list[str], number: int, pod_uid: str | None) -> tuple[str, str | None] | None:
    """Id and runtime of a container whose cgroup isn't named by both. The cgroups above it show the runtime."""
    part, parent = parts[number], parts[number - 1] if number else ""
    if _BARE.fullmatch(part):
        return part, "containerd" if pod_uid else _PARENTS.get(parent)
    if number == 1 and parent in _FIRST_PARENTS and _OWN_NAME.fullmatch(part):
        return part, _FIRST_PARENTS[parent]
    if number == 2 and parts[0] == "ecs" and _OWN_NAME.fullmatch(part):
        return part, "ecs"
    if match := _LXC.fullmatch(part):
        return match[1], "lxc"
    if match := _RUNC.fullmatch(part):
        return match[1], "runc"
    if part == "payload" and (match := _MACHINE.fullmatch(parent)):
        return match[1] or match[2], "systemd-nspawn"
    return None


def _of_pod(part: str) -> tuple[str, str | None] | None:
    """Id and runtime of what is in a pod's cgroup in a form that no other runtime has."""
    if match := _KATA.fullmatch(part):
        return match[1], "containerd"
    return (part, None) if _OWN_NAME.fullmatch(part) else None


def unexplained(cgroup_path: str, pid_ns: int) -> ContainerId:
    """A name for a container that its cgroup doesn't show to be one: that of a cgroup of its own, else by the number of
    its PID namespace."""
    path = cgroup_path.removesuffix(_DELETED)
    part = path.rpartition("/")[2]
    if _OWN_NAME.fullmatch(part):
        return ContainerId(part, cgroup=path)
    if "nomad" in path and part.endswith(".scope") and _OWN_NAME.fullmatch(name := part.removesuffix(".scope")):
        return ContainerId(name, "nomad", cgroup=path)
    return ContainerId(f"ns-{pid_ns:x}", cgroup=path)
