"""Starting, replacing and ending processes."""

from __future__ import annotations

import os
import platform
import signal
import stat
import sys
import threading
from pathlib import Path

import pytest

TRUE = os.path.realpath("/bin/true")
AT_EMPTY_PATH = 0x1000


def argv(*words):
    """A char *[] for a raw execve."""
    import ctypes

    encoded = [word if isinstance(word, bytes) else os.fsencode(word) for word in words]
    return (ctypes.c_char_p * (len(encoded) + 1))(*encoded, None)


def test_execve(run, spawned):
    done = run(lambda: spawned(["/bin/true", "an", "argument"], {"KEY": "value", "OTHER": "x y"}))
    event = done.one("execve")
    assert (event["evt.res"], event["evt.rawres"]) == ("SUCCESS", 0)
    assert event["proc.pid"] != done.pid
    assert event["proc.ppid"] == done.pid
    assert (event["proc.name"], event["proc.exe"], event["proc.exepath"]) == ("true", "/bin/true", TRUE)
    assert (event["proc.cmdline"], event["proc.args"]) == ("true an argument", "an argument")
    assert event["proc.args[1]"] == "argument"
    assert (event["evt.arg.exe"], event["evt.arg.args"]) == ("/bin/true", "an argument")
    assert (event["evt.arg.filename"], event["fs.path.name"]) == ("/bin/true", "/bin/true")
    assert (event["proc.env"], event["proc.env[KEY]"]) == ("KEY=value OTHER=x y", "value")
    assert event["proc.cwd"] == str(Path.cwd()).rstrip("/") + "/"
    assert event["proc.exe_ino"] == Path(TRUE).stat().st_ino
    assert event["proc.is_exe_from_memfd"] is False
    me = Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1]
    assert event["proc.pexe"] == os.fsdecode(me[0])
    assert event["proc.pexepath"] == event["proc.aexepath[1]"] == os.path.realpath(sys.executable)
    assert event["proc.pname"] == event["proc.aname[1]"] == Path("/proc/self/comm").read_text().strip()
    assert event["proc.pcmdline"] == " ".join([event["proc.pname"], *(os.fsdecode(word) for word in me[1:])])


def test_what_an_image_leaves_behind(run, spawned):
    """Every event after an exec has the new image."""
    done = run(lambda: spawned(["/bin/cat", "/etc/hostname"]))
    event = next(event for event in done.all("openat") if event["fd.name"] == "/etc/hostname")
    assert (event["proc.name"], event["proc.cmdline"]) == ("cat", "cat /etc/hostname")
    event = done.one("procexit")
    assert (event["proc.name"], event["evt.arg.status"]) == ("cat", "0")


@pytest.mark.parametrize(
    ("path", "res"), [("/nonexistent/program", "ENOENT"), ("/dev/null", "EACCES"), ("/etc", "EACCES")]
)
def test_failed_exec(run, call, path, res):
    words = argv("name", "first", "second")
    done = run(lambda: call("execve", path, words, argv()))
    event = done.one("execve")
    assert (event["evt.res"], event["evt.failed"]) == (res, True)
    assert (event["evt.arg.filename"], event["fs.path.name"]) == (path, path)
    assert (event["evt.arg.exe"], event["evt.arg.args"]) == ("name", "first second")
    assert event["proc.pid"] == done.pid
    assert event["proc.exepath"] == os.path.realpath(sys.executable)


def test_failed_execveat(run, call):
    done = run(lambda: call("execveat", os.open("/etc", os.O_PATH), "missing", argv("x"), argv(), 0))
    event = done.one("execveat")
    assert (event["evt.res"], event["evt.arg.filename"]) == ("ENOENT", "/etc/missing")


def test_script(run, spawned, tmp_path):
    script = tmp_path / "script.sh"
    script.write_text("#!/bin/sh -e\ntrue\n")
    script.chmod(0o755)
    event = run(lambda: spawned([str(script), "argument"])).one("execve")
    assert (event["proc.name"], event["proc.exepath"]) == ("script.sh", os.path.realpath("/bin/sh"))
    assert event["evt.arg.filename"] == event["fs.path.name"] == str(script)
    assert event["proc.cmdline"] == f"script.sh -e {script} argument"
    assert event["proc.exe"] == "/bin/sh"


