"""Local outputs: nothing waits for them, and what they lose is counted and logged."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from agent_support.waiting import eventually

from tiercel_agent.delivery.dispatcher import Dispatcher
from tiercel_agent.delivery.fan_out import FanOut, local_worker
from tiercel_agent.delivery.queues.spool_folders import SpoolSettings
from tiercel_agent.logs import send_warnings_to
from tiercel_agent.loss import Loss
from tiercel_agent.sinks.local.outputs import alert_line
from tiercel_agent.sinks.local.streams import file_sink, stream_sink
from tiercel_agent.sinks.model import ItemSink, Sink
from tiercel_engine.alert import Alert
from tiercel_engine.event import Value
from tiercel_engine.priority import Priority
from tiercel_engine.resources.node_agent import LossCause


def alert(output: str = "seen") -> Alert:
    return Alert(1, "A rule", Priority.WARNING, "syscall", "node", output, (), {})


def line(text: str) -> bytes:
    return text.encode() + b"\n"


class Blocked:
    """A sink that takes its first batch only when it is released."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()
        self.got: list[str] = []
        self.sink: ItemSink[str] = ItemSink(send=self._send, batch=256)

    def _send(self, items: Sequence[str]) -> None:
        self.entered.set()
        assert self.release.wait(20)
        self.got += items


