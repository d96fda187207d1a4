"""Requests to runtimes and how their answers are read, with a CRI server on a real socket."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

from tiercel_agent.context.cgroups import membership
from tiercel_agent.context.container import ContainerId
from tiercel_agent.workloads.model import Container, Image, Mount
from tiercel_agent.workloads.news import ContainerNews
from tiercel_agent.workloads.runtimes.cgroup_path import cgroups_of_docker, cgroups_of_spec
from tiercel_agent.workloads.runtimes.finder import ContainerFinder
from tiercel_agent.workloads.runtimes.model import CONTAINERD, CRI, DOCKER, NoAnswer, Socket, sockets_for
from tiercel_agent.workloads.runtimes.recognition import recognise

IN_POD = ContainerId(ID, "cri-o", UID, cgroup=cgroup())
Look = Callable[..., Container | None]


class Finding:
    """A finder, with what it reports."""

    def __init__(self, *paths: Path, annotations: tuple[str, ...] = ()) -> None:
        self.news: queue.SimpleQueue[ContainerNews] = queue.SimpleQueue()
        self.finder = ContainerFinder(paths, annotations, self.news.put)

    def look(self, container: ContainerId = IN_POD) -> Container | None:
        self.finder.find(container)
        return self.next()

    def next(self) -> Container | None:
        return self.news.get(timeout=60).container

    def found(self) -> Container:
        """What is found at last."""
        while (facts := self.next()) is None:
            pass
        return facts


@pytest.fixture
def finding() -> Iterator[Callable[..., Finding]]:
    opened: list[Finding] = []

    def begin(*paths: Path, **options: tuple[str, ...]) -> Finding:
        opened.append(Finding(*paths, **options))
        return opened[-1]

    yield begin
    for search in opened:
        search.finder.close()


@pytest.fixture
def look(tmp_path: Path, finding: Callable[..., Finding]) -> Iterator[Look]:
    """The container as it is read from the given answers of a CRI-O."""
    servers: list[CriServer] = []

    def begin(asked: ContainerId = IN_POD, annotations: tuple[str, ...] = (), **answers: object) -> Container | None:
        server = CriServer(tmp_path / f"crio-{len(servers)}.sock", **answers)  # type: ignore[arg-type]
        servers.append(server.__enter__())
        return finding(server.path, annotations=annotations).look(asked)

    yield begin
    for server in servers:
        server.__exit__(None, None, None)


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


@pytest.mark.parametrize(
    ("runtime", "interface", "name"),
    [
        ("containerd", CONTAINERD, "containerd"),
        ("cri-o", CRI, "cri-o"),
        ("docker", CRI, "docker"),
        ("Other\x1b", CRI, "other\\x1b"),
    ],
)
def test_a_runtime_is_recognised_by_its_answer(tmp_path: Path, runtime: str, interface: str, name: str) -> None:
    path = tmp_path / "docker.sock"  # whatever it is called
    with CriServer(path, runtime=runtime):
        assert asyncio.run(recognise(path)) == Socket(path, interface, frozenset({name}))


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """A socket that gives each client the same answer."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(answer)

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Api-Version: 1.44", "docker"),
        ("Libpod-API-Version: 5.0.0\r\nApi-Version: 1.41", "podman"),
        ("Server: x", None),
    ],
)
def test_docker_and_podman_are_recognised_by_their_ping(tmp_path: Path, header: str, name: str | None) -> None:
    path = tmp_path / "containerd.sock"
    with answering(path, f"HTTP/1.0 200 OK\r\n{header}\r\nContent-Length: 2\r\n\r\nOK".encode()):
        if name is None:
            with pytest.raises(NoAnswer, match="no container runtime"):
                asyncio.run(recognise(path))
        else:
            assert asyncio.run(recognise(path)) == Socket(path, DOCKER, frozenset({name}))


@pytest.mark.parametrize("answer", [b"", b"\r\n\r\n", b"x" * 100_000])
def test_what_is_no_runtime_is_told(tmp_path: Path, finding: Callable[..., Finding], answer: bytes) -> None:
    path = tmp_path / "containerd.sock"
    with answering(path, answer):
        search = finding(path)
        search.finder.find(IN_POD)
        while not search.finder.failure:
            time.sleep(0.01)
        assert search.finder.failure == f"{path}: no container runtime answers there"
