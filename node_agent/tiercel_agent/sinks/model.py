"""The interface between delivery and the destinations of alerts, and the settings that a destination is opened from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from tiercel_agent.workloads.settings import WorkloadSettings
from tiercel_engine.alert import Alert
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import SecretSource
from tiercel_engine.scope import SYSTEM_NAMESPACE

Item = TypeVar("Item")


class BadSink(Exception):
    """A sink can't be opened as it is configured. The message has no secret in it and says what would be right."""


class Unavailable(Exception):
    """The destination can't take alerts now: they are offered again, after ``retry_after`` seconds at least if it asks
    for that. The message has no secret, no address and nothing of what the other side wrote raw in it."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(Exception):
    """The destination will never take these alerts as they are: of several, some may be taken if offered one by one.
    The message as in ``Unavailable``."""


class ReaderGone(Exception):
    """Whoever read what is written here has gone for good: nothing can be delivered any more."""


@dataclass(frozen=True, kw_only=True)  # without slots, which frozen generic classes can't have in Python 3.11
class ItemSink(Generic[Item]):
    """An open destination of items: of alerts, recorded events and the like. One thread calls all functions."""

    send: Callable[[Sequence[Item]], None]
    """Delivers all or none, as far as can be known; may block for as long as its timeouts say. Raises Unavailable,
    Refused, ReaderGone, OSError (as Unavailable)."""
    batch: int = 1
    """How many items one ``send`` takes at most."""
    wait: float = 0.0
    """Seconds for which items are gathered, after the first of them, before they are sent."""
    tick: Callable[[], float | None] = lambda: None
    """Called while nothing waits: after how many seconds it wants to be called again, None if only after a ``send``."""
    reopen: Callable[[], None] = lambda: None
    """Opens anew, with the next ``send``, what may have been rotated."""
    close: Callable[[], None] = lambda: None


Sink: TypeAlias = ItemSink[Alert]
"""A destination of alerts."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where this agent runs.

    ``node`` is its name in the cluster, "" elsewhere; without ``kubernetes`` there is no API.
    """

    hostname: str
    node: str = ""
    kubernetes: bool = False
    kubeconfig: Path | None = None

    @classmethod
    def of(cls, hostname: str, workloads: WorkloadSettings) -> Place:
        node = workloads.node if workloads.kubernetes else ""
        return cls(hostname, node, workloads.kubernetes, workloads.kubeconfig)


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """A sink as it is configured. ``secrets`` are by name and key of the Secret: ``chat/url``.

    ``namespace`` is the AlertSink's, "" for those of the agent's own configuration, which the node's admin writes.
    """

    name: str
    spec: AlertSinkSpec
    namespace: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def trusted(self) -> bool:
        """Whether an admin wrote it, so that it may use the node itself and addresses of the cluster."""
        return self.namespace in ("", SYSTEM_NAMESPACE)

    def secret(self, source: SecretSource) -> str:
        """The value that a reference stands for. Raises BadSink."""
        reference = source.secret_ref
        try:
            return self.secrets[f"{reference.name}/{reference.key}"]
        except KeyError:
            raise BadSink(f"the key {reference.key} of the Secret {reference.name} isn't known here") from None
