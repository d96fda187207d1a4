"""What the inventory knows after reports, and for how long events wait for them."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tiercel_agent.context.container import ContainerId
from tiercel_agent.warning import describe
from tiercel_agent.workloads.inventory import Inventory, News
from tiercel_agent.workloads.model import Container, Labelled, Pod
from tiercel_agent.workloads.news import NAMESPACE, NODE, ContainerNews, LabelNews, PodNews, Synced

UID = "3e41dc6b-08a8-44db-bc2a-3724b18ab19a"
IN_POD = ContainerId("a" * 64, "containerd", UID)
ALONE = ContainerId("b" * 64, "docker")
WAIT = 0.5


@dataclass
class Finder:
    report: Callable[[News], None]
    asked: list[ContainerId] = field(default_factory=list)
    gone_: list[ContainerId] = field(default_factory=list)
    failure: str = ""
    closed: bool = False

    def find(self, container: ContainerId) -> None:
        self.asked.append(container)

    def gone(self, container: ContainerId) -> None:
        self.gone_.append(container)

    def close(self) -> None:
        self.closed = True


@dataclass
class Api:
    report: Callable[[News], None]
    node: str = "node-1"
    connected: bool = True
    failure: str = ""
    asked: list[str] = field(default_factory=list)

    def ask_for(self, kind: str) -> None:
        self.asked.append(kind)

    def close(self) -> None:
        pass


class World:
    """An inventory whose sources and clock the test controls."""

    def __init__(self, *, runtimes: bool = True, api: bool = True) -> None:
        self.now = 100.0
        self.inventory = Inventory(
            self._start_finder if runtimes else None,
            self._start_api if api else None,
            patience=WAIT,
            clock=lambda: self.now,
        )

    def _start_finder(self, report: Callable[[News], None]) -> Finder:
        self.finder = Finder(report)
        return self.finder

    def _start_api(self, report: Callable[[News], None]) -> Api:
        self.api = Api(report)
        return self.api

    def report(self, *news: News) -> frozenset[ContainerId]:
        for each in news:
            self.inventory._report(each)
        return self.inventory.take_news().containers


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.inventory.close()


def pod(uid: str = UID, **facts: object) -> Pod:
    return Pod("shop", "web-1", uid, **facts)  # type: ignore[arg-type]


def container_found(container: ContainerId = IN_POD, of: Pod | None = None, name: str = "web") -> ContainerNews:
    return ContainerNews(container, Container(container.id, name, "containerd", pod=of))


def test_a_new_container_is_waited_for_and_then_isnt(world: World) -> None:
    world.inventory.appeared(IN_POD)
    assert (world.finder.asked, world.inventory.is_settled(IN_POD)) == ([IN_POD], False)
    assert world.inventory.workload(IN_POD).missing == ("container", "pod")
    world.now += WAIT
    assert world.inventory.is_settled(IN_POD)
    assert world.inventory.workload(IN_POD).missing == ("container", "pod")


def test_it_is_settled_when_both_have_told(world: World) -> None:
    world.inventory.appeared(IN_POD)
    assert world.report(container_found()) == {IN_POD}
    assert (world.inventory.is_settled(IN_POD), world.inventory.workload(IN_POD).missing) == (False, ("pod",))
    assert world.report(PodNews(pod())) == {IN_POD}
    workload = world.inventory.workload(IN_POD)
    assert world.inventory.is_settled(IN_POD)
    assert workload.container is not None
    assert (workload.container.name, workload.pod, workload.missing) == ("web", pod(), ())


def test_what_is_told_before_the_container_is_there_is_used(world: World) -> None:
    world.report(PodNews(pod()), Synced())
    world.inventory.appeared(IN_POD)
    assert world.inventory.workload(IN_POD).pod == pod()


def test_what_the_runtime_tells_of_the_pod_stands_in_for_the_api(world: World) -> None:
    world.inventory.appeared(IN_POD)
    world.report(container_found(of=pod(labels={"app": "web"}, ip="10.0.0.1")))
    workload = world.inventory.workload(IN_POD)
    assert workload.pod is not None
    assert (workload.pod.labels, workload.missing) == ({"app": "web"}, ("pod",))  # its owner, for one
    world.report(PodNews(pod(labels={"app": "other"})))
    workload = world.inventory.workload(IN_POD)
    assert workload.pod == pod(labels={"app": "other"}, ip="10.0.0.1")  # of what the API doesn't know yet


def test_without_an_api_server_the_runtime_is_all_that_is_asked() -> None:
    world = World(api=False)
    world.inventory.appeared(IN_POD)
    world.report(container_found(of=pod()))
    assert world.inventory.is_settled(IN_POD)
    assert (world.inventory.workload(IN_POD).missing, world.inventory.node) == ((), "")


def test_a_container_of_no_pod_waits_for_its_runtime_alone(world: World) -> None:
    world.inventory.appeared(ALONE)
    world.report(container_found(ALONE))
    assert world.inventory.is_settled(ALONE)
    assert world.inventory.workload(ALONE).missing == ()


def test_where_nobody_can_be_asked_nothing_waits() -> None:
    world = World(runtimes=False, api=False)
    world.inventory.appeared(ALONE)
    assert world.inventory.is_settled(ALONE)
    assert world.inventory.workload(ALONE).missing == ("container",)


def test_a_search_in_vain_ends_the_wait_and_is_repeated_in_time(world: World) -> None:
    world.inventory.appeared(ALONE)
    world.report(ContainerNews(ALONE, None))
    assert world.inventory.is_settled(ALONE)
    assert world.inventory.workload(ALONE).missing == ("container",)
    assert world.finder.asked == [ALONE]
    world.now += 61
    world.inventory.workload(ALONE)
    assert world.finder.asked == [ALONE, ALONE]


def test_the_pod_of_a_cgroup_that_a_runtime_denies_doesnt_count(world: World) -> None:
    """Else whoever may make cgroups could act in the name of another's pod."""
    world.report(PodNews(pod()), Synced())
    world.inventory.appeared(IN_POD)
    assert world.inventory.workload(IN_POD).pod == pod()  # nobody has said anything yet
    assert world.report(ContainerNews(IN_POD, None, denied=True, searching=True)) == {IN_POD}
    workload = world.inventory.workload(IN_POD)
    assert (workload.pod, workload.missing, world.inventory.is_settled(IN_POD)) == (None, ("container",), False)
    world.report(container_found())
    assert world.inventory.workload(IN_POD).pod == pod()


