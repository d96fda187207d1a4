"""What waits for a sink: alerts come back as they were, in order, from the disk and from memory."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tiercel_agent.delivery.queues import log, segments
from tiercel_agent.delivery.queues import queue as queue_module
from tiercel_agent.delivery.queues.flows import flow_of
from tiercel_agent.delivery.queues.queue import AlertQueue, open_queue
from tiercel_agent.delivery.queues.spool import Spool
from tiercel_agent.delivery.queues.stored_alert import decode, encode
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.rule import Origin

LIMIT = 64 << 20


def alert(output: str, **more: Any) -> Alert:
    fields = {"rule": "A rule", "tags": ("tag",), "output_fields": {"proc.name": "sh"}, "origin": None} | more
    return Alert(
        time=1_700_000_000_000_000_000,
        priority=Priority.WARNING,
        source="syscall",
        hostname="node-1",
        output=output,
        **fields,
    )


def alerts(first: int, last: int) -> list[Alert]:
    return [alert(str(number)) for number in range(first, last)]


FLOW = flow_of(alert(""))


def outputs(given: Sequence[Alert]) -> list[int]:
    return [int(each.output) for each in given]


def drain(queue: AlertQueue, most: int = 100) -> list[int]:
    numbers: list[int] = []
    while batch := queue.next(most):
        numbers += outputs(batch)
        queue.done(len(batch))
    return numbers


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., AlertQueue]]:
    made: list[AlertQueue] = []

    def make(limit: int = LIMIT, folder: Path | None = tmp_path / "spool") -> AlertQueue:
        made.append(open_queue(folder, limit))
        return made[-1]

    yield make
    for each in made:
        each.close()


# Alerts as they are stored.

TEXT = st.text(st.characters()) | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape"))
SCALAR = (
    st.none() | st.booleans() | TEXT | st.integers() | st.integers(-(1 << 300), 1 << 300) | st.binary() | st.floats()
)
VALUE = SCALAR | st.lists(TEXT) | st.lists(st.integers()) | st.lists(SCALAR)
ALERT = st.builds(
    Alert,
    time=st.integers(0, 1 << 64),
    rule=TEXT,
    priority=st.sampled_from(Priority),
    source=TEXT,
    hostname=TEXT,
    output=TEXT,
    tags=st.lists(TEXT).map(tuple),
    output_fields=st.dictionaries(TEXT, VALUE),
    origin=st.none() | st.builds(Origin, TEXT, TEXT),
    id=TEXT,
)


def exactly(each: Alert) -> list[object]:
    """All of an alert, with the types (True is 1 otherwise) and with NaN, which equals nothing."""
    return [(name, repr(getattr(each, name)), type(getattr(each, name))) for name in Alert.__slots__]


@given(ALERT)
def test_an_alert_comes_back_as_it_was(each: Alert) -> None:
    assert exactly(decode(encode(each))) == exactly(each)


def test_surrogates_that_would_make_a_pair_stay_apart() -> None:
    each = alert("\ud83d\ude00 \udcff", output_fields={"\udc80": "\ud83d\ude00"})
    assert exactly(decode(encode(each))) == exactly(each)


@given(
    st.binary()
    | st.recursive(SCALAR, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner))
    .map(repr)
    .map(lambda text: text.encode("utf-8", "replace"))
)
def test_what_is_no_alert_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(payload)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"[1,", b"[2,"),
        (b"[1,", b"["),
        (b'"A rule"', b"7"),
        (b'["tag"]', b'"tag"'),
        (b'["tag"]', b"[1]"),
        (b'"sh"', b'{"base64":"!"}'),
        (b'"sh"', b'{"base64":1}'),
        (b'"sh"', b'{"other":"sh"}'),
        (b'{"proc.name":"sh"}', b"[]"),
        (b",4,", b",40,"),
        (b",4,", b",true,"),
        (b",null]", b',["a"]]'),
        (b",null]", b',"ab"]'),
        (b'"sh"', b"[" * 100_000),
        (b'"sh"', b"9" * 10_000),
    ],
)
def test_a_changed_record_is_refused(old: bytes, new: bytes) -> None:
    record = encode(alert("x"))
    assert old in record
    with pytest.raises(ValueError, match=r"."):
        decode(record.replace(old, new))


# The order, the disk, the memory.


@pytest.mark.parametrize("folder", ["spool", None])
def test_what_is_next_stays_next_until_it_is_done(
    opened: Callable[..., AlertQueue], tmp_path: Path, folder: str | None
) -> None:
    queue = opened(folder=tmp_path / folder if folder else None)
    queue.append(alerts(0, 10))
    assert (outputs(queue.next(3)), outputs(queue.next(4)), queue.count) == ([0, 1, 2], [0, 1, 2, 3], 10)
    queue.done(1)
    queue.done(2)
    queue.done(9)  # only what next gave
    assert (queue.count, outputs(queue.next(2))) == (6, [4, 5])
    assert (drain(queue), queue.count, queue.lost, queue.trouble) == ([4, 5, 6, 7, 8, 9], 0, 0, "")


def test_a_later_start_goes_on(opened: Callable[..., AlertQueue]) -> None:
    queue = opened()
    queue.append(alerts(0, 1000))
    identifiers = [each.id for each in queue.next(2)]
    queue.close()
    assert (queue.count, queue.lost, queue.closed, list(queue.next(1))) == (1000, 0, True, [])
    queue.append(alerts(0, 1))
    assert queue.lost == 1
    queue = opened()
    assert [each.id for each in queue.next(2)] == identifiers
    assert drain(queue) == list(range(1000))


def test_without_a_disk_the_oldest_go_first_but_what_is_being_sent() -> None:
    queue = AlertQueue(None, 5)
    queue.append(alerts(0, 5))
    assert outputs(queue.next(2)) == [0, 1]
    queue.append(alerts(5, 8))
    assert (queue.count, queue.lost) == (5, 3)
    queue.done(1)
    assert drain(queue) == [1, 5, 6, 7]
    queue.append(alerts(8, 20))
    assert drain(queue) == [15, 16, 17, 18, 19]
    queue.append(alerts(20, 22))
    queue.close()
    assert (queue.count, queue.lost) == (0, 3 + 7 + 2)


class Full:
    """A spool's functions of the system, on a disk that is full or isn't."""

    def __init__(self) -> None:
        self.full = False
        self.writes = 1 << 30
        """Until it is."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def pwrite(self, descriptor: int, data: bytes, at: int) -> int:
        self.writes -= 1
        if self.full or self.writes < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.pwrite(descriptor, data, at)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Full:
    full = Full()
    monkeypatch.setattr(queue_module, "_WRITE_AGAIN", 0.0)
    monkeypatch.setattr(log, "os", full)
    monkeypatch.setattr(segments, "os", full)
    return full


