"""The bounded queue and the thread in front of an output: detection hands over and never waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from tiercel_agent.outputs.model import Output, OutputClosed

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Delivery:
    """Totals of one output."""

    delivered: int
    dropped: int
    """Items that were given up: the queue was full, or the output still failed when it was closed."""
    failures: int
    """Attempts that failed; their items were kept and tried again."""
    last_failure: str


class OutputQueue(Generic[Item]):
    """At most ``capacity`` items wait; a failed batch is offered again every ``retry`` seconds.

    ``on_failure`` is called in the output's thread with a message when the output begins to fail and
    when it works again, not for each attempt.
    """

    def __init__(
        self,
        output: Output[Item],
        *,
        capacity: int = 8192,
        batch: int = 256,
        retry: float = 1.0,
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = output.name
        self._output = output
        self._capacity = capacity
        self._batch = batch
        self._retry = retry
        self._on_failure = on_failure
        self._changed = threading.Condition()
        self._waiting: deque[Item] = deque()
        self._in_hand = 0
        self._closing = False
        self._ended = False
        self._reopen = False
        self._delivered = self._dropped = self._failures = 0
        self._last_failure = ""
        self._thread = threading.Thread(target=self._run, name=f"output-{self.name}", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Queues the item, or counts it as dropped; returns at once."""
        with self._changed:
            if self._ended or len(self._waiting) + self._in_hand >= self._capacity:
                self._dropped += 1
                return
            self._waiting.append(item)
            self._changed.notify()

    def reopen(self) -> None:
        """Asks the output to open its file anew before the next write (log rotation)."""
        with self._changed:
            self._reopen = True
            self._changed.notify()

    @property
    def ended(self) -> bool:
        """Whether the reader of this output has gone for good."""
        return self._ended and not self._closing

    def counters(self) -> Delivery:
        with self._changed:
            return Delivery(self._delivered, self._dropped, self._failures, self._last_failure)

    def close(self, timeout: float = 5.0) -> Delivery:
        """Delivers what waits, for at most ``timeout`` seconds, and counts the rest as dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        with self._changed:
            self._dropped += len(self._waiting) + self._in_hand
            self._waiting.clear()
            self._in_hand = 0
            self._ended = True
        return self.counters()

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except OutputClosed:
            with self._changed:
                self._ended = True
                self._dropped += len(self._waiting) + self._in_hand
                self._waiting.clear()
                self._in_hand = 0
        finally:
            self._output.close()

    def _turn(self) -> bool:
        """Delivers a batch; False at the end."""
        try:
            batch = self._take()
            return bool(batch) and self._deliver(batch)
        except OutputClosed:
            raise
        except BaseException as error:  # whatever it is, it must not end the output unseen
            self._give_up(f"output {self.name}: something unforeseen ({type(error).__name__})")
            return True

    def _say(self, message: str) -> None:
        with suppress(Exception):  # nobody listens any more
            self._on_failure(message)

    def _give_up(self, message: str) -> None:
        with self._changed:
            self._dropped += self._in_hand
            self._in_hand = 0
            self._failures += 1
            self._last_failure = message
        self._say(message)

    def _take(self) -> Sequence[Item]:
        """The next batch; empty when the queue is closed and drained."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing or self._reopen)
                reopen, self._reopen = self._reopen, False
                if not reopen:
                    batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch))]
                    self._in_hand = len(batch)
                    return batch
            self._output.reopen()

    def _deliver(self, batch: Sequence[Item]) -> bool:
        """Offers the batch until it is taken; False if the queue was closed while the output failed."""
        failing = False
        while True:
            try:
                self._output.write(batch)
            except OSError as error:
                message = f"output {self.name}: {error.strerror or error}"
                if not failing:
                    self._say(message)
                failing = True
                with self._changed:
                    self._failures += 1
                    self._last_failure = message
                    if self._closing or self._changed.wait_for(lambda: self._closing, self._retry):
                        return False
                    reopen, self._reopen = self._reopen, False
                if reopen:
                    self._output.reopen()
                continue
            except OutputClosed:
                raise
            except Exception as error:  # a batch that trips the output must not end it
                self._give_up(f"output {self.name}: cannot take what it was given ({type(error).__name__})")
                return True
            with self._changed:
                self._delivered += self._in_hand
                self._in_hand = 0
            if failing:
                self._say(f"output {self.name}: works again")
            return True