def test_a_cgroup_that_is_made_anew_is_asked_for_anew(world: World) -> None:
    """Anybody may have made it once the container is gone."""
    world.inventory.appeared(ALONE)
    world.report(container_found(ALONE))
    world.inventory.disappeared(ALONE)
    assert world.inventory.workload(ALONE).container is not None  # events of its last processes may still come
    world.inventory.appeared(ALONE)
    assert (world.finder.asked, world.inventory.workload(ALONE).container) == ([ALONE, ALONE], None)


def test_where_no_runtime_answers_the_pod_counts(world: World) -> None:
    world.report(PodNews(pod()), Synced())
    world.inventory.appeared(IN_POD)
    world.report(ContainerNews(IN_POD, None))
    assert world.inventory.workload(IN_POD).pod == pod()


def test_containers_that_nobody_vouches_for_are_warned_of_while_they_are_there(world: World) -> None:
    made_up = ContainerId("web\x1b[2J-1", "lxc", cgroup="/lxc.payload.web")
    for container in (IN_POD, ALONE, made_up):
        world.inventory.appeared(container)
    world.report(
        container_found(IN_POD, of=pod()), ContainerNews(ALONE, None, denied=True), ContainerNews(made_up, None)
    )
    assert world.inventory.current_warnings() == []  # a runtime may still answer
    world.now += WAIT
    told = [describe(warning) for warning in world.inventory.current_warnings()]
    assert told == ["containers that no runtime vouches for: bbbbbbbbbbbb, web\\x1b[2J-1"]
    world.inventory.disappeared(ALONE)
    world.inventory.disappeared(made_up)
    assert world.inventory.current_warnings() == []


@pytest.mark.parametrize(("synced", "waits"), [(False, True), (True, False)])
def test_an_api_that_is_gone_is_waited_for_only_if_it_has_never_been_there(
    world: World, synced: bool, waits: bool
) -> None:
    if synced:
        world.report(Synced())
    world.api.connected = False
    world.inventory.appeared(IN_POD)
    world.report(container_found(of=pod()))
    assert world.inventory.is_settled(IN_POD) is not waits


def test_a_pod_that_is_gone_is_still_named(world: World) -> None:
    world.inventory.appeared(IN_POD)
    world.report(container_found(), PodNews(pod()), PodNews(pod(), gone=True))
    assert world.inventory.workload(IN_POD).pod == pod()
    late = ContainerId("c" * 64, "containerd", UID)
    assert world.inventory.workload(late).pod == pod()


def test_only_what_has_changed_is_told_as_changed(world: World) -> None:
    world.inventory.appeared(IN_POD)
    other = ContainerId("c" * 64, "containerd", "5e41dc6b-08a8-44db-bc2a-3724b18ab19a")
    world.inventory.appeared(other)
    assert world.report(PodNews(pod())) == {IN_POD}
    assert world.report(PodNews(pod())) == frozenset()
    assert world.report(PodNews(pod(labels={"app": "web"}))) == {IN_POD}


