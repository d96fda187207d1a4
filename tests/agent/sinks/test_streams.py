"""Lines on standard output and in files: nothing is torn or repeated, and nothing in them is raw."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import orjson
import pytest

from tiercel_agent.sinks.local.outputs import FileConfig, StdoutConfig, alert_line, open_output
from tiercel_agent.sinks.local.streams import file_sink, stream_sink
from tiercel_agent.sinks.model import ReaderGone
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority


def alert(output: str = "seen", rule: str = "A rule") -> Alert:
    return Alert(
        1_700_000_000_000_000_001, rule, Priority.WARNING, "syscall", "node", output, ("t",), {"fd.name": output}
    )


def line(text: str) -> bytes:
    return text.encode() + b"\n"


def test_a_pipe_without_reader_says_so() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(ReaderGone):
        stream_sink(writing, alert_line(json=False)).send([alert()])
    os.close(writing)


def test_a_non_blocking_pipe_gets_everything() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    text = "x" * 300_000
    received: list[bytes] = []

    def read() -> None:
        while data := os.read(reading, 65536):
            received.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    stream_sink(writing, line).send([text])
    os.close(writing)
    reader.join()
    os.close(reading)
    assert b"".join(received) == line(text)


@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_file_is_appended_to_and_opened_anew_after_rotation(tmp_path: Path, keep_alive: bool) -> None:
    path = tmp_path / "alerts"
    path.write_text("before\n")
    output = file_sink(path, line, keep_alive=keep_alive)
    output.send(["one"])
    path.rename(tmp_path / "alerts.1")
    output.send(["two"])
    output.send(["three"])
    path.unlink()
    output.send(["four"])
    output.close()
    assert (tmp_path / "alerts.1").read_text() == "before\none\n"
    assert path.read_text() == "four\n"


def test_an_asked_for_reopen_follows_a_changed_link(tmp_path: Path) -> None:
    link = tmp_path / "current"
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    link.symlink_to("a")
    output = file_sink(link, line)
    output.send(["one"])
    link.unlink()
    link.symlink_to("b")
    output.reopen()
    output.send(["two"])
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("one\n", "two\n")


def test_a_full_disk_tears_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "alerts"
    output = file_sink(path, line)
    output.send(["kept"])
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
        output.send(["not in one piece"])
    assert path.read_text() == "kept\n"
    monkeypatch.setattr(os, "write", write)
    output.send(["not in one piece"])
    assert path.read_text() == "kept\nnot in one piece\n"


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_output(FileConfig(tmp_path / "no" / "folder"), json=True)


def test_a_pipe_that_nobody_reads_does_not_block_the_opening_and_its_reader_may_come_later(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    output = file_sink(tmp_path / "pipe", line)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    output.send(["late"])
    assert os.read(reader, 100) == b"late\n"
    output.close()
    os.close(reader)


def test_new_files_are_not_for_everybody(tmp_path: Path) -> None:
    file_sink(tmp_path / "alerts", line).close()
    assert (tmp_path / "alerts").stat().st_mode & 0o007 == 0


HOSTILE = "a\nb\x1b[2J\x07\u202e\udcff"


def test_json_lines_hold_one_alert_each_and_nothing_raw(tmp_path: Path) -> None:
    output = open_output(FileConfig(tmp_path / "alerts"), json=True)
    output.send([alert(HOSTILE), alert("second")])
    data = (tmp_path / "alerts").read_bytes()
    assert b"\x1b" not in data
    first, second = (orjson.loads(row) for row in data.splitlines())
    assert first["rule"] == second["rule"] == "A rule"
    assert first["output_fields"]["fd.name"] == "a\nb\x1b[2J\x07\u202e\ufffd"


def test_text_lines_show_hostile_characters(tmp_path: Path) -> None:
    output = open_output(FileConfig(tmp_path / "alerts"), json=False)
    output.send([alert(HOSTILE)])
    assert (tmp_path / "alerts").read_text() == "22:13:20.000000001: Warning a\\nb\\x1b[2J\\x07\\u202e\ufffd\n"


def test_standard_output_is_descriptor_one(capfd: pytest.CaptureFixture[str]) -> None:
    open_output(StdoutConfig(), json=False).send([alert("hello")])
    assert capfd.readouterr().out.endswith("Warning hello\n")
