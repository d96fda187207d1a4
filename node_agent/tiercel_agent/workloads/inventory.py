"""The containers of this machine, with what runtimes and the API server have reported about them.

One thread calls all methods. What the sources report waits in a queue until that thread takes it.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Protocol

from cachetools import LRUCache

from tiercel_agent.context.container import ContainerId
from tiercel_agent.warning import AgentWarning
from tiercel_agent.workloads.model import NOTHING, Container, Labelled, Pod, Workload
from tiercel_agent.workloads.news import (
    NAMESPACE,
    NODE,
    ClusterNews,
    ContainerNews,
    LabelNews,
    PodNews,
    Synced,
)
from tiercel_engine.printable import printable
from tiercel_engine.resources.node_agent import WarningKind

_MOST_CONTAINERS = 8192
_MOST_GONE_PODS = 1024
_OF_CLUSTER = (
    *("k8s.owner.", "k8s.rs.", "k8s.rc.", "k8s.deployment.", "k8s.pod.service_account", "k8s.pod.annotation"),
    *("k8s.ns.id", "k8s.ns.label", "k8s.node."),
)
"""Prefixes of the fields that only the API server can give."""
_API_IS_SURE_AFTER = 10.0  # seconds
_MOST_NAMED = 20  # in one warning: those that were there first, so that it doesn't change with each new one
_ASK_AGAIN = 60.0  # seconds after a search for a container that found nothing

News = ContainerNews | ClusterNews


class Finder(Protocol):
    """A source that searches for containers, and reports each when it is found."""

    def find(self, container: ContainerId) -> None: ...
    def gone(self, container: ContainerId) -> None: ...
    def close(self) -> None: ...

    @property
    def failure(self) -> str: ...


class ClusterSource(Protocol):
    """A source that reports pods as they change, and namespaces and the node too once it is asked for them."""

    @property
    def node(self) -> str: ...
    @property
    def connected(self) -> bool: ...
    @property
    def failure(self) -> str: ...
    def ask_for(self, kind: str) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class _Entry:
    """A container. Times are the clock's; ``hopeless``: the last search for it found nothing; ``denied``: a runtime has
    said that there is no such container in that cgroup; ``gone``: so is its cgroup."""

    deadline: float
    asked: float
    container: Container | None = None
    hopeless: bool = False
    denied: bool = False
    gone: bool = False
    workload: Workload = NOTHING


@dataclass(frozen=True, slots=True)
class Changes:
    """The containers of which something else is known now; ``node``: whether the labels of the node have changed."""

    containers: frozenset[ContainerId] = frozenset()
    node: bool = False


class Inventory:
    """What is known of the containers of this machine.

    ``patience`` is how many seconds the events of a new container wait for what the sources say of it. ``start_finder``
    and ``start_cluster`` make the sources, or are None if there is none. They get the function by which the source
    reports, which may be called in any thread.
    """

    def __init__(
        self,
        start_finder: Callable[[Callable[[News], None]], Finder] | None = None,
        start_cluster: Callable[[Callable[[News], None]], ClusterSource] | None = None,
        *,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._entries: OrderedDict[ContainerId, _Entry] = OrderedDict()
        self._by_pod: dict[str, set[ContainerId]] = {}
        self._pods: dict[str, Pod] = {}
        self._gone_pods: LRUCache[str, Pod] = LRUCache(_MOST_GONE_PODS)
        self._labelled: dict[str, dict[str, Labelled]] = {}
        self._synced = False
        self._queue: SimpleQueue[News] = SimpleQueue()
        self._lock = Lock()
        self._news_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._start_finder = start_finder
        self._finder: Finder | None = None
        self._cluster = start_cluster(self._report) if start_cluster is not None else None

    def start(self) -> None:
        """Starts the finder before there is a container to find: starting it takes longer than some containers live."""
        if self._finder is None and self._start_finder is not None:
            self._finder = self._start_finder(self._report)

    @property
    def fileno(self) -> int:
        """A descriptor that is readable when there is news."""
        return self._news_fd

    @property
    def node(self) -> str:
        """The name of the Kubernetes node, "" outside of a cluster."""
        return self._cluster.node if self._cluster is not None else ""

    def lasting_warnings(self, fields: Collection[str]) -> list[AgentWarning]:
        """A warning if these fields are asked for, and there is no source that could give them."""
        prefixes = () if self._cluster is not None else _OF_CLUSTER if self._finder is not None else ("k8s.",)
        unknown = sorted(field for field in fields if field.startswith(prefixes)) if prefixes else []
        if not unknown:
            return []
        what = "no Kubernetes API is asked" + (
            "" if self._finder is not None else ", and there is no container runtime"
        )
        return [AgentWarning(WarningKind.FIELDS_WITHOUT_SOURCE, tuple(unknown), what)]

    def current_warnings(self) -> list[AgentWarning]:
        """What runtimes and the API of Kubernetes fail at now."""
        sources = ((WarningKind.RUNTIME_FAILS, self._finder), (WarningKind.KUBERNETES_FAILS, self._cluster))
        failures = [(kind, source.failure) for kind, source in sources if source is not None]
        return [
            *(AgentWarning(kind, detail=failure) for kind, failure in failures if failure),
            *self._unknown(),
            *self._of_another_node(),
        ]

    def _unknown(self) -> list[AgentWarning]:
        """A warning if there are containers of which no runtime knows. Those of users' own are never asked for."""
        now = self._clock()
        unknown = (
            printable(container.short)
            for container, entry in self._entries.items()
            if entry.container is None and not entry.gone and container.user is None and now >= entry.deadline
        )
        names = tuple(islice(unknown, _MOST_NAMED))
        return [AgentWarning(WarningKind.UNKNOWN_CONTAINERS, names)] if names else []

    def _of_another_node(self) -> list[AgentWarning]:
        """A warning if pods run here that the API server doesn't count among this node's."""
        if self._cluster is None or not self._cluster.connected or not self._synced:
            return []
        late = self._clock() - _API_IS_SURE_AFTER
        for entry in self._entries.values():
            pod = entry.container.pod if entry.container is not None else None
            if pod is not None and entry.workload.pod is pod and entry.deadline < late:
                names = f"{pod.namespace}/{pod.name}", self._cluster.node
                return [AgentWarning(WarningKind.NODE_NAME_DIFFERS, names)]
        return []

    def ask_for(self, fields: Collection[str]) -> None:
        """Notes that rules read these fields from now on."""
        if self._cluster is None:
            return
        for prefix, kind in (("k8s.ns.", NAMESPACE), ("k8s.node.label", NODE)):
            if kind not in self._labelled and any(
                field.startswith(prefix) and field != "k8s.ns.name" for field in fields
            ):
                self._labelled[kind] = {}
                self._cluster.ask_for(kind)

    def node_labels(self) -> Mapping[str, str]:
        node = self._labelled.get(NODE, {}).get(self.node)
        return node.labels if node is not None else {}

    def appeared(self, container: ContainerId) -> None:
        """Notes that there is such a container, and begins to search for its facts. What was known of one that is gone
        doesn't count: anybody may have made the cgroup anew."""
        entry = self._entries.get(container)
        if entry is not None and entry.gone:
            self._forget(container, self._entries.pop(container))
        self._entry(container)

    def disappeared(self, container: ContainerId) -> None:
        entry = self._entries.get(container)
        if entry is not None:
            entry.gone = True
            if self._finder is not None:
                self._finder.gone(container)

    def workload(self, container: ContainerId) -> Workload:
        """What is known of a container."""
        return self._entry(container).workload

    def is_settled(self, container: ContainerId) -> bool:
        """Whether nothing more is expected to become known of the container soon."""
        entry = self._entry(container)
        return not self._is_awaited(entry) or self._clock() >= entry.deadline

    def take_news(self) -> Changes:
        """Takes in what the sources have reported since the last call, and says what has changed by it."""
        try:
            os.eventfd_read(self._news_fd)
        except BlockingIOError:
            return Changes()
        changed: set[ContainerId] = set()
        labels_before = self.node_labels()
        while True:
            try:
                news = self._queue.get_nowait()
            except Empty:
                return Changes(frozenset(changed), labels_before != self.node_labels())
            match news:
                case ContainerNews():
                    changed |= self._take_container(news)
                case PodNews():
                    changed |= self._take_pod(news)
                case LabelNews():
                    self._take_labels(news)
                    changed |= self._refresh(self._entries)
                case Synced():
                    self._synced = True

    def close(self) -> None:
        """Closing twice is allowed."""
        for source in (self._finder, self._cluster):
            if source is not None:
                source.close()
        with self._lock:
            if self._news_fd >= 0:
                os.close(self._news_fd)
                self._news_fd = -1

    def _report(self, news: News) -> None:
        self._queue.put(news)
        with self._lock:
            if self._news_fd >= 0:
                os.eventfd_write(self._news_fd, 1)

    def _entry(self, container: ContainerId) -> _Entry:
        entry = self._entries.get(container)
        if entry is None:
            now = self._clock()
            entry = self._entries[container] = _Entry(now + self._patience, now)
            self._belongs(container, container.pod_uid)
            self._search(container, entry)
            entry.workload = self._joined(container, entry)
            if len(self._entries) > _MOST_CONTAINERS:
                self._forget(*self._entries.popitem(last=False))
        elif entry.hopeless and entry.container is None and self._clock() - entry.asked > _ASK_AGAIN:
            entry.asked = self._clock()
            self._search(container, entry)
        return entry

    def _search(self, container: ContainerId, entry: _Entry) -> None:
        """Begins a search. There is none for the containers that users run below their own part of the hierarchy, since
        they choose the names there."""
        if self._start_finder is None or container.user is not None:
            entry.hopeless = True
            return
        self.start()
        assert self._finder is not None
        self._finder.find(container)

    def _belongs(self, container: ContainerId, pod_uid: str | None) -> None:
        if pod_uid is not None:
            self._by_pod.setdefault(pod_uid, set()).add(container)

    def _forget(self, container: ContainerId, entry: _Entry) -> None:
        runtime_pod = entry.container.pod if entry.container is not None else None
        for uid in {container.pod_uid, runtime_pod.uid if runtime_pod is not None else None}:
            if uid is not None and uid in self._by_pod:
                self._by_pod[uid].discard(container)
                if not self._by_pod[uid]:
                    del self._by_pod[uid]

    def _take_container(self, news: ContainerNews) -> set[ContainerId]:
        entry = self._entries.get(news.id)
        if entry is None:
            return set()
        entry.hopeless = news.container is None and not news.searching
        entry.container = news.container or entry.container
        entry.denied = entry.container is None and (news.denied or entry.denied)
        if entry.container is not None and entry.container.pod is not None:
            self._belongs(news.id, entry.container.pod.uid)
        return self._refresh([news.id])

    def _take_pod(self, news: PodNews) -> set[ContainerId]:
        pod = news.pod
        names = [name for name in (pod.uid, pod.config_hash) if name]
        for name in names:
            if news.gone:
                self._pods.pop(name, None)
                self._gone_pods[name] = pod
            else:
                self._pods[name] = pod
        return self._refresh(container for name in names for container in tuple(self._by_pod.get(name, ())))

    def _take_labels(self, news: LabelNews) -> None:
        known = self._labelled.setdefault(news.kind, {})
        if news.all:
            known.clear()
        for labelled in news.objects:
            if news.gone:
                known.pop(labelled.name, None)
            else:
                known[labelled.name] = labelled

    def _refresh(self, containers: Iterable[ContainerId]) -> set[ContainerId]:
        """Joins again what is known of these containers. Returns those of which something else is known than before."""
        changed = set()
        for container in containers:
            entry = self._entries.get(container)
            if entry is None:
                continue
            workload = self._joined(container, entry)
            if workload != entry.workload:
                entry.workload = workload
                changed.add(container)
        return changed

    def _joined(self, container: ContainerId, entry: _Entry) -> Workload:
        runtime_pod = entry.container.pod if entry.container is not None else None
        uid = None if entry.denied else container.pod_uid or (runtime_pod.uid if runtime_pod is not None else None)
        pod = None if uid is None else self._pods.get(uid) or self._gone_pods.get(uid)
        missing = []
        if entry.container is None:
            missing.append("container")
        if uid is not None and pod is None and (self._cluster is not None or runtime_pod is None):
            missing.append("pod")
        if pod is not None and not pod.ip and runtime_pod is not None and runtime_pod.ip:
            pod = replace(pod, ip=runtime_pod.ip)
        pod = pod or runtime_pod
        namespace = None
        if pod is not None and NAMESPACE in self._labelled:
            namespace = self._labelled[NAMESPACE].get(pod.namespace)
            if namespace is None:
                missing.append("namespace")
        return Workload(entry.container, pod, namespace, tuple(missing))

    def _is_awaited(self, entry: _Entry) -> bool:
        """Whether something that is missing may become known soon."""
        missing = entry.workload.missing
        if not missing or ("container" in missing and not entry.hopeless):
            return bool(missing)
        told_by_cluster = "pod" in missing or "namespace" in missing
        return told_by_cluster and self._cluster is not None and (self._cluster.connected or not self._synced)
