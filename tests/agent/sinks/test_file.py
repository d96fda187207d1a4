"""Alerts in files and on the standard output: whole lines, whatever rotates, fills up or goes away."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tiercel_agent.sinks.local import file as file_module
from tiercel_agent.sinks.local.file import open_file
from tiercel_agent.sinks.local.stdout import open_stdout
from tiercel_agent.sinks.model import BadSink, Sink, Unavailable
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.destinations import FileSink

MEBIBYTE = 1 << 20


def alert(output: str) -> Alert:
    return Alert(1_700_000_000_000_000_001, "A rule", Priority.WARNING, "syscall", "node", output, (), {})


def line(alert: Alert) -> bytes:
    return alert.output.encode("utf-8", "surrogateescape")


def send(sink: Sink, *outputs: str) -> None:
    sink.send([alert(output) for output in outputs])


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Sink]]:
    sinks: list[Sink] = []

    def make(path: Path = tmp_path / "alerts", clock: Callable[[], float] = time.time, **spec: Any) -> Sink:
        sinks.append(open_file(FileSink(str(path), **spec), line, clock))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_alerts_are_appended_a_line_each_to_a_file_that_is_not_for_everybody(tmp_path: Path, opened):
    sink = opened()
    send(sink, "one", "two")
    send(sink, "three")
    assert (tmp_path / "alerts").read_text() == "one\ntwo\nthree\n"
    assert (tmp_path / "alerts").stat().st_mode & 0o007 == 0
    assert names(tmp_path) == ["alerts"]


@pytest.mark.parametrize(
    ("output", "written"),
    [
        ("a\nforged\r\n\x1b[2J\u202e\udcff\0", "a\\nforged\\r\\n\\x1b[2J\\u202e\ufffd\\x00"),
        ('{"a": "\u202e\x7f",\n\t"b": 1}\n', '{"a": "\\u202e\\u007f",  "b": 1}'),
        ("{not JSON\n\x1b[2J", "{not JSON \\x1b[2J"),
    ],
)
def test_an_alert_is_one_line_whatever_its_form(tmp_path: Path, opened, output: str, written: str):
    reading, writing = os.pipe()
    for sink in (opened(), open_stdout(line, writing)):
        send(sink, output, "after")
    assert (tmp_path / "alerts").read_bytes().decode() == f"{written}\nafter\n"
    assert os.read(reading, 1000).decode() == f"{written}\nafter\n"
    os.close(reading)
    os.close(writing)


def test_a_file_that_would_become_too_large_is_kept_as_the_first_of_as_many_as_wanted(tmp_path: Path, opened):
    sink = opened(max_mebibytes=1, keep=2)
    for letter in "abcde":
        send(sink, letter * (MEBIBYTE * 2 // 3))
    assert names(tmp_path) == ["alerts", "alerts.1", "alerts.2"]
    assert [(tmp_path / name).read_text()[0] for name in names(tmp_path)] == ["e", "d", "c"]


def test_what_fits_stays_in_one_file_and_five_earlier_ones_are_kept_unless_told_otherwise(tmp_path: Path, opened):
    sink = opened(max_mebibytes=1)
    for _ in range(8):
        send(sink, "x" * (MEBIBYTE // 2 - 1))
        send(sink, "y" * (MEBIBYTE // 2 - 1))
    assert names(tmp_path) == ["alerts", *(f"alerts.{number}" for number in range(1, 6))]
    assert {(tmp_path / name).stat().st_size for name in names(tmp_path)} == {MEBIBYTE}


def test_no_earlier_file_is_kept_if_none_is_wanted(tmp_path: Path, opened):
    sink = opened(max_mebibytes=1, keep=0)
    send(sink, "a" * MEBIBYTE)
    send(sink, "b")
    assert names(tmp_path) == ["alerts"]
    assert (tmp_path / "alerts").read_text() == "b\n"


def test_earlier_files_move_up_to_the_first_gap_only(tmp_path: Path, opened):
    (tmp_path / "alerts.1").write_text("first")
    (tmp_path / "alerts.3").write_text("third")
    sink = opened(max_mebibytes=1, keep=3)
    send(sink, "a" * MEBIBYTE)
    send(sink, "b")
    assert (tmp_path / "alerts.2").read_text() == "first"
    assert (tmp_path / "alerts.3").read_text() == "third"


def test_age_counts_from_the_first_line_and_survives_a_restart(tmp_path: Path, opened):
    now = [time.time()]
    sink = opened(max_age="1h", clock=lambda: now[0])
    send(sink, "one")
    now[0] += 3000
    send(sink, "two")
    sink.close()
    again = opened(max_age="1h", clock=lambda: now[0])
    send(again, "three")
    assert names(tmp_path) == ["alerts"]
    now[0] += 700
    send(again, "four")
    assert (tmp_path / "alerts.1").read_text() == "one\ntwo\nthree\n"
    assert (tmp_path / "alerts").read_text() == "four\n"
    now[0] += 3000
    send(again, "five")
    assert (tmp_path / "alerts").read_text() == "four\nfive\n"


def test_an_empty_file_grows_no_older(tmp_path: Path, opened):
    (tmp_path / "alerts").touch()
    os.utime(tmp_path / "alerts", (1, 1))
    now = [time.time()]
    sink = opened(max_age="1h", clock=lambda: now[0])
    send(sink, "one")
    send(sink, "two")
    assert names(tmp_path) == ["alerts"]


def test_a_file_of_before_that_was_last_written_long_ago_is_too_old(tmp_path: Path, opened):
    (tmp_path / "alerts").write_text("before\n")
    os.utime(tmp_path / "alerts", (1, 1))
    send(opened(max_age="1h"), "one")
    assert (tmp_path / "alerts.1").read_text() == "before\n"
    assert (tmp_path / "alerts").read_text() == "one\n"


@pytest.mark.parametrize("spec", [{}, {"max_mebibytes": 1, "max_age": "1h"}])
def test_a_file_that_others_rename_or_remove_is_begun_anew(tmp_path: Path, opened, spec):
    sink = opened(**spec)
    send(sink, "one")
    (tmp_path / "alerts").rename(tmp_path / "elsewhere")
    send(sink, "two")
    assert (tmp_path / "elsewhere").read_text() == "one\n"
    assert (tmp_path / "alerts").read_text() == "two\n"
    (tmp_path / "alerts").unlink()
    send(sink, "three")
    assert (tmp_path / "alerts").read_text() == "three\n"


def test_a_changed_link_is_followed_and_a_link_stays_one_when_its_file_is_full(tmp_path: Path, opened):
    link = tmp_path / "link"
    link.symlink_to("a")
    sink = opened(link, max_mebibytes=1)
    send(sink, "a" * MEBIBYTE)
    send(sink, "more")
    assert ((tmp_path / "a").read_text(), (tmp_path / "a.1").stat().st_size) == ("more\n", MEBIBYTE + 1)
    link.unlink()
    link.symlink_to("b")
    sink.reopen()
    send(sink, "other")
    assert (tmp_path / "b").read_text() == "other\n"
    assert names(tmp_path) == ["a", "a.1", "b", "link"]


def test_a_missing_folder_is_told_and_used_once_it_is_there(tmp_path: Path, opened):
    sink = opened(tmp_path / "no" / "alerts", max_mebibytes=1)
    with pytest.raises(Unavailable, match="folder of the file isn't there"):
        send(sink, "one")
    (tmp_path / "no").mkdir()
    send(sink, "one")
    assert (tmp_path / "no" / "alerts").read_text() == "one\n"


def test_a_pipe_that_nobody_reads_blocks_nobody_for_ever(tmp_path: Path, opened, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file_module, "_PATIENCE", 0.05)
    os.mkfifo(tmp_path / "alerts")
    sink = opened(max_mebibytes=1)
    text = "x" * 100_000
    with pytest.raises(TimeoutError):
        send(sink, text)
    reading = os.open(tmp_path / "alerts", os.O_RDONLY)
    torn = b""
    while len(torn) < 65536:
        torn += os.read(reading, 65536)
    send(sink, "whole")
    sink.close()
    rest = os.read(reading, 65536)
    os.close(reading)
    assert torn in text.encode()
    assert rest == b"\nwhole\n"


def test_a_device_is_written_to_and_never_moved(opened):
    send(opened(Path("/dev/null"), max_mebibytes=1, max_age="1s", keep=0), "x" * MEBIBYTE, "y")
    with pytest.raises(OSError, match="No space left"):
        send(opened(Path("/dev/full")), "x")
    assert Path("/dev/null").is_char_device()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting isn't permitted: {mounted.stderr.strip()[-100:]}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_tears_no_line_and_the_alerts_are_taken_once_there_is_room(tiny_disk: Path, opened):
    (tiny_disk / "other").write_bytes(b"x" * 40_000)
    sink = opened(tiny_disk / "alerts", max_mebibytes=1)
    send(sink, "kept")
    large = ["a" * 20_000, "b" * 20_000]
    with pytest.raises(OSError, match="No space left"):
        send(sink, *large)
    assert (tiny_disk / "alerts").read_text() == "kept\n"
    (tiny_disk / "other").unlink()
    send(sink, *large)
    assert (tiny_disk / "alerts").read_text() == "\n".join(["kept", *large, ""])


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        (FileSink("alerts"), "must be absolute"),
        (FileSink("/tmp/a\0b"), "must be absolute"),
        (FileSink("/tmp/alerts", max_age="soon"), "maxAge: 'soon' is not a duration"),
    ],
)
def test_what_is_no_file_is_refused(sink: FileSink, message: str):
    with pytest.raises(BadSink, match=message):
        open_file(sink, line)


def test_standard_output_is_descriptor_one(capfd: pytest.CaptureFixture[str]):
    send(open_stdout(line), "one", "two")
    assert capfd.readouterr().out == "one\ntwo\n"


def test_a_standard_output_without_reader_is_unavailable():
    reading, writing = os.pipe()
    sink = open_stdout(line, writing)
    send(sink, "one")
    assert os.read(reading, 100) == b"one\n"
    os.close(reading)
    with pytest.raises(Unavailable, match="nobody reads"):
        send(sink, "two")
    os.close(writing)
