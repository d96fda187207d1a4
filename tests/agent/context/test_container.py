"""Which container a cgroup's path names, in every form that runtimes write."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiercel_agent.context.container import ContainerId, concerned, concerned_by_member, container_of, unexplained

ID = "3ad7b26ded6d8e7b23da7d48fe889434573036c27ae5a74837233de441c3601e"
OTHER = "0" * 60 + "beef"
UID = "3e41dc6b-08a8-44db-bc2a-3724b18ab19a"
UID_ = UID.replace("-", "_")
STATIC = "9f0d4ab75fd4dd0cf5a0a31cd8b5b1a0"
SLICE = "/kubepods.slice/kubepods-burstable.slice"
KIND = f"/docker/{OTHER}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice"

RUNTIMES = {
    # Kubernetes
    f"{SLICE}/kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope": ("containerd", UID),
    f"/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope": ("containerd", UID),
    f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/crio-{ID}.scope": ("cri-o", UID),
    f"{SLICE}/kubepods-burstable-pod{UID_}.slice/crio-{ID}.scope/container": ("cri-o", UID),
    f"{SLICE}/kubepods-burstable-pod{STATIC}.slice/cri-containerd-{ID}.scope": ("containerd", STATIC),
    f"/kubepods/burstable/pod{UID}/{ID}": ("containerd", UID),
    f"/kubepods/besteffort/pod{UID}/{ID}": ("containerd", UID),
    f"/kubepods/pod{UID}/{ID}": ("containerd", UID),
    f"/kubepods/pod{UID}/crio-{ID}": ("cri-o", UID),
    f"/system.slice/containerd.service/kubepods-burstable-pod{UID_}.slice:cri-containerd:{ID}": ("containerd", UID),
    f"/../../kubepods/burstable/pod{UID}/{ID}": ("containerd", UID),
    # kind: Kubernetes in a container
    f"{KIND}/kubelet-kubepods-besteffort-pod{UID_}.slice/cri-containerd-{ID}.scope": ("containerd", UID),
    f"/docker/{OTHER}/kubelet/kubepods/burstable/pod{UID}/{ID}": ("containerd", UID),
    # Docker
    f"/system.slice/docker-{ID}.scope": ("docker", None),
    f"/docker/{ID}": ("docker", None),
    f"/docker/{ID}/system.slice/nginx.service": ("docker", None),
    f"/docker/{ID} (deleted)": ("docker", None),
    f"/ci-jobs/{ID}": (None, None),
    f"/docker/{OTHER}/docker/{ID}": ("docker", None),
    # podman
    f"/machine.slice/libpod-{ID}.scope": ("podman", None),
    f"/machine.slice/libpod-{ID}.scope/container": ("podman", None),
    f"/libpod_parent/libpod-{ID}": ("podman", None),
    f"/system.slice/web.service/libpod-payload-{ID}": ("podman", None),
    # nerdctl
    f"/system.slice/nerdctl-{ID}.scope": ("containerd", None),
    f"/default/{ID}": ("containerd", None),
    # Kata and others below a pod
    f"/kubepods/besteffort/pod{UID}/kata_{ID}": ("containerd", UID),
    f"/ecs/0123456789abcdef/{ID}": (None, None),
}


def told(cgroup_path: str) -> ContainerId | None:
    """The container without its cgroup."""
    container = container_of(cgroup_path)
    return replace(container, cgroup="") if container is not None else None


@pytest.mark.parametrize(("path", "expected"), RUNTIMES.items())
def test_what_runtimes_write(path: str, expected: tuple[str | None, str | None]) -> None:
    assert told(path) == ContainerId(ID, *expected)


@pytest.mark.parametrize(
    ("path", "id_", "runtime"),
    [
        ("/lxc.payload.web", "web", "lxc"),
        ("/lxc.payload.web/system.slice/nginx.service", "web", "lxc"),
        ("/system.slice/snap.lxd.daemon.service/lxc.payload.c1", "c1", "lxc"),
        ("/lxc/web/init.scope", "web", "lxc"),
        ("/machine.slice/machine-web.scope/payload/init.scope", "web", "systemd-nspawn"),
        ("/machine.slice/systemd-nspawn@web.service/payload", "web", "systemd-nspawn"),
        ("/system.slice/runc-job1.scope", "job1", "runc"),
        ("/garden/2c1c0e1c-1d5f-4b3e-6d9b-2c6a7d3f1f55", "2c1c0e1c-1d5f-4b3e-6d9b-2c6a7d3f1f55", "garden"),
        (
            "/ecs/f6e5d4/0123456789abcdef0123456789abcdef-2531612879",
            "0123456789abcdef0123456789abcdef-2531612879",
            "ecs",
        ),
    ],
)
def test_containers_of_which_no_runtime_can_be_asked(path: str, id_: str, runtime: str) -> None:
    assert told(path) == ContainerId(id_, runtime)


def test_whatever_is_in_a_pods_cgroup_is_of_that_pod() -> None:
    assert told(f"/kubepods/burstable/pod{UID}/of-another-runtime/x") == ContainerId("of-another-runtime", None, UID)


def test_two_cgroups_of_one_name_are_two_containers() -> None:
    """Where a container claims to be is a part of what it is; cgroups inside of it aren't."""
    one, inside, other = (
        container_of(path)
        for path in (
            f"/system.slice/docker-{ID}.scope",
            f"/system.slice/docker-{ID}.scope/init.scope",
            f"/docker-{ID}.scope",
        )
    )
    assert one == inside
    assert one != other
    assert (one, other) == (
        ContainerId(ID, "docker", cgroup=f"/system.slice/docker-{ID}.scope"),
        ContainerId(ID, "docker", cgroup=f"/docker-{ID}.scope"),
    )