class Failing:
    """A sink that fails a number of times before it works."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.got: list[str] = []
        self.closed = False
        self.failed = threading.Event()
        self.sink: ItemSink[str] = ItemSink(send=self._send, batch=256, close=self._close)

    def _send(self, items: Sequence[str]) -> None:
        if self.failures:
            self.failures -= 1
            self.failed.set()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.got += items

    def _close(self) -> None:
        self.closed = True


def test_a_stuck_output_never_blocks_and_its_overflow_is_counted() -> None:
    output = Blocked()
    worker = local_worker("stuck", output.sink, capacity=3)
    worker.put(["first"])
    assert output.entered.wait(20)
    for number in range(5):
        worker.put([str(number)])
    assert worker.totals().lost == 3
    output.release.set()
    worker.close()
    assert output.got == ["first", "3", "4"]
    assert (worker.totals().delivered, worker.totals().lost) == (3, 3)


def test_a_namespace_that_floods_an_output_pushes_out_no_other_and_what_is_left_is_in_order() -> None:
    output = Blocked()
    outputs = FanOut()
    outputs.add("stuck", ItemSink(send=lambda alerts: output.sink.send([each.output for each in alerts])), 100)

    def put(text: str, namespace: str, priority: Priority = Priority.NOTICE) -> None:
        fields: dict[str, Value | None] = {"k8s.ns.name": namespace}
        outputs.put(Alert(1, "A rule", priority, "syscall", "node", text, (), fields), None)

    put("first", "shop")
    assert output.entered.wait(20)
    put("theirs, before", "shop", Priority.DEBUG)
    for number in range(1000):
        put(str(number), "greedy", Priority.CRITICAL if number < 10 else Priority.NOTICE)
    put("theirs, after", "shop", Priority.CRITICAL)
    output.release.set()
    outputs.close()
    kept = [*range(10), *range(913, 1000)]
    assert output.got == ["first", "theirs, before", *map(str, kept), "theirs, after"]
    assert outputs.outputs()["stuck"].lost == 1003 - 100


def test_what_waits_for_an_output_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiercel_agent.delivery.queues.memory_queue.MOST_BYTES", 1 << 20)
    output = Blocked()
    outputs = FanOut()
    outputs.add("stuck", ItemSink(send=lambda alerts: output.sink.send([each.output for each in alerts])))
    for _ in range(100):
        outputs.put(alert("x" * 65536), None)
    assert outputs.outputs()["stuck"].queued in range(10, 17)
    output.release.set()
    outputs.close()


def test_what_a_failing_output_refused_is_offered_again_in_order(said: list[str]) -> None:
    output = Failing(2)
    worker = local_worker("failing", output.sink, retry=0.001)
    for item in ("a", "b", "c"):
        worker.put([item])
        output.failed.wait(20)
    eventually(lambda: worker.totals().delivered == 3)
    worker.close()
    assert output.got == ["a", "b", "c"]
    assert (worker.totals().retried, worker.totals().lost) == (2, 0)
    assert said == ["output failing: No space left on device", "output failing: works again"]


def test_what_is_left_when_a_failing_output_is_closed_is_lost_and_counted() -> None:
    output = Failing(1_000_000)
    worker = local_worker("failing", output.sink, retry=60)
    worker.put(["a"])
    assert output.failed.wait(20)
    worker.put(["b"])
    worker.close(0.1)
    totals = worker.totals()
    assert (totals.delivered, totals.lost, totals.queued) == (0, 2, 0)
    assert getattr(totals.last_failure, "message", "") == "No space left on device"
    eventually(lambda: output.closed)


def test_a_failing_output_is_tried_again_every_second_however_long_it_failed() -> None:
    output = Failing(1_000_000)
    worker = local_worker("failing", output.sink, retry=0.001)
    worker.put(["a"])
    eventually(lambda: worker.totals().retried > 50)
    worker.close(0.0)


def test_an_item_that_trips_the_output_is_counted_and_the_others_are_delivered(tmp_path: Path) -> None:
    worker = local_worker("file", file_sink(tmp_path / "alerts", line))
    worker.put(["a", 5, "b"])  # type: ignore[list-item]
    worker.close()
    assert (tmp_path / "alerts").read_text() == "a\nb\n"
    assert (worker.totals().delivered, worker.totals().lost) == (2, 1)


def test_close_delivers_what_waits(tmp_path: Path) -> None:
    worker = local_worker("file", file_sink(tmp_path / "alerts", line))
    for number in range(100):
        worker.put([str(number)])
    worker.close()
    assert worker.totals().delivered == 100
    assert (tmp_path / "alerts").read_text().split() == [str(number) for number in range(100)]


def test_a_pipe_without_reader_ends_the_output() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    outputs = FanOut()
    outputs.add("stdout", stream_sink(writing, alert_line(json=False)))
    assert not outputs.ended
    outputs.put(alert(), None)
    eventually(lambda: outputs.ended)
    outputs.put(alert(), None)
    eventually(lambda: outputs.outputs()["stdout"].lost == 2)
    assert outputs.lost() == {Loss(LossCause.OUTPUT_FAILED, output="stdout"): 2}
    os.close(writing)


def test_an_agent_with_sinks_goes_on_when_nobody_reads_its_outputs() -> None:
    got: list[str] = []
    dispatcher = Dispatcher(lambda _: Sink(send=lambda _: None), SpoolSettings())
    outputs = FanOut(dispatcher)
    outputs.add("good", Sink(send=lambda alerts: got.extend(each.output for each in alerts)))
    reading, writing = os.pipe()
    os.close(reading)
    outputs.add("stdout", stream_sink(writing, alert_line(json=False)))
    outputs.put(alert("a"), None)
    eventually(lambda: outputs.outputs()["stdout"].lost == 1)
    outputs.put(alert("b"), None)
    eventually(lambda: got == ["a", "b"])
    assert not outputs.ended
    outputs.close()
    os.close(writing)


def test_a_file_that_cannot_be_opened_anew_does_not_end_the_output(said: list[str]) -> None:
    reopened = threading.Event()
    got: list[str] = []

    def reopen() -> None:
        reopened.set()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    worker = local_worker("stubborn", ItemSink(send=got.extend, reopen=reopen))
    worker.reopen()
    worker.put(["a"])
    assert reopened.wait(20)
    eventually(lambda: got == ["a"])
    assert said[0].startswith("output stubborn: error while it was opened anew: OSError at ")
    worker.close()


def test_a_log_that_nobody_reads_does_not_end_the_output(said: list[str]) -> None:
    def broken(_line: str) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    send_warnings_to(broken)
    output = Failing(2)
    worker = local_worker("failing", output.sink, retry=0.001)
    worker.put(["a"])
    eventually(lambda: output.got == ["a"])
    worker.close()
    assert worker.totals().lost == 0
