"""What the spool of a sink takes and gives a second, and what is lost when its process is killed: nothing.

`python bench/spool.py [folder]`; the folder says which disk is measured.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tiercel_agent.delivery.queues.flows import Flow
from tiercel_agent.delivery.queues.queue import AlertQueue
from tiercel_agent.delivery.queues.spool import Spool
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority

RECORDS, SIZE = 200_000, 1024
ALERTS = 50_000
KILLS, LONGEST = 200, 0.05  # seconds until a kill
LIMIT = 4 << 30

FLOW = Flow("shop", 4)

_WORKER = """
import sys
from pathlib import Path
from tiercel_agent.delivery.queues.flows import Flow
from tiercel_agent.delivery.queues.spool import Spool
queue, number, flow = Spool(Path(sys.argv[1]), 4 << 30), int(sys.argv[2]), Flow("shop", 4)
while True:
    queue.append(flow, [b"%d %s" % (n, b"x" * (n * 7919 % 2048)) for n in range(number, number + 50)])
    number += 50
    print("appended", number, flush=True)
    taken = queue.read(flow, 30)
    queue.done(flow, len(taken))
    print("done", int(taken[-1].split()[0]) + 1, flush=True)
"""


def main() -> None:
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(prefix="tiercel-bench.", dir=parent) as name:
        print(f"records of {SIZE} bytes, a second; alerts with encoding and decoding")
        for batch in (1, 16, 256):
            _records(Path(name) / f"records-{batch}", batch)
        for batch in (1, 256):
            _alerts(Path(name) / f"alerts-{batch}", batch)
        _opening(Path(name) / "opening")
        _kills(Path(name) / "kills")


def _records(folder: Path, batch: int) -> None:
    queue = Spool(folder, LIMIT)
    payloads = [bytes([number % 255 + 1]) * SIZE for number in range(batch)]

    def append() -> None:
        for _ in range(RECORDS // batch):
            queue.append(FLOW, payloads)

    def read() -> None:
        while payloads := queue.read(FLOW, batch):
            queue.done(FLOW, len(payloads))

    _rates(f"records, {batch} at once", queue.count, RECORDS // batch * batch, append, read)
    assert (queue.count, queue.lost) == (0, 0)
    queue.remove()


def _alerts(folder: Path, batch: int) -> None:
    queue = AlertQueue(Spool(folder, LIMIT))
    fields = {f"proc.aname[{number}]": "x" * 60 for number in range(10)}
    alert = Alert(1, "A rule", Priority.WARNING, "syscall", "node", "x" * 200, ("tag",), dict(fields))

    def append() -> None:
        for _ in range(ALERTS // batch):
            queue.append([alert] * batch)

    def read() -> None:
        while payloads := queue.next(batch):
            queue.done(len(payloads))

    _rates(f"alerts, {batch} at once", queue.count, ALERTS // batch * batch, append, read)
    assert (queue.count, queue.lost) == (0, 0)
    queue.remove()


def _rates(what: str, before: int, count: int, append: Callable[[], None], read: Callable[[], None]) -> None:
    assert before == 0
    taken, given = (_seconds(work) for work in (append, read))
    print(f"  {what:22}  taken {count / taken:9,.0f}   given {count / given:9,.0f}")


def _opening(folder: Path) -> None:
    """Opens a spool in which a gigabyte waits."""
    queue = Spool(folder, LIMIT)
    for _ in range(1024):
        queue.append(FLOW, [b"x" * SIZE] * 1024)
    queue.close()
    took = _seconds(lambda: Spool(folder, LIMIT).remove())
    print(f"opening and deleting {1024 * 1024:,} records that wait: {took * 1000:.0f} ms")


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _kills(folder: Path) -> None:
    chance = random.Random(1)
    appended = done = lost = repeated = invented = 0
    lives: list[int] = []
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", _WORKER, str(folder), str(appended)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        told = [process.stdout.readline()]  # the process has begun
        time.sleep(chance.uniform(0, LONGEST))
        process.kill()
        told += process.stdout.read().splitlines(keepends=True)
        process.wait()
        lives.append(len(told))
        words = [line.split() for line in told if line.endswith(b"\n")]
        sure = max([appended, *(int(number) for word, number in words if word == b"appended")])
        done = max([done, *(int(number) for word, number in words if word == b"done")])
        queue = Spool(folder, LIMIT)
        there = _numbers(queue)
        lost += queue.lost + len(set(range(done + 30, sure)) - set(there))
        repeated += sum(number < done for number in there)
        invented += sum(number >= sure + 50 for number in there)
        assert there == list(range(there[0], there[-1] + 1)) if there else True
        # What was done and not reported when the process was killed: at most the current batch.
        lost += max(0, (there[0] if there else sure) - done - 30)
        appended = there[-1] + 1 if there else sure
        done = appended
        queue.close()
    print(
        f"killed {KILLS} times, after {statistics.median(lives):.0f} steps (median), {appended:,} records: "
        f"{lost} lost, {repeated} repeated, {invented} invented"
    )
    if lost or invented:
        sys.exit(1)


def _numbers(queue: Spool) -> list[int]:
    """Takes everything from the spool, and returns the numbers of the payloads."""
    numbers: list[int] = []
    while batch := queue.read(FLOW, 1000):
        numbers += (int(payload.split()[0]) for payload in batch)
        queue.done(FLOW, len(batch))
    return numbers


if __name__ == "__main__":
    main()
