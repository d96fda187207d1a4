"""A container runtime on a Unix socket that speaks the CRI, and says what a test wants it to say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc

from tiercel_agent.workloads.runtimes import cri
from tiercel_agent.workloads.runtimes.messages import make_messages

MESSAGES = make_messages("test.cri", cri._TABLE)
ID, SANDBOX, UID = "a" * 64, "b" * 64, "3e41dc6b-08a8-44db-bc2a-3724b18ab19a"
IMAGE_ID, DIGEST = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"

Answer = Callable[[Any], Any]


def cgroup(id_: str = ID) -> str:
    """Where the containers of the pod ``shop-1`` are."""
    return f"/kubepods/burstable/pod{UID}/{id_}"


def placed(id_: str = ID) -> dict[str, object]:
    """What a runtime's details say of that."""
    return {"runtimeSpec": {"linux": {"cgroupsPath": cgroup(id_)}}}


def pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def container(info: object = None, **changed: Any) -> Answer:
    """A container's status: of ``web`` in the pod ``shop-1``."""
    status = {
        "id": ID,
        "metadata": {"name": "web"},
        "started_at": 1_700_000_000_000_000_000,
        "image": {"image": "docker.io/library/nginx:1.27"},
        "image_ref": f"docker.io/library/nginx@{DIGEST}",
        "labels": pairs({"io.kubernetes.pod.uid": UID, "io.kubernetes.container.name": "web"}),
        "mounts": [
            {"container_path": "/data", "host_path": "/srv/data", "propagation": 1},
            {"container_path": "/etc/hosts", "host_path": "/var/lib/kubelet/hosts", "readonly": True},
        ],
    } | changed
    if info is None:
        config = {"linux": {"security_context": {"privileged": True}}}
        info = {"sandboxID": SANDBOX, "config": config, **placed(str(status["id"]))}
    text = info if isinstance(info, str) else json.dumps(info)
    return lambda request: (
        MESSAGES["ContainerStatusResponse"](status=status, info=pairs({"info": text}))
        if request.container_id == status["id"]
        else None
    )


def sandbox(**changed: Any) -> Answer:
    """The status of the sandbox of the pod ``shop-1``."""
    status = {
        "id": SANDBOX,
        "metadata": {"name": "shop-1", "uid": UID, "namespace": "shop"},
        "created_at": 1_700_000_000_000_000_000,
        "network": {"ip": "10.1.2.3"},
        "linux": {"namespaces": {"options": {"network": 0, "pid": 2, "ipc": 0}}},
        "labels": pairs({"app": "shop", "io.kubernetes.pod.name": "shop-1"}),
        "annotations": pairs({"example.com/team": "a"}),
    } | changed
    interfaces = {"eth0": {"IPConfigs": [{"IP": "10.1.2.3"}]}}
    info = json.dumps({"cniResult": {"Interfaces": interfaces}, **placed(str(status["id"]))})
    return lambda request: (
        MESSAGES["PodSandboxStatusResponse"](status=status, info=pairs({"info": info}))
        if request.pod_sandbox_id == status["id"]
        else None
    )


def image(**changed: Any) -> Answer:
    status = {
        "id": IMAGE_ID,
        "repo_tags": ["docker.io/library/nginx:1.27"],
        "repo_digests": [f"docker.io/library/nginx@{DIGEST}"],
    } | changed
    return lambda _request: MESSAGES["ImageStatusResponse"](image=status)


class CriServer(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Serves from its entry to its exit. An answer of None is NOT_FOUND. ``asked`` are the methods called, but for the
    one by which the runtime is recognised."""

    def __init__(self, path: Path, *, runtime: str = "cri-o", **answers: Answer) -> None:
        self.path = path
        self.answers: dict[str, Answer] = {
            "ContainerStatus": container(),
            "PodSandboxStatus": sandbox(),
            "ImageStatus": image(),
            "Version": lambda _request: MESSAGES["VersionResponse"](version="0.1.0", runtime_name=runtime),
            "ListContainers": lambda request: MESSAGES["ListContainersResponse"](
                containers=[{"id": request.filter.id, "pod_sandbox_id": SANDBOX}]
            ),
        } | answers
        self.asked: list[str] = []

    def __enter__(self) -> CriServer:
        self._server = grpc.server(ThreadPoolExecutor(8), handlers=(self,))
        self._server.add_insecure_port(f"unix:{self.path}")
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(None).wait()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        package, _, method = details.method.removeprefix("/").rpartition("/")
        if package not in ("runtime.v1.RuntimeService", "runtime.v1.ImageService"):
            return None

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            if method != "Version":
                self.asked.append(method)
            answer = self.answers[method](request)
            if answer is None:
                context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
            return answer

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=MESSAGES[f"{method}Request"].FromString,
            response_serializer=lambda answer: answer if isinstance(answer, bytes) else answer.SerializeToString(),
        )
