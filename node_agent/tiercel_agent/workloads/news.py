"""What those who ask runtimes and the API server tell."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_agent.context.container import ContainerId
from tiercel_agent.workloads.model import Container, Labelled, Pod

NAMESPACE, NODE = "namespace", "node"
"""Kinds of objects of which nothing but the labels is told."""


@dataclass(frozen=True, slots=True)
class ContainerNews:
    """What a search for a container came to. ``container`` is None if it found nothing, and won't soon."""

    id: ContainerId
    container: Container | None


@dataclass(frozen=True, slots=True)
class PodNews:
    """A pod that is new, has changed, or is gone."""

    pod: Pod
    gone: bool = False


@dataclass(frozen=True, slots=True)
class LabelNews:
    """Objects of a kind that are new, have changed, or are gone. ``all``: there are no others."""

    kind: str
    objects: tuple[Labelled, ...]
    gone: bool = False
    all: bool = False


@dataclass(frozen=True, slots=True)
class Synced:
    """All pods that there are have been told."""


ClusterNews = PodNews | LabelNews | Synced
