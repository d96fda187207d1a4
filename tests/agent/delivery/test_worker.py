"""What is handed to a sink arrives in order, however its destination behaves, and what doesn't is counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from agent_support.waiting import eventually

from tiercel_agent.backoff import LONGEST, LONGEST_ASKED, OPENS_AFTER, Backoff
from tiercel_agent.delivery.queues.queue import open_queue
from tiercel_agent.delivery.worker import SinkWorker
from tiercel_agent.logs import send_warnings_to
from tiercel_agent.sinks.model import BadSink, Refused, Sink, Unavailable
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority


def alert(output: str) -> Alert:
    return Alert(1, "A rule", Priority.WARNING, "syscall", "node", output, (), {"fd.name": output})


class Destination:
    """Takes alerts, but none while ``down``. ``answers`` are raised first, one an attempt (None: taken); ``poison`` is
    refused for good."""

    def __init__(self, batch: int = 10) -> None:
        self.batch = batch
        self.answers: list[Exception | None] = []
        self.poison = ""
        self.down = False
        self.got: list[str] = []
        self.attempts: list[int] = []
        self.opened = 0
        self.closed = 0
        self.gate = threading.Event()
        self.gate.set()

    def open(self) -> Sink:
        self.opened += 1
        return Sink(send=self.send, batch=self.batch, close=self.close)

    def send(self, alerts: Sequence[Alert]) -> None:
        assert self.gate.wait(30)
        self.attempts.append(len(alerts))
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        if self.down:
            raise Unavailable("down")
        if any(each.output == self.poison for each in alerts):
            raise Refused("such a thing isn't taken")
        self.got += [each.output for each in alerts]

    def close(self) -> None:
        self.closed += 1


class Made:
    """A worker whose backoff waits for no time worth mentioning."""

    def __init__(self, destination: Destination, folder: Path | None = None, **more: Any) -> None:
        self.queue = open_queue(folder, 1 << 20)
        self.worker = SinkWorker(
            "sink shop/chat",
            more.pop("opener", destination.open),
            self.queue,
            backoff=more.pop("backoff", Backoff(lambda: 0.0001)),
        )

    def put(self, *outputs: str) -> None:
        self.worker.put([alert(output) for output in outputs])


@pytest.fixture
def destination() -> Destination:
    return Destination()


@pytest.fixture
def made(destination: Destination, tmp_path: Path) -> Iterator[Made]:
    running = Made(destination, tmp_path / "spool")
    yield running
    destination.gate.set()
    running.worker.close()


def texts(first: int, last: int) -> list[str]:
    return [f"alert {number}" for number in range(first, last)]


def test_alerts_arrive_in_order_and_are_counted(made: Made, destination: Destination) -> None:
    for number in range(100):
        made.put(f"alert {number}")
    eventually(lambda: made.worker.totals().delivered == 100)
    assert destination.got == texts(0, 100)
    totals = made.worker.totals()
    assert (totals.lost, totals.retried, totals.queued, totals.failing) == (0, 0, 0, False)
    assert totals.last_success is not None


def test_a_sink_is_opened_when_there_is_something_for_it(made: Made, destination: Destination) -> None:
    assert destination.opened == 0
    made.put("a")
    eventually(lambda: destination.got == ["a"])
    assert destination.opened == 1


def test_what_fails_is_offered_again_in_order_and_told_once(
    said: list[str], made: Made, destination: Destination
) -> None:
    destination.answers = [Unavailable("answers 503"), OSError(111, "Connection refused"), Unavailable("answers 500")]
    made.put(*texts(0, 30))
    eventually(lambda: made.worker.totals().delivered == 30)
    assert destination.got == texts(0, 30)
    totals = made.worker.totals()
    assert (totals.retried, totals.failing) == (3, False)
    assert totals.last_failure is not None
    assert totals.last_failure.message == "answers 500"
    eventually(lambda: len(said) == 2)
    assert said == ["sink shop/chat: answers 503", "sink shop/chat: works again"]


def test_a_destination_that_is_down_is_tried_with_one_alert(made: Made, destination: Destination) -> None:
    destination.answers = [Unavailable("down")] * (OPENS_AFTER + 2)
    made.put(*texts(0, 30))
    eventually(lambda: made.worker.totals().delivered == 30)
    assert destination.attempts == [*[10] * OPENS_AFTER, 1, 1, 1, 10, 10, 9]


def test_of_a_batch_that_is_refused_the_good_ones_arrive(said: list[str], made: Made, destination: Destination) -> None:
    destination.poison = "alert 6"
    destination.gate.clear()
    made.put(*texts(0, 10))
    destination.gate.set()
    eventually(lambda: made.worker.totals().delivered == 9)
    assert destination.got == [text for text in texts(0, 10) if text != "alert 6"]
    assert made.worker.totals().lost == 1
    assert said == ["sink shop/chat: refuses an alert for good: such a thing isn't taken"]


def test_a_destination_that_fails_while_a_batch_is_split_gets_the_rest_later(
    made: Made, destination: Destination
) -> None:
    destination.poison = "alert 6"
    destination.answers = [Refused("no"), None, Unavailable("down")]
    destination.gate.clear()
    made.put(*texts(0, 10))
    destination.gate.set()
    eventually(lambda: made.worker.totals().delivered == 9)
    assert destination.got == [text for text in texts(0, 10) if text != "alert 6"]


def test_an_alert_that_trips_a_sink_is_given_up_and_the_others_go_on(
    said: list[str], made: Made, destination: Destination
) -> None:
    destination.answers = [ValueError("\x1b[31m secret")]
    made.put("a")
    eventually(lambda: made.worker.totals().lost == 1)
    made.put("b")
    eventually(lambda: destination.got == ["b"])
    refused = "sink shop/chat: refuses an alert for good: it can't take what it was given: ValueError at "
    assert [line.startswith(refused) for line in said] == [True]


def test_what_the_destination_says_is_escaped_and_cut(said: list[str], made: Made, destination: Destination) -> None:
    destination.answers = [Unavailable("no\x1b[31m\n" + "x" * 1000)]
    made.put("a")
    eventually(lambda: destination.got == ["a"])
    assert said[0].startswith(r"sink shop/chat: no\x1b[31m\nxxx")
    assert len(said[0]) < 400


def test_a_sink_that_cannot_be_opened_is_told_and_what_waits_stays(destination: Destination, tmp_path: Path) -> None:
    def opener() -> Sink:
        raise BadSink("the key url of the Secret chat isn't known here")

    made = Made(destination, tmp_path / "spool", opener=opener)
    made.put("a")
    eventually(lambda: made.worker.totals().failing)
    assert (made.worker.totals().queued, destination.opened) == (1, 0)
    made.worker.change(destination.open)  # what was wrong has been mended
    eventually(lambda: destination.got == ["a"])
    assert not made.worker.totals().failing
    made.worker.close()


def test_a_changed_sink_is_tried_at_once_whatever_the_old_one_waits_for(
    destination: Destination, tmp_path: Path
) -> None:
    made = Made(destination, tmp_path / "spool", backoff=Backoff())
    destination.answers = [Unavailable("overloaded", retry_after=3600)]
    made.put("a")
    eventually(lambda: made.worker.totals().retried == 1)
    other = Destination()
    made.worker.change(other.open)
    eventually(lambda: other.got == ["a"])
    assert destination.closed == 1
    made.worker.close()


def test_what_waits_when_it_is_closed_is_there_at_the_next_start(destination: Destination, tmp_path: Path) -> None:
    made = Made(destination, tmp_path / "spool")
    destination.down = True
    made.put(*texts(0, 20))
    eventually(lambda: made.worker.totals().retried > 0)
    made.worker.close()
    assert (destination.got, made.worker.totals().lost) == ([], 0)
    destination.down = False
    again = Made(destination, tmp_path / "spool")
    eventually(lambda: destination.got == texts(0, 20))
    again.worker.close()


def test_without_a_disk_what_waits_at_the_end_is_lost_and_counted(destination: Destination) -> None:
    made = Made(destination)
    destination.down = True
    made.put(*texts(0, 20))
    eventually(lambda: made.worker.totals().retried > 0)
    made.worker.close()
    assert made.worker.totals().lost == 20


def test_closing_delivers_what_waits(destination: Destination) -> None:
    made = Made(destination)
    destination.gate.clear()
    made.put(*texts(0, 20))
    destination.gate.set()
    made.worker.close()
    assert (destination.got, destination.closed) == (texts(0, 20), 1)


def test_a_destination_that_hangs_holds_nobody_up(made: Made, destination: Destination) -> None:
    destination.gate.clear()
    made.put(*texts(0, 500))
    made.worker.close(timeout=0.01)
    assert made.worker.totals().queued == 500


def test_a_test_alert_tells_how_long_it_took(made: Made, destination: Destination) -> None:
    destination.answers = [Unavailable("answers 401")]
    destination.gate.clear()
    made.worker.send_test("try 1", alert("test"))
    sent = made.worker.totals().test
    assert sent is not None
    assert (sent.id, sent.took) == ("try 1", None)
    destination.gate.set()
    eventually(lambda: getattr(made.worker.totals().test, "took", None) is not None)
    assert destination.got == ["test"]


def test_a_test_alert_that_fails_tells_why(made: Made, destination: Destination) -> None:
    destination.answers = [Refused("the channel is gone")]
    made.worker.send_test("try 2", alert("test"))
    eventually(lambda: getattr(made.worker.totals().test, "error", "") == "the channel is gone")


def test_what_a_sink_does_in_between_is_asked_for_and_may_fail(said: list[str], tmp_path: Path) -> None:
    ticks: list[int] = []

    def tick() -> float | None:
        ticks.append(1)
        if len(ticks) == 2:
            raise ValueError("unforeseen")
        return 0.001

    sink = Sink(send=lambda alerts: None, tick=tick)
    made = Made(Destination(), tmp_path / "spool", opener=lambda: sink)
    made.put("a")
    eventually(lambda: len(ticks) > 4)
    error = "sink shop/chat: error between two deliveries: ValueError at "
    assert [line.startswith(error) for line in said] == [True]
    made.worker.close()


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_no_exception_of_a_destination_ends_the_thread(
    made: Made, destination: Destination, error: BaseException
) -> None:
    destination.answers = [error]  # type: ignore[list-item]
    made.put("a")
    eventually(lambda: made.worker.totals().lost == 1)
    made.put("b")
    eventually(lambda: destination.got == ["b"])


def test_a_file_that_cannot_be_opened_anew_does_not_end_the_thread(said: list[str], tmp_path: Path) -> None:
    got: list[str] = []

    def reopen() -> None:
        raise PermissionError(13, "Permission denied")

    sink = Sink(send=lambda alerts: got.extend(each.output for each in alerts), reopen=reopen)
    made = Made(Destination(), tmp_path / "spool", opener=lambda: sink)
    made.put("a")
    eventually(lambda: got == ["a"])
    made.worker.reopen()
    error = "sink shop/chat: error while it was opened anew: PermissionError at "
    eventually(lambda: [line.startswith(error) for line in said] == [True])
    made.put("b")
    eventually(lambda: got == ["a", "b"])
    made.worker.close()


def test_a_queue_that_trips_is_told_and_tried_again(
    said: list[str], made: Made, destination: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    was, failures = made.queue.next, [RuntimeError("unforeseen")]

    def failing(most: int) -> Sequence[Alert]:
        if failures:
            raise failures.pop()
        return was(most)

    monkeypatch.setattr(made.queue, "next", failing)
    made.put("a")
    eventually(lambda: destination.got == ["a"])
    eventually(lambda: len(said) == 2)
    assert said[0].startswith("sink shop/chat: unexpected error: RuntimeError at ")
    assert said[1] == "sink shop/chat: works again"


def test_where_nobody_listens_alerts_are_delivered_all_the_same(
    said: list[str], made: Made, destination: Destination
) -> None:
    def broken(_line: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    send_warnings_to(broken)
    destination.answers = [Unavailable("down"), Refused("no")]
    made.put("a")
    made.put("b", "c")
    eventually(lambda: destination.got != [] and made.worker.totals().queued == 0)


def test_too_little_memory_is_not_blamed_on_the_alerts(made: Made, destination: Destination) -> None:
    destination.answers = [MemoryError()]
    made.put("a")
    eventually(lambda: destination.got == ["a"])
    assert made.worker.totals().lost == 0


def test_no_address_of_a_library_gets_into_the_status(said: list[str], made: Made, destination: Destination) -> None:
    class LibraryError(OSError):
        pass

    destination.answers = [LibraryError("Max retries exceeded with url: /services/secret"), TimeoutError("timed out")]
    made.put("a")
    eventually(lambda: destination.got == ["a"])
    assert said[0] == "sink shop/chat: LibraryError"
    assert getattr(made.worker.totals().last_failure, "message", "") == "timed out"


def test_refusals_do_not_fill_the_log(said: list[str], made: Made, destination: Destination) -> None:
    destination.answers = [Refused("no") for _ in range(50)]
    destination.batch = 1
    made.put(*texts(0, 50))
    eventually(lambda: made.worker.totals().lost == 50)
    assert said == ["sink shop/chat: refuses an alert for good: no"]


def test_without_a_disk_the_end_is_no_reason_to_give_up_at_the_first_failure(destination: Destination) -> None:
    made = Made(destination)
    destination.gate.clear()
    made.put("a")
    destination.answers = [Unavailable("answers 503")] * 3
    made.worker.begin_close(30.0)
    destination.gate.set()
    eventually(lambda: destination.got == ["a"])
    made.worker.close(30.0)
    assert made.worker.totals().lost == 0


def test_a_stopped_one_sends_nothing_more_and_its_spool_is_free(destination: Destination, tmp_path: Path) -> None:
    made = Made(destination, tmp_path / "spool")
    destination.gate.clear()
    made.put(*texts(0, 20))
    eventually(lambda: destination.opened == 1)
    made.worker.stop()
    other = Destination()
    again = Made(other, tmp_path / "spool")
    eventually(lambda: other.got == texts(0, 20))  # while the old one still hangs
    destination.gate.set()
    again.worker.close()
    eventually(lambda: destination.closed == 1)
    assert len(destination.got) <= 10


def test_a_test_alert_that_was_refused_stays_so_whatever_fails_later(made: Made, destination: Destination) -> None:
    destination.answers = [Refused("the channel is gone"), Unavailable("answers 500")]
    made.worker.send_test("try 3", alert("test"))
    eventually(lambda: made.worker.totals().lost == 1)
    made.put("a")
    eventually(lambda: destination.got == ["a"])
    assert getattr(made.worker.totals().test, "error", "") == "the channel is gone"


def test_nobody_can_ask_for_more_than_a_day() -> None:
    assert Backoff().failed(1e30) == Backoff().failed(float("inf")) == LONGEST_ASKED
    assert Backoff(lambda: 1.0).failed(float("nan")) == 0.5


def test_waits_grow_are_spread_and_bounded() -> None:
    low, middle, high = Backoff(lambda: 0.0), Backoff(lambda: 0.5), Backoff(lambda: 1.0)
    assert [low.failed(None) for _ in range(4)] == [0.0, 0.0, 0.0, 0.0]
    assert [middle.failed(None) for _ in range(4)] == [0.25, 0.5, 1.0, 2.0]
    assert [high.failed(None) for _ in range(4)] == [0.5, 1.0, 2.0, 4.0]
    assert max(high.failed(None) for _ in range(100)) == LONGEST
    assert high.open
    local = Backoff(lambda: 1.0, longest=1.0)
    assert max(local.failed(None) for _ in range(100)) == 1.0


def test_a_destination_that_asks_for_time_gets_it() -> None:
    backoff = Backoff(lambda: 1.0)
    assert (backoff.failed(120.0), backoff.failed(0.1)) == (120.0, 1.0)
