"""Whether a runtime vouches for a container: only if it is in the cgroup where the runtime has put it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from agent_support.cri_server import ID, UID, CriServer, cgroup, container, sandbox
from agent_support.finding import IN_POD, Finding, Look

from tiercel_agent.context.cgroups import membership
from tiercel_agent.context.container import ContainerId
from tiercel_agent.workloads.runtimes.cgroup_path import cgroups_of_docker, cgroups_of_spec


def test_another_pods_container_is_not_taken_for_this_ones(tmp_path: Path, finding: Callable[..., Finding]) -> None:
    """A cgroup below a pod's own that has the name of another pod's container."""
    with CriServer(tmp_path / "crio.sock") as server:
        search = finding(server.path)
        spoofed = ContainerId(ID, "cri-o", "5e41dc6b-08a8-44db-bc2a-3724b18ab19a", cgroup=cgroup())
        assert search.look(spoofed) is None
        assert search.look() is not None


@pytest.mark.parametrize(
    "elsewhere",
    [f"/crio-{ID}.scope", f"/elsewhere{cgroup()}", f"{cgroup()}/{'c' * 64}/{ID}", cgroup("c" * 64)],
)
def test_a_cgroup_that_is_named_like_a_container_isnt_it(look: Look, elsewhere: str) -> None:
    """Whoever may make cgroups chooses their names: a privileged container does."""
    assert look(ContainerId(ID, "cri-o", UID, cgroup=elsewhere)) is None


@pytest.mark.parametrize("info", ["no JSON", "[]", "null", "{}", '{"runtimeSpec": {"linux": []}}', '{"pid": 0}'])
def test_a_runtime_that_doesnt_say_where_a_container_is_doesnt_vouch_for_it(look: Look, info: str) -> None:
    assert look(ContainerStatus=container(info)) is None


def test_the_cgroup_of_a_container_that_has_ended_isnt_its_any_more(look: Look) -> None:
    """The runtime knows it for a while after that, and anybody may make the cgroup anew. One that ended just now may
    have been too quick for its cgroup to be noticed before."""
    long_ago, just_now = time.time_ns() - 60_000_000_000, time.time_ns() - 1_000_000_000
    assert look(ContainerStatus=container(finished_at=long_ago)) is None
    assert look(ContainerStatus=container(finished_at=just_now)) is not None


def test_a_search_that_is_denied_goes_on(tmp_path: Path, finding: Callable[..., Finding]) -> None:
    """A runtime may know a container a little later than its cgroup is made."""
    with CriServer(tmp_path / "crio.sock", ContainerStatus=lambda _: None, PodSandboxStatus=lambda _: None) as server:
        search = finding(server.path)
        search.finder.find(IN_POD)
        news = search.news.get(timeout=60)
        assert (news.container, news.denied, news.searching) == (None, True, True)
        server.answers["ContainerStatus"], server.answers["PodSandboxStatus"] = container(), sandbox()
        assert search.next() is not None


def test_a_process_shows_where_a_container_is(look: Look) -> None:
    """Of a runtime that tells of its first process alone, such as Docker."""
    own = membership(os.getpid())
    assert own is not None
    place = next(path for path in (own.unified, *own.by_controller.values()) if path)
    told = container(json.dumps({"pid": os.getpid()}))
    assert look(ContainerId(ID, "cri-o", UID, cgroup=place), ContainerStatus=told) is not None
    assert look(ContainerId(ID, "cri-o", UID, cgroup="/docker-x.scope"), ContainerStatus=told) is None


@pytest.mark.parametrize(
    ("told", "path"),
    [
        ("/kubepods/besteffort/pod1/x", "/kubepods/besteffort/pod1/x"),
        (
            f"kubepods-burstable-pod1_2.slice:cri-containerd:{ID}",
            f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{ID}.scope",
        ),
        (f"system.slice:docker:{ID}", f"/system.slice/docker-{ID}.scope"),
        ("-.slice:runc:job", "/runc-job.scope"),
    ],
)
def test_where_a_specification_says_that_a_container_is(told: str, path: str) -> None:
    assert cgroups_of_spec(told) == (path,)


@pytest.mark.parametrize("told", ["", "relative", "a:b", None, 3, ["/"]])
def test_a_specification_that_doesnt_say_it(told: object) -> None:
    assert cgroups_of_spec(told) == ()


@pytest.mark.parametrize(
    ("runtime", "parent", "path"),
    [
        ("docker", "", f"/docker/{ID}"),
        ("docker", "", f"/system.slice/docker-{ID}.scope"),
        ("docker", "ci-jobs", f"/ci-jobs/{ID}"),
        ("docker", "/kubepods/burstable/pod1", f"/kubepods/burstable/pod1/{ID}"),
        ("docker", "my-jobs.slice", f"/my.slice/my-jobs.slice/docker-{ID}.scope"),
        ("podman", "", f"/machine.slice/libpod-{ID}.scope"),
        ("podman", "", f"/libpod_parent/libpod-{ID}"),
        ("podman", "/jobs", f"/jobs/libpod-{ID}"),
    ],
)
def test_where_docker_and_podman_put_containers(runtime: str, parent: str, path: str) -> None:
    assert path in cgroups_of_docker(ID, parent, runtime)
