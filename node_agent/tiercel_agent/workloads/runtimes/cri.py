"""The Container Runtime Interface of Kubernetes, runtime.v1 (kubernetes/cri-api): containerd, CRI-O, cri-dockerd."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from cachetools import LRUCache

from tiercel_agent.workloads.images import image_of
from tiercel_agent.workloads.model import Container, Image, Mount, Pod
from tiercel_agent.workloads.runtimes.cgroup_path import cgroups_of_spec
from tiercel_agent.workloads.runtimes.messages import as_dict, make_messages
from tiercel_agent.workloads.runtimes.socket import GrpcSocket
from tiercel_engine.located import located

_LOG = logging.getLogger(__name__)

_TABLE = """
    VersionRequest           version=1
    VersionResponse          version=1 runtime_name=2
    ContainerStatusRequest   container_id=1 verbose=2:bool
    ContainerStatusResponse  status=1:ContainerStatus info=2:Pair*
    ContainerStatus          id=1 metadata=2:ContainerMetadata started_at=5:int64 finished_at=6:int64 image=8:ImageSpec
                             image_ref=9 labels=12:Pair* mounts=14:Mount* image_id=17
    ContainerMetadata        name=1
    ImageSpec                image=1 user_specified_image=18
    Mount                    container_path=1 host_path=2 readonly=3:bool propagation=5:int32
    ListContainersRequest    filter=1:ContainerFilter
    ContainerFilter          id=1
    ListContainersResponse   containers=1:Container*
    Container                id=1 pod_sandbox_id=2
    PodSandboxStatusRequest  pod_sandbox_id=1 verbose=2:bool
    PodSandboxStatusResponse status=1:PodSandboxStatus info=2:Pair*
    PodSandboxStatus         id=1 metadata=2:PodSandboxMetadata created_at=4:int64 network=5:PodSandboxNetworkStatus
                             linux=6:LinuxPodSandboxStatus labels=7:Pair* annotations=8:Pair*
    PodSandboxMetadata       name=1 uid=2 namespace=3
    PodSandboxNetworkStatus  ip=1
    LinuxPodSandboxStatus    namespaces=1:Namespace
    Namespace                options=2:NamespaceOption
    NamespaceOption          network=1:int32 pid=2:int32 ipc=3:int32
    ImageStatusRequest       image=1:ImageSpec
    ImageStatusResponse      image=1:Image
    Image                    id=1 repo_tags=2* repo_digests=3*