def test_relative_program(run, tmp_path, spawned):
    program = tmp_path / "program"
    program.write_bytes(Path(TRUE).read_bytes())
    program.chmod(0o755)
    (tmp_path / "link").symlink_to("program")

    def body():
        os.chdir(tmp_path)
        spawned(["./link"])

    event = run(body).one("execve")
    assert (event["evt.arg.filename"], event["fs.path.nameraw"]) == (f"{tmp_path}/link", "./link")
    assert (event["proc.name"], event["proc.exe"], event["proc.exepath"]) == ("link", "./link", str(program))
    assert event["proc.cwd"] == f"{tmp_path}/"
    assert event["proc.is_exe_writable"] is True
    assert "EXE_WRITABLE" in event["evt.arg.flags"].split("|")


def test_execveat_of_a_memfd(run, call, spawned):
    def body():
        memory = os.memfd_create("evil")
        os.write(memory, Path(TRUE).read_bytes())
        words = argv("kworker", "argument")
        spawned(lambda: call("execveat", memory, "", words, argv(), AT_EMPTY_PATH))

    event = run(body).one("execveat")
    assert (event["evt.res"], event["proc.is_exe_from_memfd"]) == ("SUCCESS", True)
    assert (event["proc.exe"], event["proc.args"], event["proc.exepath"]) == ("kworker", "argument", "memfd:evil")
    assert "EXE_FROM_MEMFD" in event["evt.arg.flags"]


def test_memfd_by_its_path(run, spawned):
    def body():
        memory = os.memfd_create("evil", 0)
        os.write(memory, Path(TRUE).read_bytes())
        spawned([f"/proc/self/fd/{memory}"])

    event = run(body).one("execve")
    assert (event["proc.is_exe_from_memfd"], event["proc.exepath"]) == (True, "memfd:evil")


def test_deleted_program(run, spawned, tmp_path):
    program = tmp_path / "program"
    program.write_bytes(Path(TRUE).read_bytes())
    program.chmod(0o755)

    def body():
        descriptor = os.open(program, os.O_RDONLY)
        os.unlink(program)
        spawned([f"/proc/self/fd/{descriptor}"])

    event = run(body).one("execve")
    assert (event["proc.exepath"], event["proc.is_exe_from_memfd"]) == (str(program), False)


@pytest.mark.parametrize("words", [["x"] * 3000, ["y" * 100_000, "z"]], ids=["3000 words", "100 KB"])
def test_long_command_line(run, spawned, words):
    event = run(lambda: spawned(["/bin/true", *words])).one("execve")
    assert event["proc.exe"] == "/bin/true"
    assert len(event["proc.args"]) > 4000
    assert " ".join(words).startswith(event["proc.args"])


def test_long_command_line_of_a_failed_exec(run, call):
    words = argv("/none", *["x" * 50] * 3000)
    event = run(lambda: call("execve", "/none", words, argv())).one("execve")
    assert event["evt.arg.exe"] == "/none"
    assert event["evt.arg.args"].startswith("x" * 50 + " " + "x" * 50)


def test_no_arguments_at_all(run, call, spawned):
    event = run(lambda: spawned(lambda: call("execve", "/bin/true", argv(), argv()))).one("execve")
    assert (event["evt.res"], event["proc.name"], event["proc.exepath"]) == ("SUCCESS", "true", TRUE)
    assert (event["proc.args"], event["proc.cmdline"], event["proc.env"]) == ("", "true", None)


def test_exec_from_another_thread(run, spawned):
    def body():
        thread = threading.Thread(target=os.execv, args=("/bin/true", ["true", "from a thread"]))
        spawned(lambda: (thread.start(), thread.join()))

    done = run(body)
    event = done.one("execve")
    assert (event["proc.cmdline"], event["proc.ppid"]) == ("true from a thread", done.pid)
    assert (event["thread.ismain"], event["thread.tid"]) == (True, event["proc.pid"])
    assert done.one("procexit")["proc.cmdline"] == "true from a thread"


def test_processes_that_end_at_once(run, compiled):
    """Each has its parent's name and command line, though it may have exited before its event is read."""
    program = compiled(
        """
        #include <unistd.h>
        #include <stdlib.h>
        #include <sys/wait.h>
        int main(int n, char **v) {
            for (int i = 0; i < 200; i++) {
                if (vfork() == 0) { execl("/bin/true", "true", "short", (char *)0); _exit(1); }
                wait(0);
            }
        }"""
    )
    done = run(lambda: os.execv(program, ["parent", "of 200"]))
    events = done.all("execve", {"proc.name": "true"})
    assert len(events) == len({event["proc.pid"] for event in events}) == 200
    for event in events:
        assert (event["proc.cmdline"], event["proc.exepath"]) == ("true short", TRUE)
        assert (event["proc.pname"], event["proc.pexepath"]) == (Path(program).name[:15], program)
        assert event["proc.pcmdline"] == f"{Path(program).name[:15]} of 200"
    # arm64 has no vfork of its own
    vforks = [event for event in [*done.all("vfork"), *done.all("clone")] if event["evt.rawres"] > 0]
    assert len(vforks) == 200
    assert {event["evt.rawres"] for event in vforks} == {event["proc.pid"] for event in events}


