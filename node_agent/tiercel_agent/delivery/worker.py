"""The thread that carries the alerts of one sink to its destination, in order, until it has taken them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tiercel_agent.delivery.backoff import Backoff
from tiercel_agent.delivery.queue import AlertQueue
from tiercel_agent.sinks.model import BadSink, Refused, Sink, Unavailable
from tiercel_engine.alert import Alert
from tiercel_engine.printable import printable

_LONGEST = 300  # characters of an error
_REFUSALS = 60.0  # seconds between two lines on alerts that are refused
_LAST = 5.0  # seconds for which what waits is delivered at the end
_OPEN_AGAIN = 30.0  # seconds between two attempts to open a sink that can't be opened as it is configured


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed; ``at`` is seconds since the epoch."""

    at: float
    message: str


@dataclass(frozen=True, slots=True)
class TestResult:
    """What became of a test alert: ``took`` is seconds until the destination had it, None as long as it hasn't."""

    __test__ = False

    id: str
    sent: float
    took: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """Of one sink, since the agent's start. Times are seconds since the epoch."""

    delivered: int = 0
    retried: int = 0
    """Attempts that failed and were, or will be, made again."""
    lost: int = 0
    queued: int = 0
    failing: bool = False
    last_success: float | None = None
    last_failure: Failure | None = None
    test: TestResult | None = None
    trouble: str = ""
    """Why what waits is in memory although it should be on the disk."""


