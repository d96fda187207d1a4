"""The alerts that wait for one sink, in order: in its spool, and in memory while the spool can't be written."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from tiercel_agent.delivery.segments import MOST_RECORD
from tiercel_agent.delivery.spool import Spool
from tiercel_agent.delivery.stored_alert import decode, encode, weight
from tiercel_agent.delivery.waiting import Waiting
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

    What is in memory is younger than what is in the spool, and goes there before anything else does. Any thread
    appends; one reads. ``opener`` is asked again from time to time for a spool that can't be opened now. The numbers
    can be read without waiting for the disk.
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
        self._memory: deque[Alert] = deque()
        self._weight = 0  # bytes of those in memory, about
        self._most_weight = _IN_MEMORY
        # How many of the alerts that ``next`` returned are the oldest of the spool, and how many the oldest in memory.
        self._spool_hand = self._memory_hand = 0
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
            self._memory.extend(alerts)
            self._weight += sum(map(weight, alerts))
            self._store()
            self._trim()
            self._changed.notify_all()

    def next(self, most: int) -> Sequence[Alert]:
        """The oldest alerts that aren't done: ``most`` at most, perhaps fewer. Empty if none can be read now."""
        with self._using():
            self._spool_hand = self._memory_hand = 0
            if self._closed:
                return []
            self._open()
            self._store()
            if self._spool is not None:
                alerts = self._read(self._spool, most)
                self._spool_hand = len(alerts)
                if alerts or self._spool.count:
                    return alerts
            alerts = list(islice(self._memory, most))
            self._memory_hand = len(alerts)
            return alerts

    def done(self, count: int) -> None:
        """Marks the oldest ``count`` of the alerts that ``next`` returned last as done."""
        with self._using():
            stored = min(count, self._spool_hand)
            if stored and self._spool is not None:
                self._spool.done(stored)
                self._spool_hand -= stored
            for _ in range(min(count - stored, self._memory_hand)):
                self._take_out(0)
                self._memory_hand -= 1

    def close(self) -> None:
        """Moves what is in memory to the spool; what the spool doesn't take is lost. The spool stays on the disk."""
        with self._using():
            if not self._closed:
                self._store_at = float("-inf")
                self._store()
            self._end()
            self._lost += len(self._memory)
            self._memory.clear()
            self._weight = 0

    def remove(self) -> None:
        """Closes it and deletes what waits."""
        with self._using():
            self._end()
            self._memory.clear()
            self._weight = 0
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
        return len(self._memory) + (self._spool.count if self._spool is not None else 0)

    @property
    def _all_lost(self) -> int:
        return self._lost + (self._spool.lost if self._spool is not None else 0)

    def _take_out(self, index: int) -> None:
        self._weight -= weight(self._memory[index])
        del self._memory[index]

    def _trim(self) -> None:
        """Drops the oldest alerts in memory that aren't being sent, while there are too many."""
        while len(self._memory) > self._memory_hand and (
            len(self._memory) > self._most or self._weight > self._most_weight
        ):
            self._take_out(self._memory_hand)
            self._lost += 1

    def _end(self) -> None:
        self._closed = True
        self._spool_hand = self._memory_hand = 0
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
        """Moves alerts from memory to the spool, as many as it takes."""
        if self._clock() < self._store_at:
            return  # that it is full was seen a moment ago
        while self._spool is not None and self._memory:
            payloads = self._encoded()
            try:
                self._spool.append(payloads)
            except OSError as error:
                self._trouble = error.strerror or str(error)
                self._store_at = self._clock() + _WRITE_AGAIN
                return
            self._trouble = ""
            for _ in payloads:
                self._take_out(0)
            # Alerts in memory are sent only if there is none in the spool: there, too, they are now the oldest.
            sending = min(len(payloads), self._memory_hand)
            if sending:
                self._memory_hand -= sending
                self._spool_hand += sending
                self._spool.hold(self._spool_hand)

    def _encoded(self) -> list[bytes]:
        """The oldest alerts in memory, encoded. Those that can't be encoded are lost."""
        payloads: list[bytes] = []
        size = 0
        while len(payloads) < min(_BATCH, len(self._memory)) and size < _BATCH_BYTES:
            try:
                payload = encode(self._memory[len(payloads)])
                if len(payload) > MOST_RECORD:
                    raise ValueError("too long")
            except Exception as error:  # it would be in the way of all others
                self._log_loss("an alert can't be kept for its sink", error)
                self._take_out(len(payloads))
                self._memory_hand -= len(payloads) < self._memory_hand
                self._lost += 1
                continue
            payloads.append(payload)
            size += len(payload)
        return payloads

    def _read(self, spool: Spool, most: int) -> list[Alert]:
        alerts: list[Alert] = []
        while not alerts:
            try:
                payloads = spool.read(most)
            except OSError:  # too many open files, or the like
                self._changed.wait(_READ_AGAIN)
                break
            if not payloads:
                break
            for payload in payloads:
                try:
                    alerts.append(decode(payload))
                except ValueError as error:
                    if not alerts:
                        self._log_loss("what the spool holds is no alert", error)
                    break
            if not alerts:
                spool.done(1)
                self._lost += 1
        return alerts


def open_queue(folder: Path | None, limit: int) -> AlertQueue:
    """The queue with its spool in ``folder``, of ``limit`` bytes at most. Without a folder it is in memory alone, and
    so it is as long as the spool can't be opened: ``trouble`` tells why."""
    return AlertQueue(None, opener=None if folder is None else lambda: Spool(folder, limit))