def test_clone_and_procexit(run, spawned):
    def body():
        return [spawned(lambda: os._exit(7)), spawned(lambda: os.kill(os.getpid(), signal.SIGKILL))]

    done = run(body)
    assert done.value == [7, -9]
    starts = [event for event in done.all("clone") if event["evt.rawres"] > 0]
    inside = [event for event in done.all("clone") if event["evt.rawres"] == 0]
    if platform.machine() == "x86_64":  # on arm64 a child doesn't come to its parent's call's return
        assert [event["evt.rawres"] for event in starts] == [event["proc.pid"] for event in inside]
    assert all(event["proc.ppid"] == done.pid for event in inside)
    ends = done.all("procexit")
    assert [event["proc.pid"] for event in ends] == [event["evt.rawres"] for event in starts]
    assert [event["evt.rawres"] for event in ends] == [7 << 8, 9]


def test_ways_to_fork(run, call):
    import ctypes

    def body():
        arguments = (ctypes.c_uint64 * 8)(0, 0, 0, 0, signal.SIGCHLD)
        for name, given in (("fork", ()), ("clone3", (arguments, 64)), ("clone", (signal.SIGCHLD, 0, 0, 0, 0))):
            if call(name, *given) == 0:
                os._exit(0)
            os.wait()
        call("clone", 0x10000 | signal.SIGCHLD, 0, 0, 0, 0)
        call("clone3", None, 3)

    done = run(body)
    for name in ("fork", "clone3", "clone"):
        parent, child = (
            done.one(name, {"evt.failed": False, "proc.pid": pid})
            for pid in (done.pid, done.all(name)[0]["evt.rawres"] or done.all(name)[0]["proc.pid"])
        )
        assert parent["evt.rawres"] == child["proc.pid"]
        assert child["evt.rawres"] == 0
        assert child["proc.exepath"] == parent["proc.exepath"] == os.path.realpath(sys.executable)
    event = done.one("clone", {"evt.res": "EINVAL"})
    assert event["evt.arg.flags"] == "CLONE_THREAD"
    assert done.one("clone3", {"evt.failed": True})["evt.res"] == "EINVAL"


def test_process_whose_first_thread_ends_first(run, compiled):
    program = compiled(
        """
        #include <pthread.h>
        #include <fcntl.h>
        #include <unistd.h>
        #include <stdlib.h>
        static pthread_t first;
        static void *rest(void *x) {
            pthread_join(first, 0);
            for (int i = 0; i < 3; i++) open("/etc/hostname", O_RDONLY);
            exit(5);
        }
        int main() { pthread_t t; first = pthread_self(); pthread_create(&t, 0, rest, 0); pthread_exit(0); }"""
    )
    done = run(lambda: os.execv(program, ["leaderless"]))
    events = [event for event in done.all("openat") if event["fd.name"] == "/etc/hostname"]
    assert len(events) == 3
    assert all(event["proc.exe"] == "leaderless" and not event["thread.ismain"] for event in events)
    assert done.one("procexit")["evt.rawres"] == 5 << 8


def test_threads_that_end_together_end_one_process(run, compiled):
    program = compiled(
        """
        #include <pthread.h>
        #include <unistd.h>
        #include <sys/wait.h>
        static void *idle(void *x) { pause(); return 0; }
        int main() {
            for (int i = 0; i < 50; i++) {
                if (fork() == 0) {
                    pthread_t t;
                    for (int k = 0; k < 8; k++) pthread_create(&t, 0, idle, 0);
                    _exit(1);
                }
                wait(0);
            }
        }"""
    )
    done = run(lambda: os.execv(program, ["parent"]))
    ends = done.all("procexit", {"evt.rawres": 1 << 8})
    assert len(ends) == len({event["proc.pid"] for event in ends}) == 50


def test_set_user_id_program(run, spawned, tmp_path):
    program = tmp_path / "program"
    program.write_bytes(Path("/bin/cat").resolve().read_bytes())
    program.chmod(0o4755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o011 != 0o011:
            folder.chmod(folder.stat().st_mode | 0o011)

    def as_nobody():
        os.setresuid(65534, 65534, 65534)
        os.execv(program, ["program", "/etc/hostname"])

    assert program.stat().st_mode & stat.S_ISUID
    event = run(lambda: spawned(as_nobody)).one("execve")
    assert (event["proc.exepath"], event["user.uid"], event["user.name"]) == (str(program), 0, "root")
