"""Reports this node's pods from the API server, and the labels of namespaces and of the node if rules ask for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

from tiercel_agent.workloads.bounds import bounded
from tiercel_agent.workloads.cluster.api import connect
from tiercel_agent.workloads.cluster.follow import Follower, Json
from tiercel_agent.workloads.cluster.owners import Owners
from tiercel_agent.workloads.cluster.pods import pod_of
from tiercel_agent.workloads.model import Labelled, Pod
from tiercel_agent.workloads.news import NODE, ClusterNews, LabelNews, PodNews, Synced
from tiercel_engine.located import located

_LOG = logging.getLogger(__name__)
_MOST_PODS = 4096


class Cluster:
    """A ``ClusterSource``. ``report`` is called in threads of this class. Raises NoCluster.

    ``annotations`` are the names of the pods' annotations that are kept.
    """

    def __init__(
        self, kubeconfig: Path | None, node: str, annotations: Collection[str], report: Callable[[ClusterNews], None]
    ) -> None:
        self.node = node
        self._report = report
        self._annotations = frozenset(annotations)
        self._api = connect(kubeconfig)
        self._owners = Owners(self._api)
        self._pods: dict[str, Pod] = {}
        self._followers: dict[str, Follower] = {}
        self._followers["pods"] = Follower(
            self._api, "/api/v1/pods", f"spec.nodeName={node}", self._all_pods, self._one_pod
        )

    @property
    def connected(self) -> bool:
        """Whether the pods that were reported are up to date, as far as that can be known."""
        return self._followers["pods"].connected

    @property
    def failure(self) -> str:
        """The last failure; "" while all is well."""
        return next((follower.failure for follower in self._followers.values() if not follower.connected), "")

    def ask_for(self, kind: str) -> None:
        """From now on, objects of this kind (NAMESPACE or NODE) are reported too."""
        if kind not in self._followers:
            selector = f"metadata.name={self.node}" if kind == NODE else ""
            self._followers[kind] = Follower(
                self._api,
                f"/api/v1/{kind}s",
                selector,
                partial(self._all_labelled, kind),
                partial(self._one_labelled, kind),
            )

    def close(self) -> None:
        for follower in self._followers.values():
            follower.close()

    def _all_pods(self, items: list[Json]) -> None:
        listed = {item["metadata"]["uid"] for item in items}
        for uid in self._pods.keys() - listed:
            self._report(PodNews(self._pods.pop(uid), gone=True))
        for item in items:
            self._one_pod(item, True)
        self._report(Synced())

    def _one_pod(self, item: Json, exists: bool) -> None:
        try:
            pod = pod_of(item, self._annotations)
        except (KeyError, TypeError, AttributeError) as error:
            _LOG.warning("a pod from the API server can't be read: %s", located(error))
            return
        if not exists:
            self._pods.pop(pod.uid, None)
            self._report(PodNews(pod, gone=True))
            return
        owners = self._owners.chain(pod.namespace, pod.owners)
        pod = replace(pod, owners=owners)
        if self._pods.get(pod.uid) != pod and (pod.uid in self._pods or len(self._pods) < _MOST_PODS):
            self._pods[pod.uid] = pod
            self._report(PodNews(pod))

    def _all_labelled(self, kind: str, items: list[Json]) -> None:
        self._report(LabelNews(kind, tuple(map(_labelled, items)), all=True))

    def _one_labelled(self, kind: str, item: Json, exists: bool) -> None:
        self._report(LabelNews(kind, (_labelled(item),), gone=not exists))


def _labelled(item: Json) -> Labelled:
    metadata = item["metadata"]
    return Labelled(metadata["name"], metadata["uid"], bounded(metadata.get("labels") or {}))
