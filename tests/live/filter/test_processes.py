"""The kernel's filter never drops what a rule matches: processes that change.

Every test first lets the filter learn that something is harmless, until it drops it, and then changes one thing that
makes it an alert.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from live_support.filter_rules import (
    CONTAINER,
    LIBC,
    in_child,
    open_at,
    rename_process,
)

from tiercel_agent.context.cgroups import mount_point

CLONE_NEWUSER = 0x10000000
PR_SET_CHILD_SUBREAPER = 36


def test_what_is_harmless_is_dropped_and_raises_nothing(pair, file):
    assert not pair(lambda learn: learn(lambda: open_at(file)))


def renamed_by_prctl():
    rename_process("tc-bad")


def renamed_through_proc():
    Path("/proc/self/comm").write_text("tc-bad")


def renamed_by_another_thread():
    thread = threading.Thread(target=lambda: Path(f"/proc/self/task/{os.getpid()}/comm").write_text("tc-bad"))
    thread.start()
    thread.join()


@pytest.mark.parametrize("rename", [renamed_by_prctl, renamed_through_proc, renamed_by_another_thread])
def test_a_process_that_renames_itself(pair, file, rename):
    def body(learn):
        learn(lambda: open_at(file))
        rename()
        open_at(file)

    assert pair(body) == {"process": 1}


@pytest.mark.parametrize("generations", [1, 2])
def test_an_ancestor_that_renames_itself(pair, file, generations):
    def body(learn):
        ready, go = os.pipe(), os.pipe()

        def child():
            if generations == 2:
                in_child(work)
            else:
                work()

        def work():
            learn(lambda: open_at(file))
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            open_at(file)

        pid = os.fork()
        if pid == 0:
            child()
            os._exit(0)
        os.read(ready[0], 1)
        rename_process("tc-bad")
        os.write(go[1], b"x")
        os.waitpid(pid, 0)

    assert pair(body) == {"parent" if generations == 1 else "grandparent": 1}


def test_an_ancestor_that_executes(pair, file):
    def body(learn):
        ready, go = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            learn(lambda: open_at(file))
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            open_at(file)
            open_at(learn.end)
            os._exit(0)
        os.read(ready[0], 1)
        os.dup2(go[1], 1)
        os.execv("/bin/sh", ["tc-exec", "-c", "printf x; sleep 600"])

    assert pair(body) == {"parents executable": 1}


@pytest.mark.parametrize("memory", [1 << 12, 1 << 30], ids=["at once", "slowly"])
def test_a_parent_that_ends(pair, file, memory):
    """Its children get another parent only at the end of its exit, after it has given back its memory."""

    def body(learn):
        rename_process("tc-reaper")
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
        ready = os.pipe()
        if os.fork() == 0:
            rename_process("tc-mother")
            mother = os.getpid()
            if os.fork() == 0:
                learn(lambda: open_at(file))
                os.write(ready[1], b"x")
                while os.getppid() == mother:
                    open_at(file)
                    time.sleep(0.0005)  # or the ring would run full
                open_at(file)
                open_at(learn.end)
                signal.pause()
            held = mmap.mmap(-1, memory, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
            os.read(ready[0], 1)
            os._exit(len(held) & 1)
        signal.pause()

    # Once, or twice if the loop saw it late: it may get its other parent between the looks of two programs at a call.
    assert set(pair(body, how_often=False)) == {"adopted"}


def test_execution(pair, file):
    def body(learn):
        learn(lambda: open_at(file))
        os.execv("/bin/sh", ["tc-exec", "-c", f"true <{file}; true <{learn.end}"])

    assert pair(body) == {"executable": 1}


def test_a_child_is_not_its_parent(pair, file):
    def body(learn):
        learn(lambda: open_at(file))

        def child():
            rename_process("tc-bad")
            open_at(file)
            in_child(lambda: (rename_process("tc-good"), open_at(file)))

        in_child(child)

    assert pair(body) == {"process": 1, "parent": 1}


@pytest.mark.parametrize("name", ["setuid", "setresuid", "setreuid"])
def test_another_user(pair, file, call, name):
    def body(learn):
        learn(lambda: open_at(file))
        call(name, 12345, 12345, 12345)
        open_at(file)

    assert pair(body) == {"user": 1}


def test_another_user_in_one_thread(pair, file, call):
    def body(learn):
        learn(lambda: open_at(file))

        def other():
            call("setresuid", 12345, 12345, 12345)
            open_at(file)
            turn.set()

        turn = threading.Event()
        thread = threading.Thread(target=other)
        thread.start()
        turn.wait()
        thread.join()
        open_at(file)

    assert pair(body) == {"user": 1}


def test_another_thread_has_another_user(pair, file, call):
    def body(learn):
        def other():
            call("setresuid", 12345, 12345, 12345)
            ready.set()
            go.wait()
            open_at(file)

        ready, go = threading.Event(), threading.Event()
        thread = threading.Thread(target=other)
        thread.start()
        ready.wait()
        learn(lambda: open_at(file))
        go.set()
        thread.join()

    assert pair(body) == {"user": 1}


def test_learned_in_a_thread_with_another_user(pair, file, call):
    """What was learned from one thread isn't used for another one with other credentials."""

    def body(learn):
        def other():
            call("setresuid", 1234, 1234, 1234)
            learn(lambda: open_at(file))
            done.set()
            go.wait()

        done, go = threading.Event(), threading.Event()
        thread = threading.Thread(target=other)
        thread.start()
        done.wait()
        call("setresuid", 12345, 12345, 12345)
        open_at(file)
        go.set()
        thread.join()

    assert pair(body) == {"user": 1}


def test_capabilities_given_up(pair, file, call):
    def body(learn):
        learn(lambda: open_at(file))
        header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert call("capset", header, data) == 0
        open_at(file)

    assert pair(body) == {"weak": 1}


def test_a_user_namespace_of_ones_own(pair, file, call):
    def body(learn):
        call("setresgid", 54321, 54321, 54321)
        call("setresuid", 54321, 54321, 54321)
        learn(lambda: open_at(file))
        if call("unshare", CLONE_NEWUSER) < 0:
            pytest.skip("no user namespaces")
        open_at(file)

    assert pair(body) == {"strong": 1}


def test_moved_into_a_container(pair, file):
    root = mount_point()
    group = Path(root or "/", "docker", CONTAINER)
    try:
        group.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"no cgroups: {error}")

    def body(learn):
        learn(lambda: open_at(file))
        Path(group, "cgroup.procs").write_text(str(os.getpid()))
        open_at(file)
        Path(root, "cgroup.procs").write_text(str(os.getpid()))
        learn(lambda: open_at(file))

    try:
        assert pair(body) == {"container": 1}
    finally:
        with suppress(OSError):
            group.rmdir()
            group.parent.rmdir()


def test_a_pid_used_again(pair, file):
    def body(learn):
        pid = os.fork()
        if pid == 0:
            learn(lambda: open_at(file))
            os._exit(0)
        os.waitpid(pid, 0)
        try:
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        except OSError:
            pytest.skip("pids can't be chosen")
        second = os.fork()
        if second == 0:
            rename_process("tc-bad")
            open_at(file)
            os._exit(0)
        os.waitpid(second, 0)
        if second != pid:
            pytest.skip("the pid went to another process")

    assert pair(body) == {"process": 1}
