"""A containerd of our own, which runs pods as a kubelet has it run them, and what ``ctr`` asks for.

Containers share the host's network, as nothing here sets up another.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from container_support import cri_requests as cri
from container_support.machine import (
    DEADLINE,
    IMAGE,
    PAUSE_IMAGE,
    ContainerError,
    Runtime,
    binary,
    cgroups,
    cgroups_left_behind,
    environment,
    listens,
    remove_cgroup,
    run,
    snapshots,
    until,
    write_images,
)

OTHER_NAMESPACE = "jobs"
"""A namespace of containerd that has the images too."""
_CRI = 'plugins."io.containerd.grpc.v1.cri"'
_CONTAINERD_CONFIG = f"""
version = 2
root = "FOLDER/root"
state = "FOLDER/state"
[grpc]
  address = "FOLDER/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "FOLDER/opt"
[{_CRI}]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true  # lowering it takes CAP_SYS_RESOURCE, which root may lack where it is in a container
[{_CRI}.cni]
  bin_dir = "FOLDER/cni"
  conf_dir = "FOLDER/cni"
[{_CRI}.containerd]
  snapshotter = "SNAPSHOTS"
[{_CRI}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[{_CRI}.containerd.runtimes.runc.options]
  BinaryName = "RUNC"
  Root = "FOLDER/runc"
  SystemdCgroup = false
"""


class ContainerdServer(Runtime):
    """containerd, and the part of the kubelet that runs pods in it. Containers are named by their ids."""

    def __init__(self) -> None:
        self.image_id = ""
        """Of IMAGE: sha256:… of its configuration."""
        self._pods: dict[str, Any] = {}
        """Configurations of the sandboxes."""

    @property
    def address(self) -> str:
        return str(self.folder / "containerd.sock")

    def _start(self, stack: ExitStack) -> None:
        self._cgroups.enter_context(
            cgroups_left_behind("/kubepods/besteffort", "/kubepods", "/default", f"/{OTHER_NAMESPACE}")
        )
        config, images = self.folder / "config.toml", self.folder / "images.tar"
        self._configure(_CONTAINERD_CONFIG, config, snapshots(self.folder)[0])
        write_images(images)
        server = stack.enter_context(self._serving([binary("containerd"), "-c", str(config)], environment()))
        until(lambda: server.poll() is not None or listens(Path(self.address)), "socket of containerd")
        self._channel = stack.enter_context(grpc.insecure_channel(f"unix:{self.address}"))
        until(lambda: self._answers(server), "an answer of containerd")
        stack.callback(self._remove_all)
        for namespace in ("k8s.io", "default", OTHER_NAMESPACE):
            self._ctr("-n", namespace, "images", "import", str(images))
        # What a pull leaves behind: the name, the name with the digest, and the id, which the plugin adds.
        listed = self._ctr("-n", "k8s.io", "images", "ls", f"name=={IMAGE}").split()
        digest = next(word for word in listed if word.startswith("sha256:"))
        self._ctr("-n", "k8s.io", "images", "tag", IMAGE, f"{IMAGE.rpartition(':')[0]}@{digest}")
        for image in (PAUSE_IMAGE, IMAGE):  # the plugin hears of them a little later
            self.image_id = until(partial(self._image_id, image), f"import of {image}")

    def _answers(self, server: subprocess.Popen[bytes]) -> bool:
        if server.poll() is not None:
            log = (self.folder / "containerd.log").read_text(errors="replace")
            raise ContainerError(log.strip() or "containerd ended")
        try:
            self._call("ContainerStatus", container_id="none")
        except ContainerError as error:
            return isinstance(error.__cause__, grpc.Call) and error.__cause__.code() == grpc.StatusCode.NOT_FOUND
        return True

    def _call(self, name: str, service: str = "RuntimeService", **fields: Any) -> Any:
        call = self._channel.unary_unary(
            cri.method(name, service),
            request_serializer=cri.message_class(f"{name}Request").SerializeToString,
            response_deserializer=cri.message_class(f"{name}Response").FromString,
        )
        try:
            return call(cri.message_class(f"{name}Request")(**fields), timeout=DEADLINE)
        except grpc.RpcError as error:
            raise ContainerError(f"{name}: {error.details()}") from error

    def _image_id(self, image: str) -> str:
        return str(self._call("ImageStatus", "ImageService", image={"image": image}).image.id)

    def version(self) -> str:
        """Name and version of the runtime, as it tells them."""
        answer = self._call("Version")
        return f"{answer.runtime_name} {answer.runtime_version}"

    def run_pod(
        self,
        name: str = "web",
        namespace: str = "default",
        uid: str = "",
        labels: Mapping[str, str] = {},
        annotations: Mapping[str, str] = {},
        *,
        host_pid: bool = False,
        host_ipc: bool = False,
        privileged: bool = False,
    ) -> str:
        """Runs the sandbox of a pod; its id. ``privileged`` allows for privileged containers."""
        uid = uid or str(uuid.uuid4())
        parent = f"/kubepods/besteffort/pod{uid}"
        self._cgroups.callback(remove_cgroup, parent)
        for cgroup in cgroups(parent):
            cgroup.mkdir(parents=True, exist_ok=True)
        logs = self.folder / "pods" / f"{namespace}_{name}_{uid}"
        logs.mkdir(parents=True)
        namespaces = {
            "network": cri.NAMESPACE_NODE,
            "pid": cri.NAMESPACE_NODE if host_pid else cri.NAMESPACE_CONTAINER,
            "ipc": cri.NAMESPACE_NODE if host_ipc else cri.NAMESPACE_POD,
        }
        config = cri.message_class("PodSandboxConfig")(
            metadata={"name": name, "uid": uid, "namespace": namespace},
            log_directory=str(logs),
            labels={**labels, **_pod_labels(name, namespace, uid)},
            annotations=annotations,
            linux={
                "cgroup_parent": parent,
                "security_context": {"privileged": privileged, "namespace_options": namespaces},
            },
        )
        sandbox = self._call("RunPodSandbox", config=config).pod_sandbox_id
        self._pods[sandbox] = config
        return str(sandbox)

    def create_container(
        self,
        sandbox: str,
        name: str,
        image: str,
        command: Sequence[str],
        privileged: bool = False,
        mounts: Sequence[tuple[str, str, bool]] = (),
    ) -> str:
        """A mount is a path of the host, one of the container, and whether it's for reading alone."""
        pod = self._pods[sandbox]
        (Path(pod.log_directory) / name).mkdir(exist_ok=True)
        config = {
            "metadata": {"name": name},
            "image": {"image": self._image_id(image), "user_specified_image": image},
            "command": command,
            "mounts": [{"host_path": at, "container_path": to, "readonly": ro} for at, to, ro in mounts],
            "labels": {
                **_pod_labels(pod.metadata.name, pod.metadata.namespace, pod.metadata.uid),
                "io.kubernetes.container.name": name,
            },
            "log_path": f"{name}/0.log",
            "linux": {
                "security_context": {
                    "privileged": privileged,
                    "namespace_options": pod.linux.security_context.namespace_options,
                }
            },
        }
        answer = self._call("CreateContainer", pod_sandbox_id=sandbox, config=config, sandbox_config=pod)
        return str(answer.container_id)

    def start_container(self, container: str) -> None:
        self._call("StartContainer", container_id=container)

    def run_container(self, sandbox: str, name: str, command: Sequence[str], **more: Any) -> str:
        """Creates it from IMAGE and starts it."""
        container = self.create_container(sandbox, name, IMAGE, command, **more)
        self.start_container(container)
        return container

    def wait_exited(self, container: str) -> int:
        """Waits for the end; the exit status."""

        def ended() -> Any:
            status = self._call("ContainerStatus", container_id=container).status
            return status if status.state == cri.EXITED else None

        return int(until(ended, f"end of container {container}").exit_code)

    def container_pid(self, container: str) -> int:
        """Of its first process, in the host's namespace."""
        answer = self._call("ContainerStatus", container_id=container, verbose=True)
        return int(json.loads(answer.info["info"])["pid"])

    def container_log(self, sandbox: str, name: str) -> str:
        """What the container has put out; each line begins with the time, the stream and a mark."""
        return (Path(self._pods[sandbox].log_directory) / name / "0.log").read_text(errors="replace")

    def exec_sync(self, container: str, command: Sequence[str]) -> tuple[int, str]:
        """Runs a command in a container, as for a probe; its exit status and output, with errors."""
        answer = self._call("ExecSync", container_id=container, cmd=command, timeout=int(DEADLINE))
        return answer.exit_code, (answer.stdout + answer.stderr).decode(errors="replace")

    def stop_container(self, container: str) -> None:
        """Kills it at once."""
        self._call("StopContainer", container_id=container)

    def remove_container(self, container: str) -> None:
        self._call("RemoveContainer", container_id=container)

    def remove_pod(self, sandbox: str) -> None:
        """With its containers and its cgroups."""
        until(partial(self._is_stopped, sandbox), f"end of pod {sandbox}")
        self._call("RemovePodSandbox", pod_sandbox_id=sandbox)
        remove_cgroup(self._pods.pop(sandbox).linux.cgroup_parent)

    def _is_stopped(self, sandbox: str) -> bool:
        """containerd fails at it now and then, while a container is just about to end; a kubelet tries again too."""
        try:
            self._call("StopPodSandbox", pod_sandbox_id=sandbox)
        except ContainerError:
            return False
        return True

    def _ctr(self, *arguments: str) -> str:
        return run([binary("ctr"), "-a", self.address, *arguments])[1]

    def ctr_run(
        self, id_: str, command: Sequence[str], *, detached: bool = False, namespace: str = "default"
    ) -> tuple[int, str]:
        """Runs a container in a namespace of containerd's; exit status and output.

        A detached one runs on without output until ``ctr_remove``. Its namespace has to be ``default``.
        """
        self._cgroups.callback(remove_cgroup, f"/{namespace}/{id_}")
        folders = ["--runc-root", f"{self.folder}/runc", "--fifo-dir", f"{self.folder}/fifo"]
        given = [
            "--net-host",
            "--runc-binary",
            binary("runc"),
            *folders,
            *(["-d", "--null-io"] if detached else ["--rm"]),
        ]
        ctr = [binary("ctr"), "-a", self.address, "-n", namespace]
        return run([*ctr, "run", *given, IMAGE, id_, *command], check=detached)

    def ctr_pid(self, id_: str) -> int:
        """Of the first process of a container, in the host's namespace."""
        rows = [line.split() for line in self._ctr("tasks", "ls").splitlines()]
        return next(int(row[1]) for row in rows if row[0] == id_)

    def ctr_remove(self, id_: str) -> None:
        if id_ in self._ctr("tasks", "ls", "-q").split():
            self._ctr("tasks", "rm", "-f", id_)
        self._ctr("containers", "rm", id_)

    def _remove_all(self) -> None:
        for sandbox in list(self._pods):
            self.remove_pod(sandbox)
        for id_ in self._ctr("containers", "ls", "-q").split():
            self.ctr_remove(id_)


def _pod_labels(name: str, namespace: str, uid: str) -> dict[str, str]:
    return {"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": namespace, "io.kubernetes.pod.uid": uid}
