"""The harness itself: containers run, look as they do on a node, and nothing of them stays behind."""

from __future__ import annotations

import json
import re
import socket
import uuid
from pathlib import Path

import pytest
from container_support.machine import IMAGE, ContainerError, cgroups, cgroups_of, processes_of
from container_support.names import unique_name
from container_support.podman import Podman
from container_support.runtime import ContainerdServer


def test_a_pod_runs_a_container(containerd: ContainerdServer) -> None:
    sandbox = containerd.run_pod("web", "shop", labels={"app": "web"}, annotations={"note": "x"})
    container = containerd.create_container(sandbox, "main", IMAGE, ["cat", "/etc/shadow"])
    containerd.start_container(container)
    assert containerd.wait_exited(container) == 0
    assert "root:*:" in containerd.container_log(sandbox, "main")
    containerd.remove_container(container)
    containerd.remove_pod(sandbox)


def test_a_failure_is_told(containerd: ContainerdServer) -> None:
    sandbox = containerd.run_pod()
    assert containerd.wait_exited(containerd.run_container(sandbox, "fails", ["sh", "-c", "exit 3"])) == 3
    with pytest.raises(ContainerError, match="no-such-program"):
        containerd.run_container(sandbox, "unknown", ["no-such-program"])
    containerd.remove_pod(sandbox)


def test_cgroups_are_those_of_a_node(containerd: ContainerdServer) -> None:
    uid = str(uuid.uuid4())
    sandbox = containerd.run_pod(uid=uid)
    container = containerd.run_container(sandbox, "main", ["sleep", "1000000"])
    paths = cgroups_of(containerd.container_pid(container))
    assert f"/kubepods/besteffort/pod{uid}/{container}" in paths
    assert all(re.fullmatch(rf"/kubepods/besteffort/pod{uid}/[0-9a-f]{{64}}", path) for path in paths)
    containerd.remove_pod(sandbox)
    assert not any(cgroup.exists() for cgroup in cgroups(f"/kubepods/besteffort/pod{uid}"))


def test_a_privileged_container_with_a_mount(containerd: ContainerdServer, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("of the host")
    sandbox = containerd.run_pod(privileged=True, host_pid=True)
    mounts = [(str(tmp_path), "/host", True)]
    container = containerd.run_container(sandbox, "main", ["sleep", "1000000"], privileged=True, mounts=mounts)
    assert containerd.exec_sync(container, ["cat", "/host/given"]) == (0, "of the host")
    assert containerd.exec_sync(container, ["touch", "/host/new"])[0] == 1
    assert containerd.exec_sync(container, ["ls", f"/proc/{containerd.container_pid(container)}"])[0] == 0
    containerd.stop_container(container)
    assert containerd.wait_exited(container) == 137
    containerd.remove_pod(sandbox)


def test_ctr_runs_a_container(containerd: ContainerdServer) -> None:
    id_ = unique_name()
    status, output = containerd.ctr_run(id_, ["cat", "/etc/shadow", "/proc/self/cgroup"])
    assert status == 0
    assert "root:*:" in output
    assert f":/default/{id_}\n" in output
    containerd.ctr_run(id_, ["sleep", "1000000"], detached=True)
    assert f"/default/{id_}" in cgroups_of(containerd.ctr_pid(id_))
    containerd.ctr_remove(id_)
    assert containerd.ctr_run(id_, ["sh", "-c", "exit 3"])[0] == 3


def test_podman_runs_a_container(podman: Podman) -> None:
    status, output = podman.run("job", ["cat", "/etc/shadow"])
    assert status == 0
    assert "root:*:" in output
    id_ = podman.run("daemon", ["sleep", "1000000"], detached=True)[1].strip()
    assert any(path.endswith(f"libpod-{id_}") for path in cgroups_of(podman.pid("daemon")))
    podman.remove("daemon")


def test_podman_serves_its_api(podman: Podman) -> None:
    podman.run("daemon", ["sleep", "1000000"], detached=True)
    with podman.service() as path, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"GET /v4.0.0/libpod/containers/json HTTP/1.0\r\nHost: podman\r\n\r\n")
        with connection.makefile("rb") as answer:
            _, _, body = answer.read().partition(b"\r\n\r\n")
    assert [container["Names"] for container in json.loads(body)] == [["daemon"]]
    podman.remove("daemon")


@pytest.mark.usefixtures("containerd", "podman")  # skips where they can't run
def test_nothing_stays_behind() -> None:
    name = unique_name()
    with ContainerdServer() as containerd, Podman() as podman:
        containerd.run_container(containerd.run_pod(uid=name), "main", ["sleep", "1000000"])
        containerd.ctr_run(name, ["sleep", "1000000"], detached=True)
        podman.run("daemon", ["sleep", "1000000"], detached=True)
        folders = (containerd.folder, podman.folder)
        assert all(processes_of(folder) for folder in folders)
    assert not any(processes_of(folder) or folder.exists() for folder in folders)
    assert not any(str(folder) in Path("/proc/self/mounts").read_text() for folder in folders)
    left = [*cgroups(f"/kubepods/besteffort/pod{name}"), *cgroups(f"/default/{name}")]
    assert not any(cgroup.exists() for cgroup in left)
