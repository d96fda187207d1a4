"""The log: nothing that it has taken is lost when the process ends, however that ends."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from agent_support.crashing import Crash, System
from hypothesis import given, settings
from hypothesis import strategies as st

from tiercel_agent.delivery.queues import log, segments
from tiercel_agent.delivery.queues.log import Log

Open = Callable[..., Log]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens logs in one folder, one after the other."""
    made: list[Log] = []

    def make() -> Log:
        for each in made:
            each.close()
        made.append(Log(tmp_path / "spool"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def payloads(first: int, last: int, size: int = 10) -> list[bytes]:
    return [b"%d" % number + b" " * (size - len(b"%d" % number)) for number in range(first, last)]


def drain(queue: Log, most: int = 1000) -> list[bytes]:
    """Everything there is."""
    records: list[bytes] = []
    while batch := queue.read(most):
        records += batch
        queue.done(len(batch))
    return records


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def test_what_was_appended_is_read_in_order(opened: Open) -> None:
    queue = opened()
    queue.append(payloads(0, 3))
    queue.append([])
    queue.append(payloads(3, 5))
    assert (queue.count, queue.read(2), queue.count) == (5, payloads(0, 2), 5)
    assert queue.read(10) == payloads(0, 5)
    queue.done(4)
    assert (queue.count, queue.read(10)) == (1, payloads(4, 5))
    queue.done(1)
    assert (queue.count, queue.read(10), queue.lost) == (0, [], 0)


def test_only_what_was_read_can_be_done(opened: Open) -> None:
    queue = opened()
    queue.append(payloads(0, 3))
    queue.done(3)
    assert queue.count == 3
    queue.read(2)
    queue.done(3)
    queue.done(1)
    assert drain(queue) == payloads(2, 3)


def test_it_is_all_there_when_it_is_opened_again(opened: Open) -> None:
    queue = opened()
    queue.append(payloads(0, 10))
    queue.read(4)
    queue.done(4)
    queue = opened()
    assert queue.count == 6
    queue.append(payloads(10, 12))
    assert drain(queue) == payloads(4, 12)


def test_many_records_in_many_segments(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    for first in range(0, 12_000, 1000):
        queue.append(payloads(first, first + 1000, 1024))
    assert len(files(tmp_path / "spool")) > 2
    queue = opened()
    assert drain(queue, 300) == payloads(0, 12_000, 1024)
    queue.close()
    assert files(tmp_path / "spool") == []


def test_a_read_is_bounded_by_bytes(opened: Open) -> None:
    queue = opened()
    big = [bytes([number]) * (1 << 20) for number in range(1, 9)]
    queue.append(big)
    assert sum(map(len, queue.read(1000))) <= 5 << 20
    assert drain(queue) == big


def test_a_record_of_the_greatest_length_and_none_beyond(opened: Open) -> None:
    queue = opened()
    greatest = bytes(segments.MOST_RECORD)
    queue.append([b"before", greatest, b"behind"])
    for bad in (b"", greatest + b"x"):
        with pytest.raises(ValueError, match="bytes"):
            queue.append([b"good", bad])
    queue = opened()
    assert drain(queue) == [b"before", greatest, b"behind"]


def test_segments_that_are_done_are_deleted_and_descriptors_bounded(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    queue.append(payloads(0, 1))
    before = len(os.listdir("/proc/self/fd"))
    for first in range(0, 20_000, 1000):
        queue.append(payloads(first, first + 1000, 1024), 1 << 20)
        drain(queue)
        assert len(files(tmp_path / "spool")) <= 2
        assert len(os.listdir("/proc/self/fd")) < before + 10  # others may have some
    assert queue.lost == 0


def test_numbers_never_go_back(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    queue.append(payloads(0, 7))
    drain(queue)
    queue = opened()
    assert files(tmp_path / "spool") == []
    queue.append(payloads(7, 8))
    assert [path.name for path in files(tmp_path / "spool")] == ["00000000000000000007.spool"]
    queue.drop_segment()
    assert (queue.count, queue.lost, files(tmp_path / "spool")) == (0, 1, [])
    queue = opened()
    queue.append(payloads(8, 9))
    assert [path.name for path in files(tmp_path / "spool")] == ["00000000000000000008.spool"]


# What may have become of the files.


def flip(path: Path, at: int, byte: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[at] = data[at] ^ 0xFF if byte is None else byte
    path.write_bytes(data)


def test_a_torn_end_is_cut_off(opened: Open, tmp_path: Path) -> None:
    for cut in range(1, 18):
        queue = opened()
        queue.append(payloads(0, 3))
        queue.close()
        (path,) = files(tmp_path / "spool")
        os.truncate(path, path.stat().st_size - cut)
        queue = opened()
        assert path.stat().st_size == 36
        queue.append(payloads(3, 4))
        assert drain(queue) == [*payloads(0, 2), *payloads(3, 4)]
        assert queue.lost == 0
        queue.remove()


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("at", [0, 3, 4, 8, 17])
def test_behind_a_garbled_record_the_next_segment_goes_on(opened: Open, tmp_path: Path, at: int, last: bool) -> None:
    queue = opened()
    queue.append(payloads(0, 10))
    if not last:
        queue = opened()
        queue.append(payloads(10, 12))
    queue.close()
    flip(files(tmp_path / "spool")[0], 5 * 18 + at)
    queue = opened()
    queue.append(payloads(12, 14))
    assert drain(queue) == [*payloads(0, 5), *([] if last else payloads(10, 12)), *payloads(12, 14)]
    assert queue.count == 0
    if not last or at >= 4:
        assert queue.lost == 5
    assert (opened().lost, opened().read(10)) == (0, [])


def test_garbled_while_it_is_open(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    queue.append(payloads(0, 10))
    flip(files(tmp_path / "spool")[0], 5 * 18 + 9)
    assert drain(queue) == payloads(0, 5)
    assert (queue.count, queue.lost) == (0, 5)
    queue.append(payloads(10, 12))
    assert drain(queue) == payloads(10, 12)
    queue.append(payloads(12, 14))
    os.truncate(files(tmp_path / "spool")[-1], 20)
    assert (drain(queue), queue.lost) == (payloads(12, 13)[:0], 7)


def test_nothing_but_zeros(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    queue.append(payloads(0, 2))
    queue.close()
    (path,) = files(tmp_path / "spool")
    path.write_bytes(path.read_bytes() + bytes(1000))
    queue = opened()
    queue.append(payloads(2, 3))
    assert drain(queue) == payloads(0, 3)


@settings(max_examples=60)
@given(st.binary(max_size=200), st.binary(max_size=80), st.integers(0, 60))
def test_whatever_is_in_the_files_no_error_and_no_end_without_end(garbage: bytes, checkpoint: bytes, at: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / f"{at:020d}.spool").write_bytes(garbage)
        (folder / f"{at + 3:020d}.spool").write_bytes(segments.framed(payloads(0, 3)) + garbage)
        (folder / "checkpoint").write_bytes(checkpoint)
        queue = Log(folder)
        queue.append([b"new"])
        assert drain(queue)[-1] == b"new"
        assert queue.count == 0
        queue.close()


@pytest.mark.parametrize("garbage", [b"", b"x", b"\0" * 32, b"\xff" * 32, b"\xff" * 1000])
def test_a_garbled_checkpoint_starts_with_the_first_segment(opened: Open, tmp_path: Path, garbage: bytes) -> None:
    queue = opened()
    queue.append(payloads(0, 10))
    for _ in range(2):
        queue.read(3)
        queue.done(3)
    queue.close()
    (tmp_path / "spool/checkpoint").write_bytes(garbage)
    assert drain(opened()) == payloads(0, 10)
    assert opened().count == 0


def test_a_segment_that_somebody_deleted_is_lost_and_counted(opened: Open, tmp_path: Path) -> None:
    for first in (0, 3, 6):
        queue = opened()
        queue.append(payloads(first, first + 3))
    queue = opened()
    files(tmp_path / "spool")[1].unlink()
    assert (drain(queue), queue.lost) == ([*payloads(0, 3), *payloads(6, 9)], 3)


def test_a_folder_that_somebody_deleted_is_made_anew(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    queue.append(payloads(0, 3))
    for path in (tmp_path / "spool").iterdir():
        path.unlink()
    (tmp_path / "spool").rmdir()
    assert (drain(queue), queue.lost) == ([], 3)
    queue.append(payloads(3, 5))
    assert drain(queue) == payloads(3, 5)


def test_only_its_owner_can_read_it(opened: Open, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        queue = opened()
        queue.append(payloads(0, 3))
        queue.read(1)
        queue.done(1)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool").iterdir()} == {0o600}
    assert len(list((tmp_path / "spool").iterdir())) == 2


def test_what_is_not_its_own_is_left_alone(opened: Open, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    others = ["notes.txt", "1.spool", "99999999999999999999.spool", "00000000000000000001.spool.bak"]
    for name in others:
        (folder / name).write_text("mine")
    (folder / "00000000000000000002.spool").symlink_to(folder / "notes.txt")
    (folder / "00000000000000000003.spool").mkdir()
    os.mkfifo(folder / "00000000000000000004.spool")
    queue = opened()
    queue.append(payloads(0, 2))
    assert drain(queue) == payloads(0, 2)
    queue.remove()
    assert len(list(folder.iterdir())) == 7
    assert {(folder / name).read_text() for name in others} == {"mine"}


def test_links_and_pipes_in_the_place_of_its_files_are_not_followed(opened: Open, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    folder = tmp_path / "spool"
    for put in (lambda path: path.symlink_to(target), os.mkfifo):
        queue = opened()
        put(folder / "checkpoint")
        queue.append(payloads(0, 3))
        queue.read(1)
        queue.done(1)
        assert drain(opened()) == payloads(1, 3)
        queue.close()
        opened().remove()
        folder.mkdir()
        put(folder / f"{0:020d}.spool")
        with pytest.raises(OSError, match=r"."):
            opened().append(payloads(0, 1))
        (folder / f"{0:020d}.spool").unlink()
    assert target.read_bytes() == b"precious"
    queue = opened()
    queue.append(payloads(0, 3))
    (folder / f"{0:020d}.spool").unlink()
    (folder / f"{0:020d}.spool").symlink_to(target)
    assert (queue.read(1), queue.lost) == ([], 3)


def test_closed_it_takes_nothing_and_gives_nothing_but_keeps_its_count(opened: Open) -> None:
    queue = opened()
    queue.append(payloads(0, 3))
    queue.read(1)
    queue.close()
    queue.close()
    queue.done(1)
    with pytest.raises(OSError, match="closed"):
        queue.append([b"x"])
    assert (queue.read(1), queue.count) == ([], 3)
    assert drain(opened()) == payloads(0, 3)


def test_removed_nothing_is_left(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    queue.append(payloads(0, 3))
    queue.read(1)
    queue.done(1)
    queue.remove()
    assert (queue.count, (tmp_path / "spool").exists()) == (0, False)


def test_too_many_open_files_lose_nothing(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = opened()
    queue.append(payloads(0, 3))
    with monkeypatch.context() as patch:
        patch.setattr(segments, "os", Patched(open=fail(errno.EMFILE)))
        with pytest.raises(OSError, match=r"."):
            queue.read(3)
    assert (drain(queue), queue.lost) == (payloads(0, 3), 0)


# Ends at any moment.


class Patched:
    """The module ``os`` with some functions of a test's."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        self._functions = functions

    def __getattr__(self, name: str) -> Any:
        return self._functions.get(name) or getattr(os, name)


def fail(number: int) -> Callable[..., Any]:
    def failing(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return failing


OPERATION = st.one_of(
    st.tuples(st.just("append"), st.lists(st.integers(1, 3000), min_size=1, max_size=6)),
    st.tuples(st.just("take"), st.integers(1, 12), st.integers(0, 12)),
    st.tuples(st.just("crash"), st.integers(1, 8), st.floats(0, 1)),
    st.tuples(st.just("fail"), st.integers(1, 3), st.floats(0, 1)),
    st.tuples(st.just("reopen")),
)


class Model:
    """What has to be there. The number of a payload is its place in the order of all."""

    def __init__(self) -> None:
        self.appended: list[bytes] = []
        self.unsure: list[bytes] = []
        """Of an append that was cut short: the first of them may be there."""
        self.done = 0
        self.sure = 0
        """Of those that are done, the ones that the disk knows of."""
        self.maybe_done = 0

    def check(self, waiting: list[bytes]) -> None:
        """Everything from the done ones on, at most the batch repeated whose end it was; then it goes on from there."""
        kept = [self.appended[start:] for start in range(self.sure, self.maybe_done + 1)]
        possible = [have + self.unsure[:more] for have in kept for more in range(len(self.unsure) + 1)]
        assert waiting in possible
        self.appended = waiting
        self.unsure, self.done, self.sure, self.maybe_done = [], 0, 0, 0


@settings(max_examples=400)
@given(st.lists(OPERATION, max_size=25))
def test_killed_at_any_write_nothing_is_lost(operations: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        system = System()
        patch.setattr(segments, "os", system)
        patch.setattr(log, "os", system)
        patch.setattr(log, "_KEPT", 1000)
        _play(Path(name) / "sinks" / "spool", system, operations)


def _play(folder: Path, system: System, operations: list[tuple[Any, ...]]) -> None:
    model, number, queue = Model(), 0, None
    for kind, *details in [*operations, ("reopen",)]:
        if kind == "fail" and system.failures:
            continue  # one in the life of a process
        if kind in ("crash", "fail"):
            system.left, system.part = details
            system.error = Crash() if kind == "crash" else OSError(errno.ENOSPC, "full")
            continue
        batch: list[bytes] = []
        failures = system.failures
        try:
            if kind == "reopen" and queue is not None:
                queue.close()
                queue = None
                model.sure = model.sure if system.failures > failures else model.done
                system.failures = failures = 0
            if queue is None:
                with suppress(OSError):
                    queue = Log(folder)
            if queue is None:
                queue = Log(folder)  # it fails but once
            if kind == "append":
                batch = [b"%d:" % (number + at) + b"x" * size for at, size in enumerate(details[0])]
                number += len(batch)
                queue.append(batch, 4000)
                model.appended += batch
            elif kind == "take":
                records = queue.read(details[0])
                assert records == model.appended[model.done : model.done + len(records)]
                assert records or model.done == len(model.appended)
                model.maybe_done = model.done + min(details[1], len(records))
                queue.done(details[1])
                model.done = model.maybe_done
                model.sure = model.sure if system.failures > failures or not (records and details[1]) else model.done
            else:
                model.check(_read_all(queue))
        except Crash:
            model.unsure = batch
            system.end()
            queue = Log(folder)
            model.check(_read_all(queue))
        except OSError:
            assert kind == "append"
        if queue is not None:
            assert (queue.count, queue.lost) == (len(model.appended) - model.done, 0)
    system.end()


def _read_all(queue: Log) -> list[bytes]:
    """All that waits, without an end to it: as a second reader would."""
    records: list[bytes] = []
    for segment in queue._segments:
        part = segments.records(segment.path.read_bytes()[: segment.size], 100_000)
        records += [each for at, each in enumerate(part.payloads) if segment.first + at >= queue._done]
    return records


_APPENDER = """
import sys
from pathlib import Path
from tiercel_agent.delivery.queues.log import Log
queue = Log(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    batch = [b"%d %s" % (n, b"x" * (n % 3000)) for n in range(number, number + 50)]
    queue.append(batch)
    number += 50
    sys.stdout.write(f"appended {number}\\n")
    sys.stdout.flush()
    taken = queue.read(30)
    queue.done(len(taken))
    sys.stdout.write(f"done {int(taken[-1].split()[0]) + 1}\\n")
    sys.stdout.flush()
"""


def test_a_process_that_is_killed_loses_nothing_that_it_told_of(tmp_path: Path) -> None:
    appended = done = 0
    for lines in (1, 2, 17, 60, 301):
        process = subprocess.Popen(
            [sys.executable, "-c", _APPENDER, str(tmp_path / "spool"), str(appended)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().splitlines()
        process.wait()
        told = [line for line in told if line.split()[1:]]
        appended = max([appended, *(int(line.split()[1]) for line in told if line.startswith(b"appended"))])
        done = max([done, *(int(line.split()[1]) for line in told if line.startswith(b"done"))])
        queue = Log(tmp_path / "spool")
        numbers = [int(payload.split()[0]) for payload in _read_all(queue)]
        assert queue.count == len(numbers)
        queue.close()
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert numbers[0] in (done, done + 30)  # it may have been killed before it could tell
        assert numbers[-1] + 1 in range(appended, appended + 51)
        appended = numbers[-1] + 1
