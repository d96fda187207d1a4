"""Docker's HTTP interface, which podman speaks too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
import requests

from tiercel_agent.workloads.images import image_of
from tiercel_agent.workloads.model import Container, Image, Mount, Pod
from tiercel_agent.workloads.runtimes.cgroup_path import cgroups_of_docker
from tiercel_agent.workloads.runtimes.model import NoAnswer

_TIMEOUT = 1  # seconds
_POD = "io.kubernetes.pod."
_ERRORS = (docker.errors.DockerException, requests.RequestException, OSError, ValueError)


class Docker:
    """A ``Runtime`` that speaks Docker's interface. ``runtime`` is its name as ``container.type`` shows it."""

    def __init__(self, path: Path, runtime: str) -> None:
        self._path = path
        self._runtime = runtime
        self._client: docker.APIClient | None = None

    async def container(self, id_: str, *, in_pod: bool) -> Container | None:  # noqa: ARG002 (all are asked alike)
        return await asyncio.to_thread(self._ask, id_)

    async def close(self) -> None:
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    def _ask(self, id_: str) -> Container | None:
        try:
            if self._client is None:
                self._client = docker.APIClient(f"unix://{self._path}", version="auto", timeout=_TIMEOUT)
            inspected = self._client.inspect_container(id_)
            return _container(inspected, self._image(inspected), self._runtime)
        except docker.errors.NotFound:
            return None
        except _ERRORS as error:
            raise NoAnswer(f"{self._path}: {error}") from error
        except (TypeError, KeyError, AttributeError) as error:  # JSON of another form
            raise NoAnswer(f"{self._path}: an answer that makes no sense ({error})") from error

    def _image(self, inspected: Mapping[str, Any]) -> Image:
        assert self._client is not None
        name, id_ = inspected["Config"].get("Image") or "", inspected.get("Image") or ""
        try:
            image = self._client.inspect_image(id_) if id_ else {}
        except docker.errors.NotFound:
            image = {}
        return image_of(name, id_, image.get("RepoTags") or (), image.get("RepoDigests") or ())


def _container(inspected: Mapping[str, Any], image: Image, runtime: str) -> Container:
    config, host = inspected["Config"], inspected.get("HostConfig") or {}
    labels = dict(config.get("Labels") or {})
    uid = labels.get(f"{_POD}uid", "")
    pod = Pod(labels.get(f"{_POD}namespace", ""), labels.get(f"{_POD}name", ""), uid) if uid else None
    state = inspected.get("State") or {}
    health = (config.get("Healthcheck") or {}).get("Test") or ()
    return Container(
        id=inspected["Id"],
        name=str(inspected.get("Name") or "").removeprefix("/"),
        runtime=runtime,
        image=image,
        privileged=host.get("Privileged"),
        host_pid=host.get("PidMode") == "host",
        host_network=host.get("NetworkMode") == "host",
        host_ipc=host.get("IpcMode") == "host",
        mounts=tuple(map(_mount, inspected.get("Mounts") or ())),
        started=_nanoseconds(str(state.get("StartedAt") or "")),
        labels=labels,
        ip=str((inspected.get("NetworkSettings") or {}).get("IPAddress") or ""),
        health_check=" ".join(map(str, health[1:] if health and health[0] in ("CMD", "CMD-SHELL") else ())),
        pod=pod,
        cgroups=cgroups_of_docker(inspected["Id"], str(host.get("CgroupParent") or ""), runtime),
        pid=int(state.get("Pid") or 0),
        finished=0 if state.get("Running") else _nanoseconds(str(state.get("FinishedAt") or "")),
    )


def _mount(mount: Mapping[str, Any]) -> Mount:
    return Mount(
        str(mount.get("Source") or ""),
        str(mount.get("Destination") or ""),
        str(mount.get("Mode") or ""),
        bool(mount.get("RW", True)),
        str(mount.get("Propagation") or ""),
    )


def _nanoseconds(text: str) -> int:
    """Nanoseconds since the epoch of a time such as ``2026-11-25T02:03:04.123456789Z``. 0 if the text is no time, or
    one before 1970, by which Docker means that there is none."""
    try:
        return max(0, int(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000)
    except (ValueError, OverflowError):
        return 0