def test_two_cgroups_that_claim_one_id_are_two_containers(world: World) -> None:
    """One is in a pod, the other was named so by a user."""
    fake = ContainerId(IN_POD.id, "docker", None, user=1000)
    world.inventory.appeared(IN_POD)
    world.inventory.appeared(fake)
    world.report(container_found(of=pod()), PodNews(pod()))
    assert world.inventory.workload(fake).container is None
    assert world.inventory.workload(IN_POD).pod == pod()
    assert world.finder.asked == [IN_POD]  # of what users run nobody is asked
    assert world.inventory.is_settled(fake)


def test_labels_of_namespaces_and_the_node(world: World) -> None:
    world.inventory.ask_for({"k8s.ns.name", "k8s.pod.label.app"})
    assert world.api.asked == []
    world.inventory.ask_for({"k8s.ns.label.team", "k8s.node.label.pool"})
    world.inventory.ask_for({"k8s.ns.labels"})
    assert sorted(world.api.asked) == [NAMESPACE, NODE]
    world.inventory.appeared(IN_POD)
    world.report(container_found(), PodNews(pod()))
    assert world.inventory.workload(IN_POD).missing == ("namespace",)
    shop = Labelled("shop", "1", {"team": "a"})
    assert world.report(LabelNews(NAMESPACE, (shop,), all=True)) == {IN_POD}
    assert (world.inventory.workload(IN_POD).namespace, world.inventory.is_settled(IN_POD)) == (shop, True)
    world.inventory._report(LabelNews(NODE, (Labelled("node-1", "2", {"pool": "gpu"}),), all=True))
    assert world.inventory.take_news().node
    assert world.inventory.node_labels() == {"pool": "gpu"}
    world.report(LabelNews(NAMESPACE, (shop,), gone=True))
    assert world.inventory.workload(IN_POD).namespace is None


def test_what_is_kept_is_bounded(world: World) -> None:
    """The containers that were known first are forgotten, and so are the pods that went first."""
    containers = [ContainerId(f"{number:064x}", "containerd", f"{number:032x}") for number in range(9000)]
    for container in containers:
        world.inventory.appeared(container)
    asked = len(world.finder.asked)
    world.inventory.appeared(containers[-1])
    world.inventory.appeared(containers[0])
    assert world.finder.asked[asked:] == [containers[0]]
    for number in range(2000):
        world.report(PodNews(pod(f"{number:032x}")), PodNews(pod(f"{number:032x}"), gone=True))
    later = {number: ContainerId(f"{number + 10_000:064x}", "containerd", f"{number:032x}") for number in (0, 1999)}
    assert world.inventory.workload(later[0]).pod is None
    assert world.inventory.workload(later[1999]).pod == pod(f"{1999:032x}")


def test_news_make_the_descriptor_readable(world: World) -> None:
    assert select.select([world.inventory.fileno], [], [], 0)[0] == []
    world.inventory._report(Synced())
    assert select.select([world.inventory.fileno], [], [], 0)[0] != []
    world.inventory.take_news()
    assert select.select([world.inventory.fileno], [], [], 0)[0] == []


def test_news_after_the_end_are_nobodys(world: World) -> None:
    world.inventory.appeared(IN_POD)
    world.inventory.close()
    world.inventory.close()
    assert world.finder.closed
    world.finder.report(Synced())


@pytest.mark.parametrize(
    ("runtimes", "api", "expected"),
    [
        (True, True, []),
        (True, False, ["no Kubernetes API is asked: rules that ask for k8s.deployment.name can't match"]),
        (
            False,
            False,
            [
                "no Kubernetes API is asked, and there is no container runtime: rules that ask for "
                "k8s.deployment.name, k8s.ns.name can't match"
            ],
        ),
    ],
)
def test_fields_without_a_source_are_warned_of(runtimes: bool, api: bool, expected: list[str]) -> None:
    world = World(runtimes=runtimes, api=api)
    world.inventory.start()
    warnings = world.inventory.lasting_warnings({"k8s.ns.name", "k8s.deployment.name", "container.id"})
    assert [describe(warning) for warning in warnings] == expected
    assert world.inventory.lasting_warnings({"container.image"}) == []


def test_a_node_by_another_name_is_noticed(world: World) -> None:
    world.report(Synced())
    world.inventory.appeared(IN_POD)
    world.report(container_found(of=pod()))
    assert world.inventory.current_warnings() == []
    world.now += 20
    assert [describe(warning) for warning in world.inventory.current_warnings()] == [
        "shop/web-1 runs here, and is none of the pods of node-1: is this node node-1?"
    ]
    world.report(PodNews(pod()))
    assert world.inventory.current_warnings() == []
