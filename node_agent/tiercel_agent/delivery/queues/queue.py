"""The alerts that wait for one sink: in its spool, and in memory while the spool can't be written."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tiercel_agent.delivery.queues.fair_buffer import FairBuffer
from tiercel_agent.delivery.queues.flows import Flow, Rotation, flow_of
from tiercel_agent.delivery.queues.log import MOST_READ
from tiercel_agent.delivery.queues.segments import MOST_RECORD
from tiercel_agent.delivery.queues.spool import Spool
from tiercel_agent.delivery.queues.stored_alert import decode, encode, weight
from tiercel_agent.delivery.queues.waiting import Waiting
from tiercel_engine.alert import Alert
from tiercel_engine.located import located

LOGGER = logging.getLogger(__name__)

_BATCH = 256  # alerts that are written to the spool at once
_BATCH_BYTES = 1 << 20
_OPEN_AGAIN = 30.0  # seconds between two attempts to open a spool
_READ_AGAIN = 1.0
_WRITE_AGAIN = 1.0  # seconds, where the spool took nothing
_LOG_AGAIN = 60.0  # seconds between two lines on alerts that can't be kept
_IN_MEMORY = 16 << 20  # bytes


class AlertQueue(Waiting):
    """Alerts wait in ``spool``, or in memory without one, or while it can't be written: ``most_in_memory`` of them at
    most, and those of ``limit``.

    Shares have their turns; in a share the most urgent alerts come first, and those of a flow in order. Of a flow,
    what is in memory is younger than what is in the spool. Any thread appends; one reads. ``opener`` is asked again
    from time to time for a spool that can't be opened now. The numbers can be read without waiting for the disk.
    """

    def __init__(
        self,
        spool: Spool | None,
        most_in_memory: int = 8192,
        opener: Callable[[], Spool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._spool = spool
        self._most = most_in_memory
        self._opener = opener
        self._clock = clock
        self._memory = FairBuffer(flow_of, weight)
        self._most_weight = _IN_MEMORY
        self._rotation = Rotation()
        # What ``next`` returned and isn't done: the flow of each alert, and the flows whose alerts are in the spool.
        self._hand: deque[Flow] = deque()
        self._stored: frozenset[Flow] = frozenset()
        self._lost = 0
        self._trouble = ""
        self._loss_logged = float("-inf")
        self._limit: int | None = None
        self._open_at = self._store_at = float("-inf")
        self._open()
        self._shown = self._waiting, self._all_lost

    @property
    def count(self) -> int:
        """How many alerts wait. Once the queue is closed: how many are on the disk for the next start."""
        return self._shown[0]

    @property
    def lost(self) -> int:
        return self._shown[1]

    @property
    def trouble(self) -> str:
        """Why alerts wait in memory and not in the spool, "" if they don't."""
        return self._trouble

    @property
    def on_disk(self) -> bool:
        """Whether what waits is on the disk, and so still there at the next start."""
        return self._spool is not None and not self._trouble

    def limit(self, most: int, in_memory: int = _IN_MEMORY) -> None:
        """At most so many bytes wait on the disk from now on, and about so many in memory."""
        with self._using():
            self._limit, self._most_weight = most, in_memory
            if self._spool is not None:
                self._spool.limit = most
            self._trim()

    def append(self, alerts: Sequence[Alert]) -> None:
        """Takes alerts, on the disk if that is possible. Waits for nothing but the disk."""
        with self._using():
            if self._closed:
                self._lost += len(alerts)
                return
            for alert in alerts:
                self._memory.add(alert)
            self._store()
            self._trim()
            self._changed.notify_all()

    def next(self, most: int) -> Sequence[Alert]:
        """The alerts whose turn it is: ``most`` at most, perhaps fewer. Empty if none can be read now.

        Shares whose alerts were given and aren't done come after the others then, so that an alert that its destination
        doesn't take holds up its own share alone.
        """
        with self._using():
            self._let_go()
            if self._closed:
                return []
            self._open()
            self._store()
            return self._take(self._rotation.turns(self._counts(), most))

    def done(self, count: int) -> None:
        """Marks the first ``count`` of the alerts that ``next`` returned last as done."""
        with self._using():
            done: Counter[Flow] = Counter()
            for _ in range(min(count, len(self._hand))):
                flow = self._hand.popleft()
                self._rotation.took(flow)
                if flow in self._stored:
                    done[flow] += 1
                else:
                    self._memory.take_out(flow)
            if self._spool is not None:
                for flow, number in done.items():
                    self._spool.done(flow, number)

    def close(self) -> None:
        """Moves what is in memory to the spool; what the spool doesn't take is lost. The spool stays on the disk."""
        with self._using():
            if not self._closed:
                self._store_at = float("-inf")
                self._let_go()
                self._store()
            self._end()
            self._lost += len(self._memory.take_all())

    def remove(self) -> None:
        """Closes it and deletes what waits."""
        with self._using():
            self._end()
            self._memory.take_all()
            if self._spool is not None:
                self._spool.remove()

    # All below are called under the lock.

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        """Holds the lock, and afterwards publishes the counts, which are read without it."""
        with self._changed:
            try:
                yield
            finally:
                self._shown = self._waiting, self._all_lost

    def _log_loss(self, what: str, error: Exception) -> None:
        """Logs at most once a minute, so that whoever raises alerts can't fill the log."""
        if self._clock() - self._loss_logged >= _LOG_AGAIN:
            self._loss_logged = self._clock()
            LOGGER.error("%s and is lost: %s", what, located(error))

    @property
    def _waiting(self) -> int:
        return self._memory.count + (self._spool.count if self._spool is not None else 0)

    @property
    def _all_lost(self) -> int:
        return self._lost + (self._spool.lost if self._spool is not None else 0)

    def _counts(self) -> Mapping[Flow, int]:
        stored = self._spool.counts if self._spool is not None else {}
        return Counter(stored) + Counter(self._memory.counts())

    def _sent_from_memory(self) -> Iterator[Flow]:
        """The flows of the alerts that are being sent from memory."""
        return (flow for flow in self._hand if flow not in self._stored)

    def _let_go(self) -> None:
        """Takes back what isn't done: its shares have had their turn."""
        for flow in self._hand:
            self._rotation.took(flow)
        self._hand.clear()
        self._stored = frozenset()
        if self._spool is not None:
            self._spool.settle()

    def _trim(self) -> None:
        """Drops alerts in memory that aren't being sent, while there are too many."""
        self._lost += self._memory.drop(self._most, self._most_weight, self._sent_from_memory())

    def _end(self) -> None:
        self._closed = True
        self._hand.clear()
        if self._spool is not None:
            self._spool.close()
        self._changed.notify_all()

    def _open(self) -> None:
        """Opens the spool, if there isn't one and it is time. Never while alerts in memory are being sent: those in
        the spool come before them."""
        if self._spool is not None or self._opener is None or self._clock() < self._open_at:
            return
        try:
            self._spool = self._opener()
        except OSError as error:
            self._trouble = error.strerror or str(error)
            self._open_at = self._clock() + _OPEN_AGAIN
            return
        self._trouble = ""
        if self._limit is not None:
            self._spool.limit = self._limit

    def _store(self) -> None:
        """Moves alerts from memory to the spool, as many as it takes; not of flows that are being sent from memory."""
        if self._spool is None or not self._memory.count or self._clock() < self._store_at:
            return  # or that it is full was seen a moment ago
        sent = set(self._sent_from_memory())
        for flow in [flow for flow in self._memory.counts() if flow not in sent]:
            while payloads := self._encoded(flow):
                try:
                    self._spool.append(flow, payloads)
                except OSError as error:
                    self._trouble = error.strerror or str(error)
                    self._store_at = self._clock() + _WRITE_AGAIN
                    return
                self._trouble = ""
                for _ in payloads:
                    self._memory.take_out(flow)

    def _encoded(self, flow: Flow) -> list[bytes]:
        """The oldest alerts of a flow in memory, encoded. Those that can't be encoded are lost."""
        payloads: list[bytes] = []
        size = 0
        for alert in self._memory.oldest(flow, _BATCH):
            try:
                payload = encode(alert)
                if len(payload) > MOST_RECORD:
                    raise ValueError("too long")
            except Exception as error:  # it would be in the way of all others
                self._log_loss("an alert can't be kept for its sink", error)
                self._memory.take_out(flow, len(payloads))
                self._lost += 1
                continue
            payloads.append(payload)
            size += len(payload)
            if size >= _BATCH_BYTES:
                break
        return payloads

    def _take(self, turns: Sequence[Flow]) -> list[Alert]:
        """The alerts of these flows, as far as they can be read and aren't too much at once. They are in hand then."""
        read: dict[Flow, deque[Alert]] = {}
        room = MOST_READ
        for flow, wanted in Counter(turns).items():
            try:
                alerts = self._of_spool(flow, wanted, room)
            except OSError:  # too many open files, or the like
                break
            if alerts:
                self._stored |= {flow}
            read[flow] = deque(alerts or self._memory.oldest(flow, wanted))
            room -= sum(map(weight, read[flow]))
            if room <= 0:
                break
        if turns and not read:
            self._changed.wait(_READ_AGAIN)
        taken: list[Alert] = []
        for flow in turns:
            if read.get(flow):
                taken.append(read[flow].popleft())
                self._hand.append(flow)
        return taken

    def _of_spool(self, flow: Flow, most: int, most_bytes: int) -> list[Alert]:
        """The oldest alerts of a flow in the spool, none if none waits there. Raises OSError if they can't be read
        now."""
        alerts: list[Alert] = []
        while self._spool is not None and not alerts and (payloads := self._spool.read(flow, most, most_bytes)):
            for payload in payloads:
                try:
                    alerts.append(decode(payload))
                except ValueError as error:
                    if not alerts:
                        self._log_loss("what the spool holds is no alert", error)
                    break
            if not alerts:
                self._spool.done(flow, 1)
                self._lost += 1
        return alerts


def open_queue(folder: Path | None, limit: int) -> AlertQueue:
    """The queue with its spool in ``folder``, of ``limit`` bytes at most. Without a folder it is in memory alone, and
    so it is as long as the spool can't be opened: ``trouble`` tells why."""
    return AlertQueue(None, opener=None if folder is None else lambda: Spool(folder, limit))
