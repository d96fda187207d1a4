"""The messages by which the sources of workloads (runtimes, API server) report to the inventory."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_agent.context.container import ContainerId
from tiercel_agent.workloads.model import Container, Labelled, Pod

NAMESPACE, NODE = "namespace", "node"
"""Kinds of objects of which only the labels are reported."""


@dataclass(frozen=True, slots=True)
class ContainerNews:
    """The result of a search for a container. ``container`` is None if no runtime vouches for it.

    ``denied``: a runtime has answered, and knows no such container in that cgroup. ``searching``: the search goes on,
    since a runtime may know it a little later.
    """

    id: ContainerId
    container: Container | None
    denied: bool = False
    searching: bool = False


@dataclass(frozen=True, slots=True)
class PodNews:
    """A pod that is new, has changed, or is gone."""

    pod: Pod
    gone: bool = False


@dataclass(frozen=True, slots=True)
class LabelNews:
    """Objects of one kind that are new, have changed, or are gone. ``all``: there are no other objects of that kind."""

    kind: str
    objects: tuple[Labelled, ...]
    gone: bool = False
    all: bool = False


@dataclass(frozen=True, slots=True)
class Synced:
    """All pods that exist have been reported."""


ClusterNews = PodNews | LabelNews | Synced
