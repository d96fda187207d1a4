"""containerd: pods' containers by its CRI, others (``ctr``, nerdctl, BuildKit) by its own interface, version 1."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import orjson

from tiercel_agent.workloads.images import image_of
from tiercel_agent.workloads.model import Container, Image, Mount
from tiercel_agent.workloads.runtimes.cgroup_path import cgroups_of_spec
from tiercel_agent.workloads.runtimes.cri import Cri
from tiercel_agent.workloads.runtimes.messages import as_dict, make_messages
from tiercel_agent.workloads.runtimes.model import NoAnswer
from tiercel_agent.workloads.runtimes.socket import GrpcSocket
from tiercel_engine.located import located

_LOG = logging.getLogger(__name__)

_TABLE = """
    VersionRequest          unused=1
    VersionResponse         version=1
    ListNamespacesRequest   filter=1
    ListNamespacesResponse  namespaces=1:Namespace*
    Namespace               name=1
    GetContainerRequest     id=1
    GetContainerResponse    container=1:Container
    Container               id=1 labels=2:Pair* image=3 spec=5:Any created_at=8:Timestamp
    Any                     type_url=1 value=2:bytes
    Timestamp               seconds=1:int64 nanos=2:int32
    GetImageRequest         name=1
    GetImageResponse        image=1:Image
    Image                   name=1 target=3:Descriptor
    Descriptor              media_type=1 digest=2
"""
_SERVICES = "/containerd.services"
_NAMESPACE = "containerd-namespace"
_NAME_LABELS = ("nerdctl/name", "io.kubernetes.container.name")
_KUBERNETES = "k8s.io"


async def answers(path: Path) -> bool:
    """Whether a containerd answers on a socket. Raises NoAnswer."""
    messages = make_messages("tiercel.containerd", _TABLE)
    socket = GrpcSocket(path)
    try:
        method = f"{_SERVICES}.version.v1.Version/Version"
        answer = await socket.call(method, messages["VersionRequest"](), messages["VersionResponse"])
    finally:
        await socket.close()
    return answer is not None and bool(answer.version)


class Containerd:
    """A ``Runtime`` that speaks containerd's interfaces."""

    def __init__(self, path: Path) -> None:
        self._cri = Cri(path, "containerd")
        self._socket = GrpcSocket(path)
        self._messages = make_messages("tiercel.containerd", _TABLE)

    async def container(self, id_: str, *, in_pod: bool) -> Container | None:
        if in_pod:
            return await self._cri.container(id_, in_pod=True)
        request = self._messages["ListNamespacesRequest"]()
        listed = await self._call("namespaces.v1.Namespaces/List", request, "ListNamespacesResponse")
        for namespace in sorted({each.name for each in listed.namespaces} - {_KUBERNETES}) if listed else ():
            answer = await self._call(
                "containers.v1.Containers/Get",
                self._messages["GetContainerRequest"](id=id_),
                "GetContainerResponse",
                namespace,
            )
            if answer is not None and answer.container.id == id_:
                return self._read(answer.container, await self._image(answer.container.image, namespace))
        return None

    async def close(self) -> None:
        await self._cri.close()
        await self._socket.close()

    async def _image(self, name: str, namespace: str) -> Image:
        if not name:
            return Image()
        request = self._messages["GetImageRequest"](name=name)
        try:
            answer = await self._call("images.v1.Images/Get", request, "GetImageResponse", namespace)
        except NoAnswer:
            answer = None
        digest = answer.image.target.digest if answer is not None else ""
        return image_of(name, digests=(f"{name}@{digest}",) if digest else ())

    def _read(self, container: Any, image: Image) -> Container:
        labels = as_dict(container.labels)
        spec = _spec(container.spec.value)
        namespaces = _namespaces(spec)
        created = container.created_at
        return Container(
            id=container.id,
            name=next((labels[key] for key in _NAME_LABELS if key in labels), container.id),
            runtime="containerd",
            image=image,
            host_pid=None if namespaces is None else "pid" not in namespaces,
            host_network=None if namespaces is None else "network" not in namespaces,
            host_ipc=None if namespaces is None else "ipc" not in namespaces,
            mounts=tuple(_mount(mount) for mount in _members(spec.get("mounts"))),
            started=created.seconds * 1_000_000_000 + created.nanos,
            labels=labels,
            cgroups=_cgroups(spec),
        )

    async def _call(self, method: str, request: Any, response: str, namespace: str = "") -> Any | None:
        metadata = ((_NAMESPACE, namespace),) if namespace else ()
        return await self._socket.call(f"{_SERVICES}.{method}", request, self._messages[response], metadata)


def _spec(value: bytes) -> dict[str, Any]:
    """The OCI runtime specification of a container, which containerd keeps as JSON; empty if it can't be read."""
    try:
        spec = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        _LOG.warning("the specification of a container is no JSON: %s", located(error))
        return {}
    return spec if isinstance(spec, dict) else {}


def _namespaces(spec: dict[str, Any]) -> frozenset[str] | None:
    """The kinds of namespaces that the container has for itself, not the host's; None if the specification doesn't
    say."""
    linux = spec.get("linux")
    if not isinstance(linux, dict):
        return None
    return frozenset(str(namespace.get("type")) for namespace in _members(linux.get("namespaces")))


def _cgroups(spec: dict[str, Any]) -> tuple[str, ...]:
    linux = spec.get("linux")
    return cgroups_of_spec(linux.get("cgroupsPath")) if isinstance(linux, dict) else ()


def _mount(mount: dict[str, Any]) -> Mount:
    options = [str(option) for option in mount.get("options") or ()]
    propagation = next((option for option in options if option in ("rprivate", "rslave", "rshared")), "")
    source, destination = str(mount.get("source", "")), str(mount.get("destination", ""))
    return Mount(source, destination, "", "ro" not in options, propagation)


def _members(value: object) -> list[dict[str, Any]]:
    return [member for member in value if isinstance(member, dict)] if isinstance(value, list) else []