"""
_RUNTIME = "/runtime.v1.RuntimeService"
_NODE = 2  # NamespaceMode: shared with the host
_PROPAGATION = ("private", "rslave", "rshared")
_KUBELET_LABELS = "io.kubernetes."
_IMAGES = 256


async def runtime_name(path: Path) -> str:
    """The name of the runtime that speaks the CRI on a socket, in lower case. Raises NoAnswer."""
    messages = make_messages("tiercel.cri", _TABLE)
    socket = GrpcSocket(path)
    try:
        answer = await socket.call(f"{_RUNTIME}/Version", messages["VersionRequest"](), messages["VersionResponse"])
    finally:
        await socket.close()
    return str(answer.runtime_name).lower() if answer is not None else ""


class Cri:
    """A ``Runtime`` that speaks the CRI. ``runtime`` is its name as ``container.type`` shows it."""

    def __init__(self, path: Path, runtime: str) -> None:
        self._socket = GrpcSocket(path)
        self._runtime = runtime
        self._images: LRUCache[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = LRUCache(_IMAGES)
        self._messages = make_messages("tiercel.cri", _TABLE)

    async def container(self, id_: str, *, in_pod: bool) -> Container | None:  # noqa: ARG002 (all are in pods)
        answer = await self._runtime_call("ContainerStatus", container_id=id_, verbose=True)
        if answer is None or not answer.status.id:
            return await self._sandbox_as_container(id_)
        status, info = answer.status, _json(as_dict(answer.info).get("info"))
        sandbox_id = str(info.get("sandboxID") or "") or await self._sandbox_of(id_)
        sandbox = await self._sandbox(sandbox_id) if sandbox_id else None
        facts = _shared(sandbox)
        return Container(
            id=status.id,
            name=status.metadata.name,
            runtime=self._runtime,
            image=await self._image(status),
            privileged=_privileged(info),
            mounts=tuple(map(_mount, status.mounts)),
            started=max(0, status.started_at),
            finished=max(0, status.finished_at),
            labels=as_dict(status.labels),
            sandbox_id=sandbox_id,
            pod=_pod(sandbox) if sandbox is not None else _pod_of_labels(as_dict(status.labels)),
            **_placed(info),
            **facts,
        )

    async def close(self) -> None:
        await self._socket.close()

    async def _sandbox_as_container(self, id_: str) -> Container | None:
        """A pod's sandbox, the container that only holds the pod's namespaces, if it has that id. Its processes belong
        to the pod too."""
        sandbox = await self._sandbox(id_)
        if sandbox is None:
            return None
        status = sandbox.status
        return Container(
            id=status.id,
            name=status.metadata.name,
            runtime=self._runtime,
            privileged=False,
            started=max(0, status.created_at),
            labels=as_dict(status.labels),
            sandbox_id=status.id,
            pod=_pod(sandbox),
            **_placed(_json(as_dict(sandbox.info).get("info"))),
            **_shared(sandbox),
        )

    async def _sandbox(self, id_: str) -> Any | None:
        answer = await self._runtime_call("PodSandboxStatus", pod_sandbox_id=id_, verbose=True)
        return answer if answer is not None and answer.status.id else None

    async def _sandbox_of(self, id_: str) -> str:
        answer = await self._runtime_call("ListContainers", filter=self._messages["ContainerFilter"](id=id_))
        containers = answer.containers if answer is not None else ()
        return next((container.pod_sandbox_id for container in containers if container.id == id_), "")

    async def _image(self, status: Any) -> Image:
        name, reference = status.image.user_specified_image or status.image.image, status.image_ref
        known = self._images.get(reference)
        if known is None:
            spec = self._messages["ImageSpec"](image=reference or name)
            answer = await self._call("ImageService", "ImageStatus", image=spec)
            image = answer.image if answer is not None else self._messages["Image"]()
            known = (image.id or status.image_id, tuple(image.repo_tags), tuple(image.repo_digests))
            if image.id:
                self._images[reference] = known
        id_, tags, digests = known
        return image_of(name, id_, tags, (reference, *digests))

    async def _runtime_call(self, method: str, **values: object) -> Any | None:
        return await self._call("RuntimeService", method, **values)

    async def _call(self, service: str, method: str, **values: object) -> Any | None:
        request = self._messages[f"{method}Request"](**values)
        return await self._socket.call(f"/runtime.v1.{service}/{method}", request, self._messages[f"{method}Response"])


def _shared(sandbox: Any | None) -> dict[str, Any]:
    """The facts of a container that its sandbox has: namespaces shared with the host, and the network."""
    if sandbox is None:
        return {}
    options = sandbox.status.linux.namespaces.options
    interfaces = _json(as_dict(sandbox.info).get("info")).get("cniResult") or {}
    interfaces = interfaces.get("Interfaces") if isinstance(interfaces, dict) else None
    return {
        "host_pid": options.pid == _NODE,
        "host_network": options.network == _NODE,
        "host_ipc": options.ipc == _NODE,
        "ip": sandbox.status.network.ip,
        "cni": orjson.dumps(interfaces).decode() if interfaces else "",
    }


def _placed(info: Mapping[str, Any]) -> dict[str, Any]:
    """Where a container is, by the details that containerd and CRI-O tell of it."""
    spec = info.get("runtimeSpec")
    linux = spec.get("linux") if isinstance(spec, dict) else None
    pid = info.get("pid")
    return {
        "cgroups": cgroups_of_spec(linux.get("cgroupsPath")) if isinstance(linux, dict) else (),
        "pid": pid if isinstance(pid, int) else 0,
    }


def _pod(sandbox: Any) -> Pod:
    """The pod as its sandbox describes it. The kubelet gives the runtime the pod's labels and annotations, and adds
    labels of its own, which are left out."""
    status = sandbox.status
    labels = {key: value for key, value in as_dict(status.labels).items() if not key.startswith(_KUBELET_LABELS)}
    of = status.metadata
    return Pod(of.namespace, of.name, of.uid, labels, as_dict(status.annotations), ip=status.network.ip)


def _pod_of_labels(labels: Mapping[str, str]) -> Pod | None:
    """The labels that the kubelet puts on containers (kubernetes: pkg/kubelet/types/labels.go)."""
    namespace, name, uid = (labels.get(f"{_KUBELET_LABELS}pod.{key}", "") for key in ("namespace", "name", "uid"))
    return Pod(namespace, name, uid) if uid else None


def _mount(mount: Any) -> Mount:
    propagation = _PROPAGATION[mount.propagation] if 0 <= mount.propagation < len(_PROPAGATION) else ""
    return Mount(mount.host_path, mount.container_path, "", not mount.readonly, propagation)


def _privileged(info: Mapping[str, Any]) -> bool | None:
    """containerd tells it in the configuration that the kubelet gave, CRI-O by itself."""
    if isinstance(info.get("privileged"), bool):
        return bool(info["privileged"])
    config = info.get("config")
    for key in ("linux", "security_context"):
        config = config.get(key) if isinstance(config, dict) else None
    return bool(config.get("privileged", False)) if isinstance(config, dict) else None


def _json(text: str | None) -> dict[str, Any]:
    """A JSON object out of a verbose answer; {} for anything else."""
    try:
        parsed = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        _LOG.warning("the runtime's details of a container are no JSON: %s", located(error))
        return {}
    return parsed if isinstance(parsed, dict) else {}
