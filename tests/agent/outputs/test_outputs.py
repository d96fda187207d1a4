"""Outputs: nothing waits for them, nothing is torn or repeated, and what is dropped is counted."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import orjson
import pytest
from agent_support.waiting import eventually

from tiercel_agent.config import FileConfig, StdoutConfig
from tiercel_agent.loss import Loss
from tiercel_agent.outputs import (
    FileOutput,
    OutputClosed,
    OutputQueue,
    Outputs,
    StreamOutput,
    alert_line,
    open_output,
)
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.node_agent import LossCause


def alert(output: str = "seen", rule: str = "A rule") -> Alert:
    return Alert(
        1_700_000_000_000_000_001, rule, Priority.WARNING, "syscall", "node", output, ("t",), {"fd.name": output}
    )


def line(text: str) -> bytes:
    return text.encode() + b"\n"


class Blocked:
    """An output that takes its first batch only when it is released."""

    name = "blocked"

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()
        self.got: list[str] = []

    def write(self, items) -> None:
        self.entered.set()
        assert self.release.wait(20)
        self.got += items

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class Failing:
    """An output that fails a number of times before it works."""

    name = "failing"

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.got: list[str] = []
        self.closed = False
        self.failed = threading.Event()

    def write(self, items) -> None:
        if self.failures:
            self.failures -= 1
            self.failed.set()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.got += items

    def reopen(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def test_a_stuck_output_never_blocks_and_its_overflow_is_counted():
    output = Blocked()
    queue = OutputQueue(output, capacity=3)
    queue.put("first")
    assert output.entered.wait(20)
    for number in range(5):
        queue.put(str(number))
    assert queue.counters().dropped == 3
    output.release.set()
    delivery = queue.close()
    assert output.got == ["first", "0", "1"]
    assert (delivery.delivered, delivery.dropped) == (3, 3)


def test_what_a_failing_output_refused_is_offered_again_in_order():
    output = Failing(2)
    told: list[str] = []
    queue = OutputQueue(output, retry=0.001, on_failure=told.append)
    for item in ("a", "b", "c"):
        queue.put(item)
        output.failed.wait(20)
    eventually(lambda: queue.counters().delivered == 3)
    delivery = queue.close()
    assert output.got == ["a", "b", "c"]
    assert (delivery.failures, delivery.dropped) == (2, 0)
    assert told == ["output failing: No space left on device", "output failing: works again"]


def test_what_is_left_when_a_failing_output_is_closed_counts_as_dropped():
    output = Failing(1_000_000)
    queue = OutputQueue(output, retry=60)
    queue.put("a")
    assert output.failed.wait(20)
    queue.put("b")
    delivery = queue.close()
    assert (delivery.delivered, delivery.dropped) == (0, 2)
    assert delivery.last_failure == "output failing: No space left on device"
    assert output.closed


def test_an_item_that_trips_the_output_is_counted_and_the_next_ones_are_delivered(tmp_path: Path):
    queue = OutputQueue(FileOutput("file", tmp_path / "alerts", line), batch=1)
    for item in ("a", 5, "b"):
        queue.put(item)
    delivery = queue.close()
    assert (tmp_path / "alerts").read_text() == "a\nb\n"
    assert (delivery.delivered, delivery.dropped) == (2, 1)


def test_close_delivers_what_waits(tmp_path: Path):
    queue = OutputQueue(FileOutput("file", tmp_path / "alerts", line), batch=2)
    for number in range(100):
        queue.put(str(number))
    assert queue.close().delivered == 100
    assert (tmp_path / "alerts").read_text().split() == [str(number) for number in range(100)]


def test_a_pipe_without_reader_ends_the_output():
    reading, writing = os.pipe()
    os.close(reading)
    output = StreamOutput("stdout", writing, alert_line(json=False))
    with pytest.raises(OutputClosed):
        output.write([alert()])
    outputs = Outputs()
    queue = OutputQueue(output)
    outputs.add(queue)
    outputs.put(alert(), None)
    eventually(lambda: outputs.ended)
    outputs.put(alert(), None)
    assert queue.counters().dropped == 2
    assert outputs.lost() == {Loss(LossCause.OUTPUT_FAILED, output="stdout"): 2}
    os.close(writing)


def test_a_non_blocking_pipe_gets_everything():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    text = "x" * 300_000
    received: list[bytes] = []

    def read() -> None:
        while data := os.read(reading, 65536):
            received.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    StreamOutput("stdout", writing, line).write([text])
    os.close(writing)
    reader.join()
    os.close(reading)
    assert b"".join(received) == line(text)


@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_file_is_appended_to_and_opened_anew_after_rotation(tmp_path: Path, keep_alive: bool):
    path = tmp_path / "alerts"
    path.write_text("before\n")
    output = FileOutput("file", path, line, keep_alive=keep_alive)
    output.write(["one"])
    path.rename(tmp_path / "alerts.1")
    output.write(["two"])
    output.write(["three"])
    path.unlink()
    output.write(["four"])
    output.close()
    assert (tmp_path / "alerts.1").read_text() == "before\none\n"
    assert path.read_text() == "four\n"


def test_an_asked_for_reopen_follows_a_changed_link(tmp_path: Path):
    link = tmp_path / "current"
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    link.symlink_to("a")
    output = FileOutput("file", link, line)
    output.write(["one"])
    link.unlink()
    link.symlink_to("b")
    output.reopen()
    output.write(["two"])
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("one\n", "two\n")


def test_a_full_disk_tears_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "alerts"
    output = FileOutput("file", path, line)
    output.write(["kept"])
    write = os.write
    room = [3]

    def full(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = write(descriptor, bytes(data)[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        output.write(["not in one piece"])
    assert path.read_text() == "kept\n"
    monkeypatch.setattr(os, "write", write)
    output.write(["not in one piece"])
    assert path.read_text() == "kept\nnot in one piece\n"


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        open_output(FileConfig(tmp_path / "no" / "folder"), json=True)


def test_a_pipe_that_nobody_reads_does_not_block_the_opening_and_its_reader_may_come_later(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    output = FileOutput("file", tmp_path / "pipe", line)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    output.write(["late"])
    assert os.read(reader, 100) == b"late\n"
    output.close()
    os.close(reader)


def test_new_files_are_not_for_everybody(tmp_path: Path):
    FileOutput("file", tmp_path / "alerts", line).close()
    assert (tmp_path / "alerts").stat().st_mode & 0o007 == 0


HOSTILE = "a\nb\x1b[2J\x07\u202e\udcff"


def test_json_lines_hold_one_alert_each_and_nothing_raw(tmp_path: Path):
    output = open_output(FileConfig(tmp_path / "alerts"), json=True)
    output.write([alert(HOSTILE), alert("second")])
    data = (tmp_path / "alerts").read_bytes()
    assert b"\x1b" not in data
    first, second = (orjson.loads(row) for row in data.splitlines())
    assert first["rule"] == second["rule"] == "A rule"
    assert first["output_fields"]["fd.name"] == "a\nb\x1b[2J\x07\u202e\ufffd"


def test_text_lines_show_hostile_characters(tmp_path: Path):
    output = open_output(FileConfig(tmp_path / "alerts"), json=False)
    output.write([alert(HOSTILE)])
    assert (tmp_path / "alerts").read_text() == "22:13:20.000000001: Warning a\\nb\\x1b[2J\\x07\\u202e\ufffd\n"


def test_standard_output_is_descriptor_one(capfd: pytest.CaptureFixture[str]):
    open_output(StdoutConfig(), json=False).write([alert("hello")])
    assert capfd.readouterr().out.endswith("Warning hello\n")


def test_a_file_that_cannot_be_opened_anew_does_not_end_the_output():
    class Stubborn(Failing):
        reopened = threading.Event()

        def reopen(self) -> None:
            self.reopened.set()
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    output, told = Stubborn(0), []
    queue = OutputQueue(output, on_failure=told.append)
    queue.reopen()
    assert output.reopened.wait(20)
    queue.put("a")
    eventually(lambda: output.got == ["a"])
    assert told == ["output failing: something unforeseen (OSError)"]
    queue.close()


def test_where_nobody_listens_an_output_goes_on():
    def broken(_message: str) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    output = Failing(2)
    queue = OutputQueue(output, retry=0.001, on_failure=broken)
    queue.put("a")
    eventually(lambda: output.got == ["a"])
    assert queue.close().dropped == 0
