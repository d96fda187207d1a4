"""Ancestors, threads, groups, sessions, names of processes."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from pathlib import Path

import pytest

from tiercel_engine.uncertain import UNKNOWN

PR_SET_NAME = 15
AT_FDCWD = -100


def fork(then):
    """Runs a function in a child and waits for it."""
    pid = os.fork()
    if pid == 0:
        then()
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_double_fork(run, call):
    done = run(lambda: fork(lambda: fork(lambda: call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY))))
    event = done.one("openat", {"fd.name": "/etc/hostname"})
    middle = done.value
    assert event["proc.apid"][:3] == [middle, done.pid, os.getpid()]
    assert (event["proc.ppid"], event["proc.apid[2]"]) == (middle, done.pid)
    mine = os.path.realpath(sys.executable)
    assert [event[f"proc.aexepath[{index}]"] for index in (0, 1, 2, 3)] == [mine] * 4
    assert event["proc.aname[2]"] == event["proc.name"]


def descend(call, generations):
    """Makes a process of so many generations, each with a name of its own; the last one opens a file."""
    libc = ctypes.CDLL(None)

    def generation(number):
        libc.prctl(PR_SET_NAME, f"generation {number}".encode(), 0, 0, 0)
        if number == generations:
            call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)
        else:
            fork(lambda: generation(number + 1))

    return lambda: generation(0)


def test_many_generations(run, call):
    """Nobody hides behind a number of ancestors."""
    event = run(descend(call, 30)).one("openat", {"fd.name": "/etc/hostname"})
    assert event["proc.name"] == "generation 30"
    assert event["proc.pname"] == "generation 29"
    assert event["proc.aname"][:30] == [f"generation {number}" for number in range(29, -1, -1)]
    assert event["proc.apid[31]"] == os.getpid()
    assert event["proc.aname[9]"] == "generation 21"
    assert event["proc.acmdline[30]"].startswith("generation 0 ")
    assert event["proc.apid"][-1] == 1


def test_more_generations_than_a_record_takes(run, call):
    """Whatever is asked of the others may be true of them."""
    event = run(descend(call, 70)).one("openat", {"fd.name": "/etc/hostname"})
    assert event["proc.aname"][:64] == [f"generation {number}" for number in range(69, 5, -1)]
    assert event["proc.aname"][64] is UNKNOWN
    assert event["proc.aname[65]"] is UNKNOWN
    assert "ancestors" in event["tiercel.uncertain"]


def test_orphan(run, call):
    """Once the parent is gone, the kernel's new parent is the parent."""

    def body():
        started, start = os.pipe()

        def orphan():
            father = os.getppid()
            os.write(start, b"x")
            while os.getppid() == father:
                os.sched_yield()
            call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)
            os.write(start, b"%d" % os.getppid())
            os._exit(0)

        def parent():
            if os.fork() == 0:
                orphan()
            os.read(started, 1)

        call("prctl", 36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans come to this process
        fork(parent)
        adopter = int(os.read(started, 20))
        os.wait()
        return adopter

    done = run(body)
    event = done.one("openat", {"fd.name": "/etc/hostname"})
    assert event["proc.ppid"] == done.value == done.pid
    assert event["proc.apid[2]"] == os.getpid()


def test_ten_threads_at_once(run, call, tmp_path):
    def body():
        barrier = threading.Barrier(10)

        def work(number):
            barrier.wait()
            call("openat", AT_FDCWD, tmp_path / f"of thread {number}", os.O_RDONLY | os.O_CREAT)
            return threading.get_native_id()

        threads = [
            threading.Thread(target=lambda number=number: ids.update({number: work(number)})) for number in range(10)
        ]
        ids: dict[int, int] = {}
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ids

    done = run(body)
    events = [event for event in done.all("openat") if str(event["fd.name"]).startswith(str(tmp_path))]
    assert len(events) == 10
    assert {event["fd.name"]: event["thread.tid"] for event in events} == {
        f"{tmp_path}/of thread {number}": tid for number, tid in done.value.items()
    }
    assert {event["proc.pid"] for event in events} == {done.pid}
    assert not any(event["thread.ismain"] for event in events)


def test_process_that_renames_itself(run, call):
    def body():
        call("prctl", PR_SET_NAME, b"kworker/0:1", 0, 0, 0)
        call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)

    done = run(body)
    assert done.one("prctl")["evt.arg.option"] == "PR_SET_NAME"
    event = done.one("openat", {"fd.name": "/etc/hostname"})
    assert event["proc.name"] == "kworker/0:1"
    assert event["proc.exepath"] == os.path.realpath(sys.executable)
    assert event["proc.exe"] == os.fsdecode(Path("/proc/self/cmdline").read_bytes().split(b"\0")[0])


