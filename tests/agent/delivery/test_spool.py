"""The spool of a sink: within its limit, what is dropped is the least urgent of the share that has most."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_support.crashing import Crash, System
from hypothesis import given, settings
from hypothesis import strategies as st

from tiercel_agent.delivery.queues import log, segments
from tiercel_agent.delivery.queues import spool as spool_module
from tiercel_agent.delivery.queues.flows import Flow
from tiercel_agent.delivery.queues.segments import framed
from tiercel_agent.delivery.queues.spool import Spool

LIMIT = 64 << 20
FLOW = Flow("shop", 4)
Open = Callable[..., Spool]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens spools in one folder, one after the other."""
    spools: list[Spool] = []

    def make(limit: int = LIMIT) -> Spool:
        for each in spools:
            each.close()
        spools.append(Spool(tmp_path / "spool", limit))
        return spools[-1]

    yield make
    for each in spools:
        each.close()


def payloads(first: int, last: int, size: int = 10) -> list[bytes]:
    return [b"%d" % number + b" " * (size - len(b"%d" % number)) for number in range(first, last)]


def drain(queue: Spool, flow: Flow = FLOW, most: int = 1000) -> list[bytes]:
    """Everything there is of a flow."""
    records: list[bytes] = []
    while batch := queue.read(flow, most):
        records += batch
        queue.done(flow, len(batch))
    return records


