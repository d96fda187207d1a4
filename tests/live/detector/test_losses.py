"""When the reader falls behind: what is lost is counted, and detection goes on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import pytest
from live_support.filter_rules import AT_FDCWD

from tiercel_agent.kernel.loading import libbpf, program_set
from tiercel_agent.loss import Loss
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.resources.node_agent import LossCause

SKIPPED = Loss(LossCause.CALLS_SKIPPED)


def lost_by(detector, cause):
    return sum(count for loss, count in detector.counters().lost.items() if loss.cause is cause)


@pytest.fixture
def own(opened_detectors):
    detector = opened_detectors(
        Requirements(frozenset({"openat", "execve"}), frozenset({"proc.cwd", "proc.env"}), frozenset())
    )
    yield detector
    detector.close()  # each test starts with empty rings


def open_once(call, path):
    pid = os.fork()
    if pid == 0:
        call("openat", AT_FDCWD, path, os.O_RDONLY)
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_flood_of_calls(own, call, collect):
    own.poll(0)
    assert not own.counters().lost
    stop, stopping = os.pipe()
    os.set_blocking(stop, False)
    flood = os.fork()
    if flood == 0:
        name = "/" + "x" * 200 + "/missing"
        done = 0
        while not done:
            for _ in range(1000):
                call("openat", AT_FDCWD, name, os.O_RDONLY)
            with suppress(BlockingIOError):
                done = len(os.read(stop, 1))
        call("openat", AT_FDCWD, "/flood-end", os.O_RDONLY)
        os._exit(0)
    while not lost_by(own, LossCause.CALL_BUFFER_FULL):
        os.sched_yield()
    os.write(stopping, b"x")
    os.waitpid(flood, 0)
    lost = lost_by(own, LossCause.CALL_BUFFER_FULL)
    waiting = []
    while batch := own.poll(0):
        waiting += batch
    assert len([event for event in waiting if event["proc.pid"] == flood]) > 1000
    assert lost_by(own, LossCause.CALL_BUFFER_FULL) >= lost > 0
    pid = open_once(call, "/after/the/flood")
    events = collect(own, lambda event: event["fd.name"] == "/after/the/flood")
    assert [event["proc.pid"] for event in events if event["fd.name"] == "/after/the/flood"] == [pid]


def test_start_that_was_lost(own, compiled, collect):
    """A process whose exec found no room is known by its next call, though it has ended when that is read."""
    program = compiled(
        """
        #include <fcntl.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static char *nothing[] = {0};
        static void start(char *program, char *name, char *one, char *two) {
            char *arguments[] = {name, one, two, 0};
            if (vfork() == 0) { execve(program, arguments, nothing); _exit(1); }
            wait(0);
        }
        int main(int n, char **v) {
            if (n == 3) {
                int pid = getpid();
                write(atoi(v[1]), &pid, sizeof(pid));
                read(atoi(v[1]), &pid, 1);
                usleep(20000);   /* it isn't tried again sooner */
                open("/after/the/loss", O_RDONLY);
                return 0;
            }
            if (n == 2)
                return 0;
            char *argument = calloc(4001, 1);
            memset(argument, 'x', 4000);
            for (int i = 0; i < 1000; i++)  /* until not even the shortest record fits */
                start(v[0], "x", i < 700 ? argument : "", 0);
            start(v[0], "lost", v[1], v[2]);
        }""",
        "-static",
    )
    own.poll(0)
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    text = "in the flood " * 20
    with subprocess.Popen([program, str(theirs.fileno()), text, "parent"], close_fds=False) as parent:
        pid = int.from_bytes(ours.recv(4), sys.byteorder)
        assert lost_by(own, LossCause.PROCESS_BUFFER_FULL) > 300
        while own.poll(0):
            pass
        ours.send(b"x")
    events = collect(own, lambda event: event["fd.name"] == "/after/the/loss")
    event = next(event for event in events if event["fd.name"] == "/after/the/loss")
    assert (event["proc.exe"], event["proc.exepath"]) == ("lost", program)
    assert event["proc.args"] == f"{theirs.fileno()} {text}"
    assert (event["proc.pid"], event["proc.ppid"]) == (pid, parent.pid)
    assert not [event for event in events if event["evt.type"] == "execve" and event["proc.pid"] == pid]


def test_record_that_trips_the_reader(own, call, collect, monkeypatch):
    def trip(*_):
        raise RuntimeError("a record that nobody foresaw")

    with monkeypatch.context() as patch:
        patch.setattr("tiercel_agent.detection.intake.SyscallRecord", trip)
        open_once(call, "/lost/in/reading")
        while not own.counters().lost:
            assert own.poll(0) == []
    assert list(own.counters().lost) == [Loss(LossCause.UNREADABLE_RECORD)]
    pid = open_once(call, "/read/again")
    events = collect(own, lambda event: event["fd.name"] == "/read/again")
    assert [event["proc.pid"] for event in events if event["fd.name"] == "/read/again"] == [pid]


def test_calls_that_the_kernel_skips_are_lost(own, monkeypatch):
    """The kernel's count is real. Only its growth, which no test can bring about on most kernels, is made up."""
    real = libbpf.program_statistics
    assert real(own._watch.programs._loaded.programs["on_return"]).skipped == own.counters().lost.get(SKIPPED, 0)
    monkeypatch.setattr(program_set, "program_statistics", lambda fd: replace(real(fd), skipped=real(fd).skipped + 3))
    assert own.counters().lost[SKIPPED] >= 3
    assert own.counters().lost[Loss(LossCause.PROCESSES_SKIPPED)] >= 3