def test_thread_that_renames_itself(run, call):
    """A rule's proc.name is the process's, whatever its threads are called."""

    def body():
        def work():
            call("prctl", PR_SET_NAME, b"another", 0, 0, 0)
            call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    done = run(body)
    assert done.one("openat", {"fd.name": "/etc/hostname"})["proc.name"] == Path("/proc/self/comm").read_text().strip()


def test_process_that_overwrites_its_command_line(run, compiled):
    program = compiled(
        """
        #include <string.h>
        #include <fcntl.h>
        int main(int n, char **v) {
            for (int i = 0; i < n; i++) memset(v[i], 'x', strlen(v[i]));
            open("/etc/hostname", O_RDONLY);
        }"""
    )
    done = run(lambda: os.execv(program, ["truth", "of the matter"]))
    event = next(event for event in done.all("openat") if event["fd.name"] == "/etc/hostname")
    assert (event["proc.exe"], event["proc.args"]) == ("truth", "of the matter")


def test_session_and_groups(run, call):
    def leader():
        call("prctl", PR_SET_NAME, b"the leader", 0, 0, 0)
        call("setsid")
        call("setsid")
        fork(lambda: (call("setpgid", 0, 0), call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)))
        call("setpgid", 77777777, 0)

    done = run(lambda: fork(leader))
    assert done.one("setsid", {"evt.failed": True})["evt.res"] == "EPERM"
    event = done.one("setsid", {"evt.failed": False})
    assert event["evt.rawres"] == event["proc.sid"] == event["proc.pgid"] == done.value
    assert (event["proc.is_sid_leader"], event["proc.is_pgid_leader"], event["proc.tty"]) == (True, True, 0)
    assert done.one("setpgid", {"evt.arg.pid": "77777777"})["evt.res"] == "ESRCH"
    assert done.one("setpgid", {"evt.arg.pid": "0"})["evt.res"] == "SUCCESS"
    event = done.one("openat", {"fd.name": "/etc/hostname"})
    assert (event["proc.sid"], event["proc.is_sid_leader"]) == (done.value, False)
    assert (event["proc.pgid"], event["proc.is_pgid_leader"], event["proc.is_vpgid_leader"]) == (
        event["proc.pid"],
        True,
        True,
    )
    assert event["proc.pname"] == "the leader"


def test_session_name(run, spawned):
    done = run(lambda: fork(lambda: (os.setsid(), os.execv("/bin/sh", ["sh", "-c", "cat /etc/hostname; true"]))))
    event = done.one("execve", {"proc.name": "cat"})
    assert (event["proc.sname"], event["proc.sid"]) == ("sh", done.value)
    assert event["proc.sid.exepath"] == os.path.realpath("/bin/sh")
    assert event["proc.loginshellid"] is not None


def test_terminal(run, call):
    def body():
        _ours, theirs = os.openpty()

        def child():
            os.setsid()
            os.close(os.open(os.ttyname(theirs), os.O_RDWR))  # becomes the session's
            call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)

        fork(child)
        return os.fstat(theirs).st_rdev

    done = run(body)
    event = done.one("openat", {"fd.name": "/etc/hostname"})
    assert event["proc.tty"] == done.value != 0


def test_process_that_was_there_before(elder, detector, collect):
    """It started before the detector, but it is known what it executes and who started it."""
    elder.stdin.write(b"/etc/hostname\n")

    def opens(event):
        return event["proc.pid"] == elder.pid and event["fd.name"] == "/etc/hostname"

    event = next(event for event in collect(detector, opens) if opens(event))
    assert event["proc.exepath"] == os.path.realpath(sys.executable)
    assert event["proc.cmdline"].endswith(" an elder")
    assert event["proc.args[2]"] == "an elder"
    assert event["proc.ppid"] == os.getpid()
    assert event["proc.pexepath"] == os.path.realpath(sys.executable)
    assert event["proc.env[PATH]"] == os.environ["PATH"]


def test_numbers_inside_a_pid_namespace(run, call):
    CLONE_NEWPID = 0x20000000

    def body():
        if call("unshare", CLONE_NEWPID) != 0:
            pytest.skip("no PID namespaces")
        return fork(lambda: call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY))

    done = run(body)
    assert done.one("unshare")["evt.arg.flags"] == "CLONE_NEWPID"
    event = done.one("openat", {"fd.name": "/etc/hostname"})
    assert (event["proc.pid"], event["proc.vpid"], event["thread.vtid"]) == (done.value, 1, 1)
    assert event["proc.ppid"] == done.pid