def test_while_the_disk_is_full_alerts_wait_in_memory(opened: Callable[..., AlertQueue], disk: Full) -> None:
    queue = opened()
    queue.append(alerts(0, 10))
    disk.full = True
    queue.append(alerts(10, 20))
    assert (queue.trouble, queue.count) == ("No space left on device", 20)
    assert outputs(queue.next(15)) == list(range(10))
    queue.done(5)
    disk.full = False
    queue.append(alerts(20, 30))
    assert (queue.trouble, queue.count) == ("", 25)
    queue.close()
    queue = opened()
    assert (drain(queue), queue.lost) == (list(range(5, 30)), 0)


def test_what_is_being_sent_from_memory_may_move_to_the_disk_meanwhile(
    opened: Callable[..., AlertQueue], disk: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "_BATCH", 4)
    for done in range(11):
        disk.full = True
        queue = opened()
        queue.append(alerts(0, 20))
        assert outputs(queue.next(10)) == list(range(10))
        disk.full = False
        queue.append(alerts(20, 22))
        queue.done(done // 2)
        queue.done(done - done // 2)
        assert queue.count == 22 - done
        queue.close()
        queue = opened()
        assert (drain(queue), queue.lost) == (list(range(done, 22)), 0)
        queue.remove()


def test_what_is_being_sent_may_move_to_the_disk_in_part(
    opened: Callable[..., AlertQueue], disk: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "_BATCH", 4)
    for done in range(11):
        for writes in (1, 2, 3):
            disk.full = True
            queue = opened()
            queue.append(alerts(0, 20))
            assert outputs(queue.next(10)) == list(range(10))
            disk.full, disk.writes = False, writes
            queue.append(alerts(20, 22))
            disk.writes = 1 << 30
            queue.done(done // 2)
            queue.done(done - done // 2)
            queue.done(0)
            assert queue.count == 22 - done
            assert (drain(queue, 3), queue.lost) == (list(range(done, 22)), 0)
            queue.remove()


def test_what_is_in_memory_at_the_end_goes_to_the_disk(opened: Callable[..., AlertQueue], disk: Full) -> None:
    queue = opened()
    disk.full = True
    queue.append(alerts(0, 700))
    disk.full = False
    queue.close()
    assert (queue.count, queue.lost, drain(opened())) == (700, 0, list(range(700)))


OPERATION = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 12)),
    st.tuples(st.just("next"), st.integers(1, 12)),
    st.tuples(st.just("done"), st.integers(1, 8)),
    st.tuples(st.just("full"), st.booleans()),
    st.tuples(st.just("limit"), st.integers(0, 6000)),
    st.tuples(st.just("reopen"), st.just(0)),
)


@settings(max_examples=200)
@given(st.lists(OPERATION, max_size=30))
@example([("append", 1), ("full", True), ("limit", 0), ("append", 1), ("next", 1)])
def test_whatever_happens_each_alert_is_done_or_lost_or_waits(operations: list[tuple[str, int]]) -> None:
    """In order, and done are those that were given, whatever the limits took meanwhile."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        disk = Full()
        patch.setattr(log, "os", disk)
        patch.setattr(segments, "os", disk)
        patch.setattr(queue_module, "_BATCH", 5)
        patch.setattr(queue_module, "_WRITE_AGAIN", 0.0)
        opener = lambda: Spool(Path(name), 1 << 20)  # noqa: E731
        queue = AlertQueue(None, 10, opener)
        put = lost = 0
        hand: list[int] = []
        finished: list[int] = []
        for kind, number in [*operations, ("full", False), ("reopen", 0)]:
            if kind == "append":
                queue.append(alerts(put, put + number))
                put += number
            elif kind == "next":
                hand = outputs(queue.next(number))
                assert hand == sorted(hand)
                assert bool(hand) == bool(queue.count)
            elif kind == "done":
                queue.done(number)
                finished += hand[:number]
                hand = hand[number:]
            elif kind == "full":
                disk.full = bool(number)
            elif kind == "limit":
                queue.limit(number)
            elif not disk.full:
                queue.close()
                lost += queue.lost
                queue, hand = AlertQueue(None, 10, opener), []
        finished += drain(queue)
        assert finished == sorted(set(finished))
        assert len(finished) + lost + queue.lost == put
        queue.close()


def test_a_record_that_is_no_alert_is_lost_and_the_others_come(
    opened: Callable[..., AlertQueue], tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool", LIMIT)
    good = [encode(each) for each in alerts(0, 4)]
    spool.append(FLOW, [b"bad", *good[:2], b"[]", b"\xff", *good[2:], b"bad"])
    spool.close()
    queue = opened()
    assert (drain(queue), queue.lost, queue.count) == ([0, 1, 2, 3], 4, 0)


def test_an_alert_that_no_spool_takes_is_lost_alone(
    opened: Callable[..., AlertQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "MOST_RECORD", 5000)
    queue = opened()
    queue.append([alert("0"), alert("x" * 6000), alert("1"), alert("y", output_fields={"n": 10**5000}), alert("2")])
    assert (drain(queue), queue.lost, queue.count) == ([0, 1, 2], 2, 0)


def test_a_folder_that_cannot_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    now = 0.0
    queue = AlertQueue(None, 100, lambda: Spool(tmp_path / "file", LIMIT), lambda: now)
    assert open_queue(tmp_path / "file", LIMIT).trouble == queue.trouble != ""
    queue.append(alerts(0, 5))
    assert (outputs(queue.next(3)), queue.count) == ([0, 1, 2], 5)
    (tmp_path / "file").unlink()
    queue.done(1)
    queue.limit(12345)
    queue.next(1)
    assert queue.trouble != ""
    now = 1000.0
    assert (outputs(queue.next(2)), queue.trouble) == ([1, 2], "")
    assert list((tmp_path / "file").glob("*/*.spool"))
    queue.close()
    assert queue.lost == 0


def test_without_a_disk_memory_is_bounded_whatever_alerts_weigh() -> None:
    queue = AlertQueue(None)
    queue.limit(LIMIT, 1 << 20)
    for number in range(100):
        queue.append([alert(str(number), output_fields={"x": "x" * 65536})])
    assert 10 <= queue.count < 17
    assert queue.count + queue.lost == 100
    queue.limit(LIMIT, 200_000)
    assert drain(queue) == [97, 98, 99]
    queue.append(alerts(0, 5))  # what is gone takes nothing any more
    assert drain(queue) == [0, 1, 2, 3, 4]


def test_its_numbers_are_there_while_a_disk_does_not_answer(
    opened: Callable[..., AlertQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = opened()
    queue.append(alerts(0, 3))
    entered, release = threading.Event(), threading.Event()

    def hang(*_: Any) -> None:
        entered.set()
        release.wait(30)

    monkeypatch.setattr(Spool, "append", hang)
    writer = threading.Thread(target=queue.append, args=(alerts(3, 4),), daemon=True)
    writer.start()
    assert entered.wait(30)
    counts: list[object] = []
    reader = threading.Thread(target=lambda: counts.append((queue.count, queue.lost, queue.trouble)), daemon=True)
    reader.start()
    reader.join(10)
    release.set()
    writer.join(30)
    assert counts == [(3, 0, "")]


def test_a_full_disk_is_not_asked_for_each_alert(tmp_path: Path, disk: Full, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "_WRITE_AGAIN", 1.0)
    now = 0.0
    queue = AlertQueue(None, 100, lambda: Spool(tmp_path / "spool", LIMIT), lambda: now)
    disk.full = True
    queue.append(alerts(0, 1))
    tried = disk.writes
    for number in range(1, 9):
        queue.append(alerts(number, number + 1))
    assert disk.writes == tried
    disk.full, now = False, 1.0
    queue.append(alerts(9, 10))
    assert (queue.trouble, drain(queue), queue.lost) == ("", list(range(10)), 0)
    queue.close()


def test_no_wait_is_too_long_for_a_lock(opened: Callable[..., AlertQueue]) -> None:
    queue = opened()
    queue.wake()
    assert queue.wait(1e15, 0.0, 1) is False
    reader = Reader(queue, 1e15, 1e15, 2)
    queue.append(alerts(0, 1))
    queue.append(alerts(1, 2))
    assert reader.ended() is True


def test_removed_nothing_is_left(opened: Callable[..., AlertQueue], tmp_path: Path) -> None:
    queue = opened()
    queue.append(alerts(0, 5))
    queue.remove()
    assert (queue.count, (tmp_path / "spool").exists(), list(queue.next(1))) == (0, False, [])


# A real disk that is full.


NONE = -1e9  # of the disk, that has to stay free


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {getattr(error, 'stderr', error)}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("share", [NONE, 0.05])
def test_on_a_full_disk_it_goes_on_in_memory_and_back(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr("tiercel_agent.delivery.queues.spool.FREE", share)
    monkeypatch.setattr("tiercel_agent.delivery.queues.spool._LOOK", 0)
    monkeypatch.setattr(queue_module, "_WRITE_AGAIN", 0.0)
    (small_disk / "other").write_bytes(bytes(200_000))
    queue = open_queue(small_disk / "spool", LIMIT)
    number = 0
    while not queue.trouble:
        queue.append([alert(str(at), output_fields={"x": "x" * 1000}) for at in range(number, number + 50)])
        number += 50
    assert ("No space left" if share == NONE else "less than 5%") in queue.trouble
    for _ in range(5):
        queue.append(alerts(number, number + 10))
        number += 10
    assert queue.count == number
    batch = queue.next(20)
    queue.done(20)
    assert outputs(batch) == list(range(20))
    (small_disk / "other").unlink()
    queue.append(alerts(number, number + 1))
    assert queue.trouble == ""
    queue.close()
    assert queue.lost == 0
    queue = open_queue(small_disk / "spool", LIMIT)
    assert drain(queue) == list(range(20, number + 1))
    queue.close()


def test_a_spool_on_a_full_disk_stays_as_it_was(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiercel_agent.delivery.queues.spool.FREE", NONE)
    spool = Spool(small_disk / "spool", LIMIT)
    spool.append(FLOW, [b"first"])
    size = spool.size
    with pytest.raises(OSError, match="No space"):
        spool.append(FLOW, [bytes(1000)] * 2000)
    assert (spool.count, spool.size) == (1, size)
    assert sum(path.stat().st_size for path in (small_disk / "spool").glob("*/*.spool")) == size
    (small_disk / "other").write_bytes(b"")
    while True:
        try:
            with (small_disk / "other").open("ab", buffering=0) as file:
                file.write(bytes(4096))
        except OSError:
            break
    spool.append(FLOW, [b"second"])  # there's room in its page
    assert spool.read(FLOW, 5) == [b"first", b"second"]
    spool.done(FLOW, 1)
    (small_disk / "other").unlink()
    spool.done(FLOW, 1)
    spool.close()
    again = Spool(small_disk / "spool", LIMIT)
    assert again.count == 0
    again.close()


# Waiting.


class Reader:
    """A thread that waits once; ``result`` is what came of it."""

    def __init__(self, queue: AlertQueue, timeout: float | None, gather: float, most: int) -> None:
        self.result: bool | None = None
        self.thread = threading.Thread(target=self._run, args=(queue, timeout, gather, most), daemon=True)
        self.thread.start()

    def _run(self, queue: AlertQueue, *args: Any) -> None:
        self.result = queue.wait(*args)

    def ended(self) -> bool | None:
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.result


def test_the_reader_waits_for_the_first(opened: Callable[..., AlertQueue]) -> None:
    queue = opened()
    assert queue.wait(0.0, 0.0, 1) is False
    assert queue.wait(0.001, 1000.0, 1) is False
    reader = Reader(queue, None, 0.0, 10)
    queue.append(alerts(0, 1))
    assert reader.ended() is True
    assert queue.wait(None, 0.001, 10) is True


def test_it_gathers_until_there_are_enough(opened: Callable[..., AlertQueue]) -> None:
    queue = opened()
    reader = Reader(queue, None, 1000.0, 3)
    for number in range(3):
        assert reader.result is None
        queue.append(alerts(number, number + 1))
    assert reader.ended() is True
    assert queue.wait(None, 1000.0, 3) is True


def test_it_can_be_woken_before_and_while_it_waits_and_gathers(opened: Callable[..., AlertQueue]) -> None:
    queue = opened()
    queue.wake()
    assert queue.wait(None, 0.0, 1) is False
    reader = Reader(queue, None, 0.0, 1)
    queue.wake()
    assert reader.ended() is False
    queue.append(alerts(0, 1))
    reader = Reader(queue, None, 1000.0, 9)
    queue.wake()
    assert reader.ended() is True
    reader = Reader(queue, None, 1000.0, 9)
    queue.close()
    assert reader.ended() is False
    assert queue.wait(None, 1000.0, 9) is False


def test_while_files_cannot_be_opened_nothing_is_lost(
    opened: Callable[..., AlertQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "_READ_AGAIN", 0.001)
    queue = opened()
    queue.append(alerts(0, 3))
    with monkeypatch.context() as patch:

        def failing(*_: Any) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        patch.setattr("tiercel_agent.delivery.queues.log.open_reading", failing)
        assert (list(queue.next(3)), queue.count) == ([], 3)
    assert (drain(queue), queue.lost) == ([0, 1, 2], 0)


def test_one_appends_while_another_reads(opened: Callable[..., AlertQueue]) -> None:
    queue = opened()
    numbers: list[int] = []

    def read() -> None:
        while len(numbers) < 5000 and queue.wait(20.0, 0.0, 1):
            batch = queue.next(64)
            queue.done(len(batch))
            numbers.extend(outputs(batch))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    for first in range(0, 5000, 25):
        queue.append(alerts(first, first + 25))
    thread.join(30)
    assert numbers == list(range(5000))
