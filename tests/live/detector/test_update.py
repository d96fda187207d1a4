"""Switching to other rules while programs run: no event is missed, and none is seen twice."""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import threading

import pytest
from live_support.filter_rules import AT_FDCWD
from live_support.updating import update

from tiercel_agent.kernel.errors import DetectorError
from tiercel_engine.matching.requirements import Requirements

OPENS = frozenset({"openat"})
REMOVES = frozenset({"rmdir", "unlinkat"})
"""What programs call to remove a folder depends on the machine."""
AT_REMOVEDIR = 0x200
MARKER = "/tiercel-test-marker/"


@pytest.fixture(scope="module")
def own(opened_detectors):
    return opened_detectors(Requirements(OPENS, frozenset(), frozenset()))


@pytest.fixture
def ticking(call):
    """A process that opens a marker of its own every millisecond, numbered from 0, until it is told to stop. A function
    that stops it and tells how many it opened."""
    report, reporting = os.pipe()
    pid = os.fork()
    if pid == 0:
        number = 0
        ended = []
        signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
        while not ended:
            call("openat", AT_FDCWD, f"{MARKER}{number}", os.O_RDONLY)
            number += 1
            signal.sigtimedwait([], 0.001)
        call("openat", AT_FDCWD, f"{MARKER}end", os.O_RDONLY)
        os.write(reporting, b"%d" % number)
        os._exit(0)
    os.close(reporting)

    def stop():
        os.kill(pid, signal.SIGTERM)
        with os.fdopen(report, "rb") as pipe:
            return int(pipe.read())

    yield stop
    os.waitpid(pid, 0)


def markers(events):
    return [event["fd.name"].removeprefix(MARKER) for event in events if str(event["fd.name"]).startswith(MARKER)]


@pytest.mark.parametrize(
    "others",
    [
        [
            Requirements(frozenset({"openat", "mkdirat"}), frozenset(), frozenset()),
            Requirements(OPENS, frozenset({"proc.name"}), frozenset()),
        ],
        [
            Requirements(OPENS, frozenset({"proc.env", "proc.cwd"}), frozenset()),
            Requirements(OPENS | {"procexit"}, frozenset(), frozenset()),
        ],
    ],
    ids=["the same programs", "other programs"],
)
def test_markers(own, ticking, collect, others):
    def marked(event):
        return str(event["fd.name"]).startswith(MARKER)

    seen = collect(own, marked)
    for requirements in others:
        seen += filter(marked, update(own, requirements))
        seen += collect(own, marked)
    count = ticking()
    seen += collect(own, lambda event: event["fd.name"] == f"{MARKER}end")
    assert not own.counters().lost
    times = collections.Counter(markers(seen))
    first = min(int(marker) for marker in times if marker != "end")
    assert times == collections.Counter([*map(str, range(first, count)), "end"])


def test_other_types_from_then_on(own, collect, call):
    """What the new rules ask for comes, and what only the old ones asked for doesn't."""
    update(own, Requirements(frozenset({"unlinkat"}), frozenset(), frozenset()))
    assert own.counters().system_calls == {"unlinkat"}
    own.poll(0)
    pid = os.fork()
    if pid == 0:
        call("openat", AT_FDCWD, f"{MARKER}late", os.O_RDONLY)
        call("unlinkat", AT_FDCWD, f"{MARKER}first", AT_REMOVEDIR)
        call("unlinkat", AT_FDCWD, f"{MARKER}last", AT_REMOVEDIR)
        os._exit(0)
    os.waitpid(pid, 0)
    events = [
        event
        for event in collect(own, lambda event: event["fs.path.name"] == f"{MARKER}last")
        if event["proc.pid"] == pid
    ]
    assert [event["evt.type"] for event in events] == ["unlinkat", "unlinkat"]


def test_processes_are_known_across_an_update(own, collect):
    """Their images come from exec records, which the old or the new programs may have sent."""
    update(own, Requirements(frozenset({"openat"}), frozenset(), frozenset()))
    ready, start = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(ready, 9)
        os.execv("/bin/sh", ["sh", "-c", "read line <&9; : </etc/hostname", "an argument"])
    update(own, Requirements(frozenset({"openat"}), frozenset({"proc.env"}), frozenset()))
    os.write(start, b"go\n")

    def opens(event):
        return event["proc.pid"] == pid and event["fd.name"] == "/etc/hostname"

    event = next(event for event in collect(own, opens) if opens(event))
    os.waitpid(pid, 0)
    assert (event["proc.exe"], event["proc.args[2]"]) == ("sh", "an argument")
    assert event["proc.exepath"] == os.path.realpath("/bin/sh")


def test_events_go_on_while_programs_are_made(own, collect, monkeypatch):
    """However long that takes: it is up to the loader here."""
    update(own, Requirements(REMOVES, frozenset(), frozenset()))
    made, load = threading.Event(), own._load

    def load_slowly(*rules):
        assert made.wait(60)
        return load(*rules)

    monkeypatch.setattr(own, "_load", load_slowly)
    own.load(Requirements(REMOVES | {"mkdirat"}, frozenset(), frozenset()))
    try:
        subprocess.run(["sh", "-c", f"rmdir {MARKER}meanwhile; :"], check=True, stderr=subprocess.DEVNULL)
        collect(own, lambda event: event["fs.path.name"] == f"{MARKER}meanwhile")
        assert own.is_loading()
    finally:
        made.set()
    own.switch()
    assert own.counters().system_calls == REMOVES | {"mkdirat"}


def test_an_error_that_nobody_foresaw_leaves_the_old_rules(own, collect, monkeypatch):
    update(own, Requirements(REMOVES, frozenset(), frozenset()))

    def tripped(*_):
        raise RecursionError

    monkeypatch.setattr(own, "_load", tripped)
    with pytest.raises(DetectorError, match="unexpected error: RecursionError at"):
        update(own, Requirements(frozenset({"mkdirat"}), frozenset(), frozenset()))
    subprocess.run(["sh", "-c", f"rmdir {MARKER}after; :"], check=True, stderr=subprocess.DEVNULL)
    collect(own, lambda event: event["fs.path.name"] == f"{MARKER}after")


def test_what_is_loaded_when_detection_ends_is_closed(opened_detectors):
    detector = opened_detectors(Requirements(OPENS, frozenset(), frozenset()))
    before = len(os.listdir("/proc/self/fd"))
    detector.load(Requirements(OPENS, frozenset({"proc.name"}), frozenset()))
    detector.close()
    assert len(os.listdir("/proc/self/fd")) < before


def test_closing_twice(opened_detectors):
    detector = opened_detectors(Requirements(OPENS, frozenset(), frozenset()))
    detector.close()
    kept = os.open("/etc/hostname", os.O_RDONLY)  # may get the number of a descriptor that was closed
    detector.close()
    assert os.fstat(kept).st_ino == os.stat("/etc/hostname").st_ino, "the second time closes nothing"
    os.close(kept)


def test_the_agents_own_loading_of_programs_is_no_event(own, collect):
    """Otherwise every change of the rules would raise alerts of rules about programs that load eBPF."""
    update(own, Requirements(frozenset({"bpf", "execve"}), frozenset(), frozenset()))
    own.poll(0)
    update(own, Requirements(frozenset({"bpf", "execve"}), frozenset({"proc.cwd"}), frozenset()))
    seen = [event for event in own.poll(0) if os.getpid() in event["proc.apid"]]
    assert [event["proc.cmdline"] for event in seen] == []
    subprocess.run(["/bin/true", "tc-control"], check=True)
    collect(own, lambda event: event["proc.args"] == "tc-control")  # what others execute is an event
