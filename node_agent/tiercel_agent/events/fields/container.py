"""``container.*``: the container that the process is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_agent.workloads.model import Container, Mount
from tiercel_engine.event import Value
from tiercel_engine.patterns import cached_glob

HOST = "host"
UNKNOWN = "unknown:"
"""Before the id of a container that no runtime vouches for."""
_SHORT_DIGEST = 12


def short_id(record: SyscallRecord) -> str:
    container_id = record.container
    return _vouched(record, container_id.short) if container_id else HOST


def _vouched(record: SyscallRecord, id_: str) -> str:
    """The id as it counts: only if the runtime has vouched for it."""
    return id_ if record.workload.container is not None else f"{UNKNOWN}{id_}"


def labels_text(labels: Mapping[str, str]) -> str | None:
    """Labels as Falco prints them; None if there are none."""
    return ", ".join(f"{key}:{value}" for key, value in sorted(labels.items())) or None


def _full_id(record: SyscallRecord) -> str:
    container_id = record.container
    return _vouched(record, container_id.id) if container_id else HOST


def _type(record: SyscallRecord) -> str | None:
    container_id = record.container
    if container_id is None:
        return HOST
    known = record.workload.container
    return (known.runtime if known is not None else "") or container_id.runtime


def _name(record: SyscallRecord) -> Value | None:
    return _known(lambda container: container.name)(record) if record.container else HOST


def _known(value: Callable[[Container], Value | None]) -> Callable[[SyscallRecord], Value | None]:
    """A field that the runtime gives. It has no value where the runtime says "" or nothing."""

    def extract(record: SyscallRecord) -> Value | None:
        container = record.workload.container
        field_value = value(container) if container is not None else None
        return None if field_value == "" else field_value

    return extract


def _short_digest(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_SHORT_DIGEST]


def _started(container: Container) -> int | None:
    return container.started or None


def _duration(record: SyscallRecord) -> int | None:
    container = record.workload.container
    return max(0, record.time - container.started) if container is not None and container.started else None


def _ip(record: SyscallRecord) -> str | None:
    workload = record.workload
    own = workload.container.ip if workload.container is not None else ""
    return own or (workload.pod.ip if workload.pod is not None else "") or None


def _probe(kind: str) -> Callable[[SyscallRecord], Value | None]:
    def extract(record: SyscallRecord) -> Value | None:
        container, pod = record.workload.container, record.workload.pod
        return pod.probes.get((container.name, kind)) if container is not None and pod is not None else None

    return extract


def _label(record: SyscallRecord, name: str) -> str | None:
    container = record.workload.container
    return container.labels.get(name) if container is not None else None


def _mount_text(mount: Mount) -> str:
    writable = "true" if mount.writable else "false"
    return f"{mount.source}:{mount.destination}:{mount.mode}:{writable}:{mount.propagation}"


def _mount(part: Callable[[Mount], str], side: Callable[[Mount], str]) -> Callable[[SyscallRecord, str], Value | None]:
    """A field with a part of the mount that the argument selects, by its number or by a glob for ``side``."""

    def extract(record: SyscallRecord, argument: str) -> Value | None:
        container = record.workload.container
        mount = next(_selected(container, argument, side), None) if container is not None else None
        return None if mount is None else part(mount)

    return extract


def _selected(container: Container, argument: str, side: Callable[[Mount], str]) -> Iterator[Mount]:
    if argument.isdecimal():
        yield from container.mounts[int(argument) :][:1]
    else:
        matches = cached_glob(argument)
        yield from (mount for mount in container.mounts if matches(side(mount)))


def _source(mount: Mount) -> str:
    return mount.source


def _destination(mount: Mount) -> str:
    return mount.destination


FIELDS: dict[str, Callable[[SyscallRecord], Value | None]] = {
    "container.id": short_id,
    "container.full_id": _full_id,
    "container.name": _name,
    "container.type": _type,
    "container.image": _known(lambda container: container.image.name),
    "container.image.id": _known(lambda container: _short_digest(container.image.id)),
    "container.image.repository": _known(lambda container: container.image.repository),
    "container.image.tag": _known(lambda container: container.image.tag),
    "container.image.digest": _known(lambda container: container.image.digest),
    "container.privileged": _known(lambda container: container.privileged),
    "container.host_pid": _known(lambda container: container.host_pid),
    "container.host_network": _known(lambda container: container.host_network),
    "container.host_ipc": _known(lambda container: container.host_ipc),
    "container.mounts": _known(lambda container: " ".join(map(_mount_text, container.mounts))),
    "container.healthcheck": _known(lambda container: container.health_check),
    "container.liveness_probe": _probe("liveness"),
    "container.readiness_probe": _probe("readiness"),
    "container.start_ts": _known(_started),
    "container.duration": _duration,
    "container.ip": _ip,
    "container.cni.json": _known(lambda container: container.cni),
    "container.labels": _known(lambda container: labels_text(container.labels)),
    "tiercel.missing": lambda record: ", ".join(record.workload.missing) or None,
}
WITH_ARGUMENT: dict[str, Callable[[SyscallRecord, str], Value | None]] = {
    "container.label": _label,
    "container.mount": _mount(_mount_text, _source),
    "container.mount.source": _mount(_source, _destination),
    "container.mount.dest": _mount(_destination, _source),
    "container.mount.mode": _mount(lambda mount: mount.mode, _source),
    "container.mount.rdwr": _mount(lambda mount: "true" if mount.writable else "false", _source),
    "container.mount.propagation": _mount(lambda mount: mount.propagation, _source),
}