@pytest.mark.parametrize(
    ("path", "id_", "runtime"),
    [
        ("/foo/web1", "web1", None),
        ("/user.slice/user-0.slice/session-3.scope/job", "job", None),
        ("/nomad.slice/share.slice/4e1f.web.scope", "4e1f.web", "nomad"),
        ("/user.slice/user-1000.slice/session-3.scope", "ns-f0000123", None),
        ("/system.slice/sandbox.service", "ns-f0000123", None),
        ("/two words", "ns-f0000123", None),
        ("/a\x1b[31m", "ns-f0000123", None),
        ("/", "ns-f0000123", None),
    ],
)
def test_a_container_that_no_form_shows_has_a_name_nevertheless(path: str, id_: str, runtime: str | None) -> None:
    assert unexplained(path, 0xF0000123) == ContainerId(id_, runtime, cgroup=path)


def test_the_short_id_is_what_rules_compare() -> None:
    assert ContainerId(ID).short == "3ad7b26ded6d"
    assert ContainerId("web1").short == "web1"


def test_ctr_gives_any_id() -> None:
    assert told("/default/web-1.blue") == ContainerId("web-1.blue", "containerd")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/init.scope",
        "/system.slice/ssh.service",
        "/user.slice/user-1000.slice/session-3.scope",
        "/default",
        "/default/my.service",
        "/default/two words",
        "/a/default/web1",
        "/kubepods/burstable",
        f"/kubepods/burstable/pod{UID}",
        # monitors run on the host
        f"/system.slice/crio-conmon-{ID}.scope",
        f"/machine.slice/libpod-conmon-{ID}.scope",
        "/libpod_parent/conmon",
        "/lxc.monitor.web",
        "/machine.slice/machine-web.scope/supervisor",
        "/machine.slice/machine-qemu.scope/libvirt/emulator",
        "/garden",
        # named to look like one
        f"/system.slice/docker-{ID}.service",
        f"/system.slice/docker-{ID[:-1]}.scope",
        f"/system.slice/docker-{ID}0.scope",
        f"/system.slice/docker-{ID.upper()}.scope",
        f"/system.slice/my-docker-{ID}.scope",
        f"/system.slice/docker-{ID}.scope.d",
        f"/system.slice/docker-{ID}\n.scope",
        f"/system.slice/{ID[:32]}",
    ],
)
def test_the_hosts_own_cgroups(path: str) -> None:
    assert container_of(path) is None


USER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("path", "runtime"),
    [
        (f"{USER}/user.slice/libpod-{ID}.scope/container", "podman"),
        (f"{USER}/user.slice/docker-{ID}.scope", "docker"),
        (f"{USER}/app.slice/web.service/libpod-payload-{ID}", "podman"),
    ],
)
def test_a_users_own_container_bears_the_user(path: str, runtime: str) -> None:
    assert told(path) == ContainerId(ID, runtime, None, 1000)


def test_a_user_cannot_make_up_a_pod_or_a_bare_id() -> None:
    made_up = container_of(f"{USER}/kubepods/pod{UID}/cri-containerd-{ID}.scope")
    assert made_up is not None
    assert (made_up.pod_uid, made_up.user) == (None, 1000)
    assert container_of(f"{USER}/docker/{ID}") is None
    assert container_of(f"{USER}/default/web1") is None


def test_a_pod_cannot_pose_as_another() -> None:
    victim = "11111111-2222-3333-4444-555555555555"
    path = f"/kubepods/pod{UID}/{ID}/kubepods/pod{victim}/cri-containerd-{OTHER}.scope"
    assert told(path) == ContainerId(ID, "containerd", UID)


def test_docker_in_a_pod_is_the_pods() -> None:
    assert told(f"/kubepods/pod{UID}/{ID}/docker/{OTHER}") == ContainerId(ID, "containerd", UID)


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text_has_an_answer(text: str) -> None:
    """The id of a container is always a part of the path."""
    for path in (text, f"/kubepods/pod{UID}/{text}/{ID}"):
        container = container_of(path)
        assert container is None or container.id in path


def test_the_longest_path_is_no_burden() -> None:
    assert container_of("/" + "kubepods-pod" * 340) is None
    assert told("/a" * 2000 + f"/docker-{ID}.scope") == ContainerId(ID, "docker")


@pytest.mark.parametrize(
    ("path", "whose"),
    [
        (f"/system.slice/docker-{'a' * 64}.scope", "container aaaaaaaaaaaa"),
        (f"/docker/{'a' * 64}/of/its/own", "container aaaaaaaaaaaa"),
        ("/user.slice/user-1000.slice/session-1.scope", "/user.slice/user-1000.slice"),
        ("/user.slice/user-1000.slice/user@1000.service/any/name", "/user.slice/user-1000.slice"),
        ("/system.slice/ssh.service", "/system.slice/ssh.service"),
        ("/a\x1b[31m", "/a\\x1b[31m"),
        ("/", "/"),
    ],
)
def test_whom_a_look_up_concerns(path: str, whose: str) -> None:
    """Whoever may make any number of groups is one all the same."""
    assert concerned(path) == whose
    assert concerned_by_member(f"3:cpu:/\n0::{path}\n") == whose
    assert concerned_by_member(f"3:cpu:{path}\n0::/\n") == (whose if whose.startswith("container") else "/")