class SinkWorker:
    """Opens the sink at the first alert and offers it what waits until it is taken.

    ``tell`` gets a line when the sink begins to fail, when it works again and when alerts are refused for good.
    ``name`` is how these lines call it.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], Sink],
        queue: AlertQueue,
        tell: Callable[[str], None] = lambda _line: None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._opener = opener
        self._queue = queue
        self._tell = tell
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._sink: Sink | None = None
        self._lock = threading.Lock()
        self._totals = Totals()
        self._test_alert = ""
        self._test_begun = 0.0
        self._refusal_told = float("-inf")
        self._closing = False
        self._end = float("inf")
        self._stirred = threading.Event()
        self._reopen = self._changed = False
        self._thread = threading.Thread(target=self._run, name=f"sink-{name}", daemon=True)
        self._thread.start()

    def put(self, alerts: Sequence[Alert]) -> None:
        """Takes alerts into the queue; waits for nothing but the disk."""
        self._queue.append(alerts)

    def send_test(self, identifier: str, alert: Alert) -> None:
        """Takes a test alert; ``totals().test`` tells what becomes of it under this identifier."""
        with self._lock:
            self._test_alert = alert.id
            self._test_begun = time.monotonic()
            self._note(test=TestResult(identifier, self._clock()))
        self._queue.append([alert])

    def change(self, opener: Callable[[], Sink]) -> None:
        """Goes on with another sink, at once: what waits is for it."""
        with self._lock:
            self._opener = opener
            self._changed = True
        self._stir()

    def reopen(self) -> None:
        """Asks the sink to let go of what may have been rotated away, before it sends again."""
        self._reopen = True
        self._stir()

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
        """As ``close``, which is to be called after it, without waiting: so several end side by side."""
        self._end = time.monotonic() + timeout
        self._closing = True
        self._stir()

    def stop(self) -> None:
        """Delivers nothing more, but what is on its way. What waits stays on the disk, for whoever opens it next, or is
        counted as lost."""
        self._closing = True
        self._queue.close()
        self._stir()

    def limit(self, most: int, in_memory: int) -> None:
        """At most so many bytes wait from now on, on the disk and in memory."""
        self._queue.limit(most, in_memory)

    def lost(self, count: int, why: str) -> None:
        """Counts alerts that were lost before they came here."""
        failure = Failure(self._clock(), why)
        with self._lock:
            self._note(lost=self._totals.lost + count, last_failure=failure)

    def _stir(self) -> None:
        """Whatever the thread waits for, it looks up."""
        self._stirred.set()
        self._queue.wake()

    def _say(self, line: str) -> None:
        with contextlib.suppress(Exception):  # where nobody listens any more, alerts are delivered all the same
            self._tell(line)

    def _pause(self, seconds: float) -> bool:
        """Waits, unless something else is asked for meanwhile; False if that is the end."""
        until = time.monotonic() + seconds
        self._stirred.wait(seconds)
        self._stirred.clear()
        if not self._closing:
            return True
        if self._queue.on_disk or until >= self._end:
            return False
        self._stirred.wait(until - time.monotonic())  # what waits would be lost: it is tried as long as there is time
        self._stirred.clear()
        return True

    def _run(self) -> None:
        going_on = True
        try:
            while going_on and not self._queue.closed and (not self._closing or self._queue.count):
                try:
                    going_on = self._step()
                except BaseException as error:  # whatever it is, it must not end the thread unseen
                    self._failed(f"something unforeseen: {type(error).__name__}")
                    going_on = self._pause(self._backoff.failed(None))
        finally:
            self._queue.close()
            self._let_go()

    def _step(self) -> bool:
        """False at the end."""
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
                self._say(f"sink {self.name}: {type(error).__name__} while it was closed")

    def _open(self) -> bool:
        """Opens the sink; False at the end."""
        try:
            self._sink = self._opener()
        except BadSink as error:
            message = str(error)
        except OSError as error:
            message = _reason(error)
        except BaseException as error:  # a library that nobody foresaw: the other sinks go on
            message = f"it can't be opened ({type(error).__name__})"
        else:
            return True
        self._failed(message)
        return self._pause(_OPEN_AGAIN)

    def _turn(self, sink: Sink) -> bool:
        """Delivers the next alerts; False at the end."""
        again = self._ticked(sink)
        if self._reopen:
            self._reopen = False
            self._reopened(sink)
        # What was open fails with one alert, not with a whole batch.
        most = 1 if self._backoff.open else sink.batch
        gather = 0.0 if self._closing or self._backoff.failures else sink.wait
        if not self._queue.wait(again, gather, most):
            return True
        alerts = self._queue.next(most)
        return self._deliver(sink, alerts) if alerts else True

    def _reopened(self, sink: Sink) -> None:
        try:
            sink.reopen()
        except BaseException as error:  # then what it sends fails, or doesn't
            self._say(f"sink {self.name}: {type(error).__name__} while it was opened anew")

    def _ticked(self, sink: Sink) -> float | None:
        try:
            return sink.tick()
        except BaseException as error:  # what a sink does in between must not end it
            self._failed(f"between two deliveries: {type(error).__name__}")
            return 1.0

    def _deliver(self, sink: Sink, alerts: Sequence[Alert]) -> bool:
        """Offers them once; False if it is to end."""
        retry_after: float | None = None
        try:
            sink.send(alerts)
        except Refused as refused:
            self._refused(sink, alerts, str(refused))
            return True
        except Unavailable as error:
            message, retry_after = str(error), error.retry_after
        except OSError as error:
            message = _reason(error)
        except MemoryError:  # nothing that the alerts could be blamed for
            message = "there is too little memory"
        except BaseException as error:  # an alert that trips the sink must not end it, nor be offered for ever
            self._refused(sink, alerts, f"it can't take what it was given ({type(error).__name__})")
            return True
        else:
            self._delivered(alerts)
            return True
        wait = self._backoff.failed(retry_after)
        self._failed(message)
        return self._pause(wait)

    def _delivered(self, alerts: Sequence[Alert]) -> None:
        self._queue.done(len(alerts))
        failing = self._backoff.failures > 0
        self._backoff.worked()
        now = self._clock()
        with self._lock:
            totals = self._totals
            test = totals.test
            if test is not None and any(alert.id == self._test_alert for alert in alerts):
                test = TestResult(test.id, test.sent, time.monotonic() - self._test_begun)
                self._test_alert = ""
            self._note(delivered=totals.delivered + len(alerts), failing=False, last_success=now, test=test)
        if failing:
            self._say(f"sink {self.name}: works again")

    def _refused(self, sink: Sink, alerts: Sequence[Alert], message: str) -> None:
        """One alert is given up; of several, each half is offered by itself, in order."""
        if len(alerts) > 1:
            self._split(sink, alerts)
            return
        message = printable(message)[:_LONGEST]
        self._queue.done(1)
        self._backoff.worked()  # it answers
        with self._lock:
            test = self._totals.test
            if test is not None and alerts[0].id == self._test_alert:
                test = TestResult(test.id, test.sent, None, message)
                self._test_alert = ""
            failure = Failure(self._clock(), message)
            self._note(lost=self._totals.lost + 1, last_failure=failure, test=test)
        if time.monotonic() - self._refusal_told >= _REFUSALS:
            self._refusal_told = time.monotonic()
            self._say(f"sink {self.name}: refuses an alert for good: {message}")

    def _split(self, sink: Sink, alerts: Sequence[Alert]) -> None:
        middle = len(alerts) // 2
        for half in (alerts[:middle], alerts[middle:]):
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
            self._say(f"sink {self.name}: {message}")

    def _note(self, **changes: Any) -> None:
        """Under the lock."""
        self._totals = replace(self._totals, **changes)


def _reason(error: OSError) -> str:
    """What the system says. What the errors of libraries say may have addresses in it, with what is secret of them."""
    if error.strerror or type(error).__module__ != "builtins":
        return error.strerror or type(error).__name__
    return str(error) or type(error).__name__