class Patched:
    """The module ``os`` with some functions of a test's."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        self._functions = functions

    def __getattr__(self, name: str) -> Any:
        return self._functions.get(name) or getattr(os, name)


# The limit.


def test_at_the_limit_the_oldest_go_and_are_counted(opened: Open) -> None:
    queue = opened(1 << 20)
    for number in range(4000):
        queue.append(FLOW, payloads(number, number + 1, 1000))
        assert queue.size <= 1 << 20
    records = drain(queue)
    assert queue.lost == 4000 - len(records)
    assert records == payloads(queue.lost, 4000, 1000)
    assert len(records) > 700


def test_what_is_in_hand_when_the_limit_takes_it_is_lost_only_if_it_is_not_done(opened: Open) -> None:
    for done in (0, 30, 100):
        queue = opened(110_000)
        queue.append(FLOW, payloads(0, 100, 1000)[:50])
        queue.append(FLOW, payloads(50, 100, 1000))
        assert queue.read(FLOW, 100) == payloads(0, 50, 1000)
        queue.limit = 60_000
        assert (queue.count, queue.lost) == (50, 0)
        queue.done(FLOW, min(done, 50))
        assert queue.read(FLOW, 1) == payloads(50, 51, 1000)
        assert queue.lost == 50 - min(done, 50)
        queue.remove()


def test_a_lower_limit_holds_at_once_and_a_batch_beyond_it_is_taken(opened: Open) -> None:
    queue = opened()
    queue.append(FLOW, payloads(0, 100, 1000))
    queue.limit = 50_000
    assert (queue.size, queue.count, queue.lost) == (0, 0, 100)
    queue.append(FLOW, payloads(100, 200, 1000))
    assert (drain(queue), queue.lost) == (payloads(100, 200, 1000), 100)


def test_a_disk_with_little_left_is_not_filled_further(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = opened()
    queue.append(FLOW, payloads(0, 1))
    free = 4
    usual = os.statvfs("/")

    def statvfs(_path: Path) -> os.statvfs_result:
        return os.statvfs_result([*usual[:2], 100, free, free, *usual[5:]])

    monkeypatch.setattr(spool_module, "os", Patched(statvfs=statvfs))
    queue.append(FLOW, [bytes(1_000_000)])  # it doesn't look each time
    with pytest.raises(OSError, match="5%") as caught:
        queue.append(FLOW, [bytes(100_000)])
    assert caught.value.errno == errno.ENOSPC
    count = queue.count
    for _ in range(3):
        with pytest.raises(OSError, match="5%"):
            queue.append(FLOW, [b"x"])
    free = 99_999
    queue.append(FLOW, [b"y"])
    assert (queue.count, drain(queue)[-1]) == (count + 1, b"y")


# One process.


def test_one_at_a_time_has_the_use_of_it(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    with pytest.raises(OSError, match="another process") as caught:
        Spool(tmp_path / "spool", LIMIT)
    assert caught.value.errno == errno.EBUSY
    queue.close()
    Spool(tmp_path / "spool", LIMIT).close()
    (tmp_path / "link").symlink_to(tmp_path / "spool")
    with pytest.raises(OSError, match=r"."):
        Spool(tmp_path / "link", LIMIT)


# Several flows.

BULK, URGENT, OTHER = Flow("greedy", 7), Flow("greedy", 2), Flow("shop", 2)


def test_each_flow_is_in_order_and_there_when_it_is_opened_again(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    for number in range(30):
        queue.append((BULK, URGENT, OTHER)[number % 3], payloads(number, number + 1))
    assert queue.read(BULK, 2) == [payloads(0, 30)[0], payloads(0, 30)[3]]
    queue.done(BULK, 1)
    queue = opened()
    assert (queue.counts, queue.count, queue.lost) == ({BULK: 9, URGENT: 10, OTHER: 10}, 29, 0)
    assert drain(queue, BULK) == payloads(0, 30)[3::3]
    assert drain(queue, OTHER) == payloads(0, 30)[2::3]
    queue.close()
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["greedy.2"]
    assert drain(opened(), URGENT) == payloads(0, 30)[1::3]


def test_a_full_spool_drops_the_least_urgent_of_the_share_that_has_most(opened: Open) -> None:
    queue = opened(1 << 20)
    queue.append(OTHER, payloads(0, 1, 1000))
    queue.append(URGENT, payloads(0, 300, 1000))
    for number in range(3000):
        queue.append(BULK, payloads(number, number + 1, 1000))
        assert queue.size <= 1 << 20
    assert (queue.counts[OTHER], queue.counts[URGENT]) == (1, 300)
    assert drain(queue, BULK)[-1] == payloads(2999, 3000, 1000)[0]  # the oldest went
    for number in range(300, 3000):
        queue.append(URGENT, payloads(number, number + 1, 1000))
    assert queue.counts[OTHER] == 1
    assert queue.counts[URGENT] > 700


def test_a_share_with_little_loses_nothing_to_one_with_much_whatever_its_priority(opened: Open) -> None:
    queue = opened(1 << 20)
    calm = Flow("shop", 7)
    queue.append(calm, payloads(0, 100, 1000))
    for number in range(3000):
        queue.append(URGENT, payloads(number, number + 1, 1000))
    assert drain(queue, calm) == payloads(0, 100, 1000)


def test_what_is_done_is_dropped_before_anything_that_waits(opened: Open) -> None:
    queue = opened(100_000)
    queue.append(OTHER, payloads(0, 40, 1000))
    assert len(drain(queue, OTHER)) == 40
    queue.append(BULK, payloads(0, 80, 1000))
    assert (queue.count, queue.lost) == (80, 0)


def test_nothing_is_open_however_many_flows_there_are(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    before = len(os.listdir("/proc/self/fd"))
    for number in range(200):
        queue.append(Flow(f"n{number}", 4), payloads(0, 2))
        assert queue.read(Flow(f"n{number}", 4), 1) == payloads(0, 1)
    assert len(os.listdir("/proc/self/fd")) < before + 10  # others may have some
    assert queue.count == 400


def test_the_number_of_logs_is_bounded_and_nothing_is_lost_for_it(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "MOST_LOGS", 4)
    queue = opened()
    flows = [Flow(f"n{number}", number % 2) for number in range(20)]
    for flow in flows:
        queue.append(flow, payloads(0, 3))
    assert len(list((tmp_path / "spool").iterdir())) == 4 + 2
    queue = opened()
    assert (queue.count, queue.lost) == (60, 0)
    for flow in queue.counts:
        drain(queue, flow)
    for flow in flows[10:13]:  # there is room again, since what is empty goes
        queue.append(flow, payloads(0, 3))
    assert set(queue.counts) == set(flows[10:13])


def test_what_an_earlier_version_left_comes_too(opened: Open, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / f"{0:020d}.spool").write_bytes(framed(payloads(0, 5)))
    (folder / f"{5:020d}.spool").write_bytes(framed(payloads(5, 9)))
    queue = opened()
    (earlier,) = queue.counts
    assert drain(queue, earlier) == payloads(0, 9)


def test_folders_of_others_and_links_are_left_alone(opened: Open, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    (tmp_path / "elsewhere").mkdir()
    (folder / "notes").mkdir(parents=True)
    (folder / "shop.4").symlink_to(tmp_path / "elsewhere")
    queue = opened()
    with pytest.raises(OSError, match=r"."):
        queue.append(FLOW, payloads(0, 1))
    queue.append(OTHER, payloads(0, 1))
    queue.remove()
    assert {path.name for path in folder.iterdir()} == {"notes", "shop.4"}
    assert list((tmp_path / "elsewhere").iterdir()) == []


FLOWS = [BULK, URGENT, OTHER]
OPERATION = st.one_of(
    st.tuples(st.just("append"), st.sampled_from(FLOWS), st.integers(1, 5)),
    st.tuples(st.just("take"), st.sampled_from(FLOWS), st.integers(1, 8)),
    st.tuples(st.just("reopen"), st.sampled_from(FLOWS), st.just(0)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(OPERATION, max_size=25), st.integers(1, 60), st.floats(0, 1))
def test_killed_at_any_write_nothing_of_any_flow_is_lost(
    operations: list[tuple[str, Flow, int]], left: int, part: float
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        system = System()
        for module in (segments, log, spool_module):
            patch.setattr(module, "os", system)
        patch.setattr(log, "_KEPT", 100)
        waiting: dict[Flow, list[bytes]] = {flow: [] for flow in FLOWS}
        maybe: dict[Flow, list[list[bytes]]] = {}
        queue = Spool(Path(name), LIMIT)
        system.left, system.part = left, part
        number = 0
        try:
            for kind, flow, count in operations:
                if kind == "append":
                    batch = payloads(number, number + count)
                    number += count
                    maybe = {flow: [waiting[flow] + batch[:some] for some in range(count + 1)]}
                    queue.append(flow, batch)
                    waiting[flow] = waiting[flow] + batch
                elif kind == "take":
                    taken = queue.read(flow, count)
                    assert taken == waiting[flow][: len(taken)]
                    maybe = {flow: [waiting[flow], waiting[flow][len(taken) :]]}
                    queue.done(flow, len(taken))
                    waiting[flow] = waiting[flow][len(taken) :]
                else:
                    queue.close()
                    queue = Spool(Path(name), LIMIT)
                maybe = {}
        except Crash:
            pass
        system.end()
        queue = Spool(Path(name), LIMIT)
        for flow in FLOWS:
            assert drain(queue, flow) in maybe.get(flow, [waiting[flow]])
        assert queue.lost == 0
        queue.close()
        system.end()


_APPENDER = """
import sys
from pathlib import Path
from tiercel_agent.delivery.queues.flows import Flow
from tiercel_agent.delivery.queues.spool import Spool
queue = Spool(Path(sys.argv[1]), 1 << 30)
flows = [Flow("greedy", 7), Flow("greedy", 2), Flow("shop", 2)]
numbers = [int(number) for number in sys.argv[2:]]
while True:
    for at, flow in enumerate(flows):
        queue.append(flow, [b"%d %s" % (n, b"x" * (n % 3000)) for n in range(numbers[at], numbers[at] + 10)])
        numbers[at] += 10
        print("appended", at, numbers[at], flush=True)
        taken = queue.read(flow, 7)
        queue.done(flow, len(taken))
        print("done", at, int(taken[-1].split()[0]) + 1, flush=True)
"""


def test_a_process_that_is_killed_loses_nothing_of_any_flow(tmp_path: Path) -> None:
    appended, done = [0, 0, 0], [0, 0, 0]
    for lines in (1, 2, 5, 60, 301):
        process = subprocess.Popen(
            [sys.executable, "-c", _APPENDER, str(tmp_path / "spool"), *map(str, appended)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().splitlines(keepends=True)
        process.wait()
        for line in told:
            if line.endswith(b"\n"):
                word, which, number = line.split()
                told_of = appended if word == b"appended" else done
                told_of[int(which)] = max(told_of[int(which)], int(number))
        copy = Path(shutil.copytree(tmp_path / "spool", tmp_path / f"copy-{lines}"))
        queue = Spool(copy, 1 << 30)
        for at, flow in enumerate(FLOWS):
            numbers = [int(payload.split()[0]) for payload in drain(queue, flow)]
            first, last = (numbers[0], numbers[-1] + 1) if numbers else (appended[at], appended[at])
            assert numbers == list(range(first, last))
            # it may have been killed before it could tell, and in the midst of writing ten
            assert done[at] <= first <= done[at] + 7
            assert appended[at] <= last <= appended[at] + 10
            appended[at], done[at] = last, first
        queue.close()
