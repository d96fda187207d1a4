"""``container.*``: the container that the process runs in.

``container.id`` comes from the control group and is always known; whether the container's runtime vouches for it, a
moment later. The other fields are known after the container runtime or the API server has reported them.
``tiercel.missing`` lists what was still unknown when the time that an event may wait for it had passed.
"""

from __future__ import annotations

from tiercel_engine.fields.model import Argument, ArgumentKind, Field, FieldType


def _container(name: str, type_: FieldType, meaning: str, argument: Argument = Argument.NONE) -> Field:
    return Field(name, type_, meaning, argument=argument)


def _mount(name: str, meaning: str) -> Field:
    return Field(name, FieldType.STRING, meaning, argument=Argument.REQUIRED, argument_kind=ArgumentKind.GLOB)


FIELDS: tuple[Field, ...] = (
    _container(
        "container.id",
        FieldType.STRING,
        "The first 12 digits of the container's id, after unknown: if no runtime vouches for it; host outside of one.",
    ),
    _container("container.full_id", FieldType.STRING, "The container's whole id, with unknown: as in container.id."),
    _container("container.name", FieldType.STRING, "The container's name, or host outside of one."),
    _container(
        "container.type", FieldType.STRING, "The container runtime: containerd, cri-o, docker, podman, or another."
    ),
    _container("container.image", FieldType.STRING, "The image with its tag, such as docker.io/library/nginx:1.27."),
    _container("container.image.id", FieldType.STRING, "The first 12 digits of the image's id."),
    _container(
        "container.image.repository", FieldType.STRING, "The image without its tag, such as docker.io/library/nginx."
    ),
    _container("container.image.tag", FieldType.STRING, "The tag of the image, such as 1.27."),
    _container("container.image.digest", FieldType.STRING, "The digest of the image, sha256: and 64 digits."),
    _container("container.privileged", FieldType.BOOLEAN, "Whether the container runs privileged."),
    _container("container.host_pid", FieldType.BOOLEAN, "Whether the container shares the host's PID namespace."),
    _container("container.host_network", FieldType.BOOLEAN, "Whether the container shares the host's network."),
    _container("container.host_ipc", FieldType.BOOLEAN, "Whether the container shares the host's IPC namespace."),
    _container(
        "container.mounts",
        FieldType.STRING,
        "All mounts as source:destination:mode:writable:propagation, separated by blanks.",
    ),
    _mount("container.mount", "One mount, by number or by a glob for its source."),
    _mount("container.mount.source", "The source of a mount, by number or by a glob for its destination."),
    _mount("container.mount.dest", "The destination of a mount, by number or by a glob for its source."),
    _mount("container.mount.mode", "The mode of a mount, by number or by a glob for its source."),
    _mount(
        "container.mount.rdwr", "Whether a mount is writable, true or false, by number or by a glob for its source."
    ),
    _mount("container.mount.propagation", "The propagation of a mount, by number or by a glob for its source."),
    _container("container.healthcheck", FieldType.STRING, "The command of the container's health check."),
    _container("container.liveness_probe", FieldType.STRING, "The command of the container's liveness probe."),
    _container("container.readiness_probe", FieldType.STRING, "The command of the container's readiness probe."),
    _container(
        "container.start_ts", FieldType.TIME, "The time at which the container started, in nanoseconds since the epoch."
    ),
    Field("container.duration", FieldType.DURATION, "The age of the container at the event, in nanoseconds."),
    _container("container.ip", FieldType.STRING, "The first IP address of the container or its pod."),
    _container("container.cni.json", FieldType.STRING, "The container's network interfaces and addresses as JSON."),
    _container(
        "container.label",
        FieldType.STRING,
        "The value of one label of the container, as in container.label.maintainer.",
        Argument.REQUIRED,
    ),
    _container("container.labels", FieldType.STRING, "All labels of the container as name:value, separated by commas."),
    Field(
        "tiercel.missing",
        FieldType.STRING,
        "What was still unknown of the container when the event was judged: container, pod, namespace.",
    ),
)
