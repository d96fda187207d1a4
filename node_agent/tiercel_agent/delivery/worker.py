"""The thread that delivers what waits for one sink, as its queue gives it, until the sink has taken it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

from tiercel_agent.background import BackgroundThread
from tiercel_agent.backoff import Backoff
from tiercel_agent.delivery.totals import Failure, TestResult, Totals
from tiercel_agent.sinks.model import BadSink, ItemSink, ReaderGone, Refused, Unavailable
from tiercel_engine.alert import Alert
from tiercel_engine.located import located
from tiercel_engine.printable import printable

LOGGER = logging.getLogger(__name__)

_LONGEST = 300  # characters of an error
_REFUSALS = 60.0  # seconds between two lines on alerts that are refused
_LAST = 5.0  # seconds for which what waits is delivered at the end
_OPEN_AGAIN = 30.0  # seconds between two attempts to open a sink that can't be opened as it is configured

Item = TypeVar("Item")


class Queue(Protocol[Item]):
    """What waits for one sink. Any thread appends; the worker reads. See ``AlertQueue`` and ``MemoryQueue``."""

    @property
    def count(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def trouble(self) -> str: ...
    @property
    def on_disk(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    def append(self, items: Sequence[Item], /) -> None: ...
    def next(self, most: int) -> Sequence[Item]: ...
    def done(self, count: int) -> None: ...
    def wait(self, timeout: float | None, gather: float, most: int) -> bool: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...


class SinkWorker(Generic[Item]):
    """Opens the sink at the first item and offers it what waits until it is taken.

    ``name`` is what the log calls the sink: ``sink shop/chat``. ``opener`` is called in the worker's thread and raises
    BadSink or OSError. It is logged when the sink begins to fail, when it works again and when items are refused for
    good. ``clock`` gives seconds since the epoch. ``opened`` is the sink where it is open already.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], ItemSink[Item]],
        queue: Queue[Item],
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.time,
        opened: ItemSink[Item] | None = None,
    ) -> None:
        self.name = name
        self._opener = opener
        self._queue = queue
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._sink = opened
        self._lock = threading.Lock()
        self._totals = Totals()
        self._test_alert = ""
        self._test_begun = 0.0
        self._refusal_logged = float("-inf")
        self._closing = self._reader_gone = False
        self._end = float("inf")
        self._reopen = self._changed = False
        self._thread = BackgroundThread(name, self._run)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the reader of the sink has gone for good, so that nothing is delivered any more."""
        return self._reader_gone and not self._closing

    def put(self, items: Sequence[Item]) -> None:
        """Takes items into the queue; waits for nothing but the disk."""
        self._queue.append(items)

    def send_test(self: SinkWorker[Alert], identifier: str, alert: Alert) -> None:
        """Takes a test alert; ``totals().test`` tells what becomes of it under this identifier."""
        with self._lock:
            self._test_alert = alert.id
            self._test_begun = time.monotonic()
            self._note(test=TestResult(identifier, self._clock()))
        self._queue.append([alert])

    def change(self, opener: Callable[[], ItemSink[Item]]) -> None:
        """Goes on with another sink, at once: what waits is for it."""
        with self._lock:
            self._opener = opener
            self._changed = True
        self._interrupt()

    def reopen(self) -> None:
        """Asks the sink to let go of what may have been rotated away, before it sends again."""
        self._reopen = True
        self._interrupt()

    def totals(self) -> Totals:
        with self._lock:
            totals = self._totals
        queue = self._queue
        return replace(totals, lost=totals.lost + queue.lost, queued=queue.count, trouble=queue.trouble)

    def close(self, timeout: float = 5.0) -> None:
        """Delivers what waits for at most ``timeout`` seconds. The rest stays on the disk, or is counted as lost."""
        self.begin_close(timeout)
        self._thread.join(timeout)
        self._queue.close()  # if the thread still waits for the destination, which is none of this one's time

    def begin_close(self, timeout: float = _LAST) -> None:
        """Begins to close without waiting, so that several workers end side by side. Call ``close`` later."""
        self._end = time.monotonic() + timeout
        self._closing = True
        self._interrupt()

    def stop(self) -> None:
        """Delivers nothing more than what is being sent now.

        What waits stays on the disk for the next worker, or is counted as lost.
        """
        self._closing = True
        self._queue.close()
        self._interrupt()

    def lost(self, count: int, why: str) -> None:
        """Counts alerts that were lost before they came to this worker."""
        failure = Failure(self._clock(), why)
        with self._lock:
            self._note(lost=self._totals.lost + count, last_failure=failure)

    def _interrupt(self) -> None:
        """Ends whatever the thread waits for."""
        self._thread.wake()
        self._queue.wake()

    def _pause(self, seconds: float) -> bool:
        """Waits until the next attempt, or until the worker is interrupted. False if the worker is to end."""
        until = time.monotonic() + seconds
        self._thread.pause(seconds)
        if not self._closing:
            return True
        if self._queue.on_disk or until >= self._end:
            return False
        # What waits would be lost: it is tried as long as there is time.
        self._thread.pause(until - time.monotonic())
        return True

    def _run(self) -> None:
        going_on = True
        try:
            while going_on and not self._queue.closed and (not self._closing or self._queue.count):
                try:
                    going_on = self._step()
                except BaseException as error:  # whatever it is, it must not end the thread unseen
                    self._failed(f"unexpected error: {located(error)}")
                    going_on = self._pause(self._backoff.failed(None))
        finally:
            self._queue.close()
            self._let_go()

    def _step(self) -> bool:
        """Opens the sink, or delivers what waits. False if the worker is to end."""
        self._change()
        if self._sink is not None:
            return self._turn(self._sink)
        if self._queue.count:
            return self._open()
        return self._queue.wait(None, 0.0, 1) or not self._closing

    def _change(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, False
            if changed:
                self._note(failing=False)
        if changed:
            self._let_go()
            self._backoff.worked()

    def _let_go(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            try:
                sink.close()
            except BaseException as error:  # whatever a library has: it is done with
                LOGGER.warning("%s: error while it was closed: %s", self.name, located(error))

    def _open(self) -> bool:
        """Opens the sink. False if the worker is to end."""
        try:
            self._sink = self._opener()
        except Unavailable as error:
            self._failed(str(error))
            return self._pause(self._backoff.failed(error.retry_after))
        except BadSink as error:
            message = str(error)
        except OSError as error:
            message = reason(error)
        except BaseException as error:  # a library that nobody foresaw: the other sinks go on
            message = f"it can't be opened: {located(error)}"
        else:
            return True
        self._failed(message)
        return self._pause(_OPEN_AGAIN)

    def _turn(self, sink: ItemSink[Item]) -> bool:
        """Delivers the next items. False if the worker is to end."""
        again = self._ticked(sink)
        if self._reopen:
            self._reopen = False
            self._reopened(sink)
        # A destination that is taken to be down is tried with one alert, not with a whole batch.
        most = 1 if self._backoff.open else sink.batch
        gather = 0.0 if self._closing or self._backoff.failures else sink.wait
        if not self._queue.wait(again, gather, most):
            return True
        items = self._queue.next(most)
        return self._deliver(sink, items) if items else True

    def _reopened(self, sink: ItemSink[Item]) -> None:
        try:
            sink.reopen()
        except BaseException as error:  # then what it sends fails, or doesn't
            LOGGER.warning("%s: error while it was opened anew: %s", self.name, located(error))

    def _ticked(self, sink: ItemSink[Item]) -> float | None:
        try:
            return sink.tick()
        except BaseException as error:  # what a sink does in between must not end it
            self._failed(f"error between two deliveries: {located(error)}")
            return 1.0

    def _deliver(self, sink: ItemSink[Item], items: Sequence[Item]) -> bool:
        """Offers the items to the sink once. False if the worker is to end."""
        retry_after: float | None = None
        try:
            sink.send(items)
        except ReaderGone:
            self._reader_gone = True
            return False
        except Refused as refused:
            self._refused(sink, items, str(refused))
            return True
        except Unavailable as error:
            message, retry_after = str(error), error.retry_after
        except OSError as error:
            message = reason(error)
        except MemoryError:  # nothing that the alerts could be blamed for
            message = "there is too little memory"
        except BaseException as error:  # an alert that trips the sink must not end it, nor be offered for ever
            self._refused(sink, items, f"it can't take what it was given: {located(error)}")
            return True
        else:
            self._delivered(items)
            return True
        wait = self._backoff.failed(retry_after)
        self._failed(message)
        return self._pause(wait)

    def _delivered(self, items: Sequence[Item]) -> None:
        self._queue.done(len(items))
        failing = self._backoff.failures > 0
        self._backoff.worked()
        now = self._clock()
        with self._lock:
            totals = self._totals
            test = totals.test
            if test is not None and any(map(self._is_test, items)):
                test = TestResult(test.id, test.sent, time.monotonic() - self._test_begun)
                self._test_alert = ""
            self._note(delivered=totals.delivered + len(items), failing=False, last_success=now, test=test)
        if failing:
            LOGGER.warning("%s: works again", self.name)

    def _refused(self, sink: ItemSink[Item], items: Sequence[Item], message: str) -> None:
        """Gives up a single alert. Of several, offers each half by itself, in order."""
        if len(items) > 1:
            self._split(sink, items)
            return
        message = printable(message)[:_LONGEST]
        self._queue.done(1)
        self._backoff.worked()  # it answers
        with self._lock:
            test = self._totals.test
            if test is not None and self._is_test(items[0]):
                test = TestResult(test.id, test.sent, None, message)
                self._test_alert = ""
            failure = Failure(self._clock(), message)
            self._note(lost=self._totals.lost + 1, last_failure=failure, test=test)
        if time.monotonic() - self._refusal_logged >= _REFUSALS:
            self._refusal_logged = time.monotonic()
            LOGGER.error("%s: refuses an alert for good: %s", self.name, message)

    def _split(self, sink: ItemSink[Item], items: Sequence[Item]) -> None:
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            if self._queue.closed or not self._deliver(sink, half) or self._backoff.failures:
                return  # what isn't done is what waits, and is offered again

    def _failed(self, message: str) -> None:
        message = printable(message)[:_LONGEST]
        with self._lock:
            begins = not self._totals.failing
            test = self._totals.test
            if test is not None and self._test_alert:
                test = TestResult(test.id, test.sent, None, message)
            failure = Failure(self._clock(), message)
            self._note(retried=self._totals.retried + 1, failing=True, last_failure=failure, test=test)
        if begins:
            LOGGER.error("%s: %s", self.name, message)

    def _is_test(self, item: Item) -> bool:
        return isinstance(item, Alert) and item.id == self._test_alert

    def _note(self, **changes: Any) -> None:
        """Changes the totals. The caller holds the lock."""
        self._totals = replace(self._totals, **changes)


def reason(error: OSError) -> str:
    """What the system says. The messages of libraries aren't shown: they may have addresses with secrets in them."""
    if error.strerror or type(error).__module__ != "builtins":
        return error.strerror or type(error).__name__
    return str(error) or type(error).__name__
