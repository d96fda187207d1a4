"""Whose records were lost is told by pod and container, as far as a cgroup's path and the inventory tell."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tiercel_agent.loss import NOT_KNOWN, LostBy
from tiercel_agent.workloads.containers import Containers
from tiercel_agent.workloads.model import NOTHING, Container, Pod, Workload

ID = "ab" * 32
PATHS = {
    1: "/",
    2: f"/kubepods.slice/kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice/cri-containerd-{ID}.scope",
    3: f"/libpod-{ID}.scope",
    4: f"/user.slice/user-7.slice/user@7.service/docker-{ID}.scope",
    6: f"/docker-{ID}.scope",
    5: "/a\x1b[2J" + "x" * 1000,
}


def containers() -> Containers:
    cgroups: Any = SimpleNamespace(path=PATHS.get, known_paths=list)
    pod = Pod("shop", "web", "01234567-89ab-cdef-0123-456789abcdef")
    vouched = {"containerd": Workload(Container(ID), pod), "podman": Workload(Container(ID))}
    inventory: Any = SimpleNamespace(workload=lambda each: vouched.get(each.runtime, NOTHING))
    return Containers(cgroups, SimpleNamespace(), inventory)  # type: ignore[arg-type]


def test_what_is_known_of_a_cgroup_is_told() -> None:
    told = containers().lost_by
    assert told(1) == LostBy("/")
    assert told(2) == LostBy(PATHS[2], ID[:12], "shop/web")
    assert told(3) == LostBy(PATHS[3], ID[:12])
    assert told(99) == NOT_KNOWN


def test_a_container_that_its_runtime_doesnt_vouch_for_is_told_by_its_path() -> None:
    assert containers().lost_by(6) == LostBy(PATHS[6])


def test_what_users_name_isnt_believed_and_drives_no_terminal() -> None:
    told = containers().lost_by
    assert told(4) == LostBy(PATHS[4])
    assert "\x1b" not in told(5).cgroup
    assert len(told(5).cgroup) < 250
