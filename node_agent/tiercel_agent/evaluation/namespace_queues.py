"""Events that the system's rules have seen, and that wait until the rules of their namespaces are evaluated on them.

The system's rules never wait for those of a namespace: the event that comes next may be one that only they watch for.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tiercel_engine.event import Event

MOST = 8 << 20
"""Bytes of the events that wait. It is as much again where many namespaces have little."""


@dataclass(slots=True)
class _Queue:
    waiting: deque[tuple[Event, int]] = field(default_factory=deque)
    """Events and their bytes, the oldest first."""
    size: int = 0


class NamespaceQueues:
    """A queue for each namespace of which events wait; they take turns.

    Where there is no room for all, each namespace has an equal part of it, so that nobody's flood takes the room of
    others' events.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._total = 0
        self._queues: dict[str, _Queue] = {}
        """In the order of their turns."""

    def __bool__(self) -> bool:
        return bool(self._queues)

    def put(self, namespace: str, event: Event, size: int) -> bool:
        """Whether there is room for an event that takes so many bytes. It waits then."""
        queue = self._queues.get(namespace) or _Queue()
        total = self._total + size
        if total > self._most:
            part = self._most // (len(self._queues) + (namespace not in self._queues))
            if total > 2 * self._most or queue.size + size > part:
                return False
        queue.waiting.append((event, size))
        queue.size += size
        self._total = total
        self._queues[namespace] = queue
        return True

    def take(self) -> tuple[str, Event]:
        """The oldest event of the namespace whose turn it is. Raises StopIteration if none waits."""
        namespace = next(iter(self._queues))
        queue = self._queues.pop(namespace)
        event, size = queue.waiting.popleft()
        queue.size -= size
        self._total -= size
        if queue.waiting:
            self._queues[namespace] = queue
        return namespace, event
