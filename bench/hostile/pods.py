"""Pods where there is no kubelet: a control group each, and a runtime that knows them."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_support.cri_server import MESSAGES, CriServer, container, pairs, sandbox

from tiercel_agent.context.cgroups import mount_point

_FOLDER = "kubepods"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with one container."""

    namespace: str
    group: Path
    """Of its container."""

    @property
    def container(self) -> str:
        """The container's id."""
        return self.group.name

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """A process in the container's control group."""
        enter = ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.group / "cgroup.procs")]
        return subprocess.Popen(
            [*enter, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )


@contextmanager
def pods(namespaces: Sequence[str], folder: Path) -> Iterator[tuple[dict[str, Pod], Path]]:
    """A pod in each namespace, and the socket of their runtime."""
    root = mount_point()
    assert root is not None, "no control groups are mounted"
    made = {namespace: _make(namespace, Path(root)) for namespace in namespaces}
    try:
        with CriServer(folder / "cri.sock") as server:
            server.answers |= _answers(made.values())
            yield made, server.path
    finally:
        for pod in made.values():
            for path in (pod.group, pod.group.parent, pod.group.parent.parent):
                with suppress(OSError):  # other pods are in the outer ones
                    path.rmdir()


def _make(namespace: str, root: Path) -> Pod:
    digest = hashlib.sha256(namespace.encode()).hexdigest()
    group = root / _FOLDER / f"pod{_uid(digest)}" / digest
    group.mkdir(parents=True, exist_ok=True)
    return Pod(namespace, group)


def _uid(digest: str) -> str:
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def _sandbox_id(pod: Pod) -> str:
    return pod.container[::-1]


def _answers(made: Any) -> dict[str, Callable[[Any], Any]]:
    statuses: list[Callable[[Any], Any]] = []
    sandboxes: list[Callable[[Any], Any]] = []
    sandbox_of = {}
    for pod in made:
        uid, name = _uid(pod.container), f"{pod.namespace}-1"
        sandbox_of[pod.container] = _sandbox_id(pod)
        labels = pairs({"io.kubernetes.pod.uid": uid, "io.kubernetes.container.name": "web"})
        where = {"runtimeSpec": {"linux": {"cgroupsPath": f"/{_FOLDER}/pod{uid}/{pod.container}"}}}
        statuses.append(container({"sandboxID": _sandbox_id(pod), **where}, id=pod.container, labels=labels))
        metadata = {"name": name, "uid": uid, "namespace": pod.namespace}
        labels = pairs({"io.kubernetes.pod.name": name})
        sandboxes.append(sandbox(id=_sandbox_id(pod), metadata=metadata, labels=labels))

    def listed(request: Any) -> Any:
        ids = [request.filter.id] if request.filter.id else list(sandbox_of)
        known = [{"id": each, "pod_sandbox_id": sandbox_of[each]} for each in ids if each in sandbox_of]
        return MESSAGES["ListContainersResponse"](containers=known)

    return {
        "ContainerStatus": lambda request: _first(statuses, request),
        "PodSandboxStatus": lambda request: _first(sandboxes, request),
        "ListContainers": listed,
    }


def _first(answers: Sequence[Callable[[Any], Any]], request: Any) -> Any:
    return next((found for answer in answers if (found := answer(request)) is not None), None)
