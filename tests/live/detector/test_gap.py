"""Rules that change all the time: each event is seen exactly once, under load too."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import suppress

import pytest
from live_support.filter_rules import rules_of
from live_support.updating import update

from tiercel_agent.detection.detector import open_detector
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.loss import Loss
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.resources.node_agent import LossCause

RELOADS = int(os.environ.get("TIERCEL_TEST_RELOADS", "50"))
"""Emulated machines take half a minute for each."""
AHEAD = 1000
"""Markers that may wait to be seen: a slow machine makes fewer in the same time, and isn't left behind."""
SKIPPED = Loss(LossCause.CALLS_SKIPPED)
"""What kernels of series 7 run no program for; others skip none."""
MARKER = "/tiercel-gap/"
MARKERS = {"mark": f"fd.name startswith {MARKER}"}
# The third rule sends the load's opens to user space until its process is known: more than can be taken.
SETS = (
    rules_of(MARKERS),
    rules_of({**MARKERS, "other": "fd.name contains other and user.name = mallory", "third": "proc.name = none"}),
)


def child(work):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        work()
        os._exit(0)
    return pid


def mark(permits, others_end):
    """Opens a marker for each byte in the pipe, a millisecond apart. The last one is named by how many there were."""
    os.close(others_end)
    number = 0
    while os.read(permits, 1):
        touch(number)
        number += 1
        signal.sigtimedwait([], 0.001)
    touch(f"end-{number}")


def touch(name):
    with suppress(OSError):
        os.close(os.open(f"{MARKER}{name}", os.O_RDONLY))


def load():
    while True:
        os.close(os.open("/etc/hostname", os.O_RDONLY))


@pytest.fixture
def detector():
    try:
        opened = open_detector(Requirements.of(SETS[0]), SETS[0], flood_limit=0)
    except DetectorError as error:
        pytest.skip(f"live tests need eBPF: {error}")
    yield opened
    opened.close()


def test_each_marker_is_alerted_exactly_once_while_rules_are_reloaded(detector):
    matcher = Matcher(SETS[0])
    seen = Counter()

    def take(events):
        for event in events:
            for rule, view in matcher.match(event):
                if rule.name == "mark":
                    seen[str(view["fd.name"]).removeprefix(MARKER)] += 1
                    if not closed:
                        os.write(more, b".")
            detector.evaluated(event)

    closed = []
    busy = child(load)
    permits, more = os.pipe()
    marking = child(lambda: mark(permits, more))
    os.close(permits)
    os.write(more, b"." * AHEAD)
    try:
        while not seen:
            take(detector.poll(0.1))
        for number in range(RELOADS):
            rules = SETS[(number + 1) % 2]
            take(update(detector, Requirements.of(rules), rules))
            matcher = Matcher(rules)
            take(detector.poll(0.01))
        closed.append(True)
        os.close(more)
        while not (end := [name for name in seen if name.startswith("end-")]):
            take(detector.poll(0.1))
    finally:
        for pid, number in ((busy, signal.SIGKILL), (marking, signal.SIGTERM)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            os.waitpid(pid, 0)
    count = int(end[0].removeprefix("end-"))
    assert count > RELOADS
    made = Counter([*map(str, range(count)), *end])
    assert not seen - made, "twice"
    assert (made - seen).total() <= detector.counters().lost.get(SKIPPED, 0)
