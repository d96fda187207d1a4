"""Requests to runtimes and how their answers are read, with a CRI server on a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from agent_support.cri_server import (
    DIGEST,
    ID,
    IMAGE_ID,
    MESSAGES,
    SANDBOX,
    UID,
    CriServer,
    cgroup,
    container,
    image,
    pairs,
    placed,
    sandbox,
)
from agent_support.finding import IN_POD, Finding, Look

from tiercel_agent.context.container import ContainerId
from tiercel_agent.workloads.model import Image, Mount
from tiercel_agent.workloads.runtimes.model import CONTAINERD, CRI, DOCKER, Socket, sockets_for


def test_all_that_the_cri_tells(look: Look) -> None:
    facts = look(annotations=("example.com/team",))
    assert facts is not None
    assert (facts.id, facts.name, facts.runtime, facts.sandbox_id) == (ID, "web", "cri-o", SANDBOX)
    name = "docker.io/library/nginx"
    assert facts.image == Image(f"{name}:1.27", name, "1.27", DIGEST, IMAGE_ID)
    assert (facts.privileged, facts.host_pid, facts.host_network, facts.host_ipc) == (True, True, False, False)
    assert facts.mounts == (
        Mount("/srv/data", "/data", "", True, "rslave"),
        Mount("/var/lib/kubelet/hosts", "/etc/hosts", "", False, "private"),
    )
    assert (facts.started, facts.ip) == (1_700_000_000_000_000_000, "10.1.2.3")
    assert facts.cni == '{"eth0":{"IPConfigs":[{"IP":"10.1.2.3"}]}}'
    assert facts.labels["io.kubernetes.container.name"] == "web"
    assert facts.pod is not None
    assert (facts.pod.namespace, facts.pod.name, facts.pod.uid, facts.pod.ip) == ("shop", "shop-1", UID, "10.1.2.3")
    # the kubelet's own labels are not the pod's
    assert (facts.pod.labels, facts.pod.annotations) == ({"app": "shop"}, {"example.com/team": "a"})


def test_crio_tells_of_privileges_by_itself_and_of_the_sandbox_in_a_list(look: Look) -> None:
    facts = look(ContainerStatus=container({"privileged": True, **placed()}))
    assert facts is not None
    assert (facts.privileged, facts.sandbox_id) == (True, SANDBOX)


def test_the_sandbox_is_its_pods_too(look: Look) -> None:
    facts = look(ContainerId(SANDBOX, "cri-o", UID, cgroup=cgroup(SANDBOX)))
    assert facts is not None
    assert facts.pod is not None
    assert (facts.id, facts.pod.name, facts.image, facts.privileged) == (SANDBOX, "shop-1", Image(), False)


def test_an_image_that_is_named_by_its_id_has_the_name_that_it_was_tagged_with(look: Look) -> None:
    facts = look(ContainerStatus=container(image={"image": IMAGE_ID}, image_ref=IMAGE_ID))
    assert facts is not None
    assert (facts.image.name, facts.image.tag, facts.image.id) == ("docker.io/library/nginx:1.27", "1.27", IMAGE_ID)


def test_the_name_that_was_asked_for_comes_before_the_one_that_it_led_to(look: Look) -> None:
    asked = {"image": IMAGE_ID, "user_specified_image": "registry:5000/nginx"}
    facts = look(ContainerStatus=container(image=asked))
    assert facts is not None
    assert (facts.image.name, facts.image.repository, facts.image.tag) == (*["registry:5000/nginx"] * 2, "")


def test_when_it_started_is_told_once_it_has(look: Look, tmp_path: Path, finding: Callable[..., Finding]) -> None:
    with CriServer(tmp_path / "crio.sock", ContainerStatus=container(started_at=0)) as server:
        search = finding(server.path)
        first = search.look()
        assert first is not None
        assert (first.name, first.started) == ("web", 0)
        server.answers["ContainerStatus"] = container()
        while (later := search.next()) is not None and not later.started:
            pass
        assert later is not None
        assert later.started == 1_700_000_000_000_000_000


@pytest.mark.parametrize("more", [{"config": 3}, {"sandboxID": None}, {"pid": "x"}])
def test_details_that_make_no_sense_leave_the_rest(look: Look, more: dict[str, object]) -> None:
    facts = look(ContainerStatus=container({**placed(), **more}))
    assert facts is not None
    assert (facts.name, facts.privileged, facts.sandbox_id) == ("web", None, SANDBOX)


def test_a_runtime_without_details_leaves_the_pod_by_its_labels(look: Look) -> None:
    labels = {f"io.kubernetes.pod.{key}": key for key in ("name", "namespace")} | {"io.kubernetes.pod.uid": UID}
    facts = look(
        ContainerStatus=container(labels=pairs(labels)),
        PodSandboxStatus=lambda _request: None,
        ImageStatus=lambda _request: None,
    )
    assert facts is not None
    assert facts.pod is not None
    assert (facts.pod.namespace, facts.pod.name) == ("namespace", "name")
    assert (facts.image.tag, facts.image.digest) == ("1.27", DIGEST)


def test_an_answer_about_something_else_is_not_believed(tmp_path: Path, finding: Callable[..., Finding]) -> None:
    other = container(id="c" * 64)
    with CriServer(
        tmp_path / "crio.sock", ContainerStatus=lambda request: other(type(request)(container_id="c" * 64))
    ) as server:
        assert finding(server.path).look() is None


def test_a_megabyte_of_annotations(look: Look) -> None:
    noted = pairs({"large": "x" * 1_000_000, "example.com/team": "y" * 1_000_000})
    facts = look(annotations=("example.com/team",), PodSandboxStatus=sandbox(annotations=noted))
    assert facts is not None
    assert facts.pod is not None
    assert facts.pod.annotations == {"example.com/team": "y" * 4096}


def test_hundreds_of_thousands_of_labels(look: Look) -> None:
    labels = pairs({f"label-{number}": "x" for number in range(200_000)})
    facts = look(PodSandboxStatus=sandbox(labels=labels))
    assert facts is not None
    assert facts.pod is not None
    assert 1000 < len(facts.pod.labels) < 10_000


@pytest.mark.parametrize(
    "answer",
    [b"\xff\xff\xff", b"", b"\x0a\x04\x0a\x02\xff\xfe", b"x" * 20_000_000],
    ids=["no message", "nothing", "no UTF-8", "too large"],
)
def test_nonsense_is_complained_of_and_asked_again(
    tmp_path: Path, finding: Callable[..., Finding], answer: bytes
) -> None:
    with CriServer(
        tmp_path / "crio.sock", ContainerStatus=lambda _request: answer, PodSandboxStatus=lambda _request: answer
    ) as server:
        search = finding(server.path)
        search.finder.find(IN_POD)
        while server.asked.count("ContainerStatus") < 3:
            assert search.news.empty() or (answer == b"" and search.next() is None)
        assert answer == b"" or str(server.path) in search.finder.failure
        server.answers["ContainerStatus"], server.answers["PodSandboxStatus"] = container(), sandbox()
        assert search.found().name == "web"
        assert search.finder.failure == ""


def test_a_socket_that_isnt_there_is_told_at_once_and_looked_for_again(
    tmp_path: Path, finding: Callable[..., Finding]
) -> None:
    path = tmp_path / "crio.sock"
    search = finding(path)
    assert search.look() is None
    with CriServer(path):
        assert search.found() is not None


def test_a_socket_that_speaks_something_else(tmp_path: Path, finding: Callable[..., Finding]) -> None:
    path = tmp_path / "crio.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        asked = threading.Event()

        def talk() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                client.sendall(b"SSH-2.0-nonsense\r\n")
                client.close()
                asked.set()

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        search = finding(path)
        search.finder.find(IN_POD)
        assert asked.wait(60)
        while not search.finder.failure:
            pass
        assert str(path) in search.finder.failure
        server.shutdown(socket.SHUT_RDWR)


def test_a_runtime_that_hangs_holds_up_no_other(tmp_path: Path, finding: Callable[..., Finding]) -> None:
    answering = threading.Event()
    with (
        CriServer(tmp_path / "containerd.sock", runtime="containerd") as good,
        CriServer(tmp_path / "crio.sock", ContainerStatus=lambda _request: answering.wait(60) and None) as hanging,
    ):
        search = finding(hanging.path, good.path)
        search.finder.find(IN_POD)
        assert search.look(ContainerId(ID, "containerd", UID, cgroup=cgroup())) is not None
        while not search.finder.failure:
            pass
        assert "DEADLINE_EXCEEDED" in search.finder.failure
        answering.set()


def test_many_containers_at_once(tmp_path: Path, finding: Callable[..., Finding]) -> None:
    def of_any(request: object) -> object:
        return container(id=request.container_id)(request)  # type: ignore[attr-defined]

    with CriServer(tmp_path / "crio.sock", ContainerStatus=of_any, ImageStatus=image()) as server:
        search = finding(server.path)
        ids = [f"{number:064x}" for number in range(500)]
        for id_ in ids:
            search.finder.find(ContainerId(id_, "cri-o", UID, cgroup=cgroup(id_)))
        assert {search.news.get(timeout=60).id.id for _ in ids} == set(ids)
        assert server.asked.count("ImageStatus") < 50  # one image, asked for by those who came before the answer


def test_a_broken_detail_message_is_no_message() -> None:
    assert MESSAGES["ContainerStatusRequest"](container_id=ID).SerializeToString() == b"\x0a\x40" + ID.encode()


@pytest.mark.parametrize(
    ("interface", "name", "runtime", "in_pod", "asked"),
    [
        (CONTAINERD, "containerd", "containerd", False, True),
        (CONTAINERD, "containerd", "docker", False, False),
        (CRI, "cri-o", "cri-o", True, True),
        (CRI, "cri-o", "containerd", True, True),  # the cgroupfs driver names no runtime
        (CRI, "cri-o", "containerd", False, False),
        (CRI, "docker", "docker", True, True),  # cri-dockerd
        (DOCKER, "docker", "docker", False, True),
        (DOCKER, "docker", None, False, True),
        (DOCKER, "podman", "podman", False, True),
        (DOCKER, "podman", "docker", False, False),
    ],
)
def test_who_is_asked(interface: str, name: str, runtime: str | None, in_pod: bool, asked: bool) -> None:
    socket = Socket(Path("/run/any.sock"), interface, frozenset({name}))
    assert bool(sockets_for(runtime, [socket], in_pod=in_pod)) is asked
