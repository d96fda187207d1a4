"""Calls that reach into other processes or into the kernel."""

from __future__ import annotations

import ctypes
import os
import signal
import struct

import pytest

PTRACE_TRACEME, PTRACE_ATTACH, PTRACE_DETACH = 0, 16, 17


@pytest.fixture
def victim():
    """A process that waits; its pid."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_ptrace(run, call, victim):
    def body():
        call("ptrace", PTRACE_ATTACH, victim, 0, 0)
        os.waitpid(victim, 0)
        call("ptrace", PTRACE_DETACH, victim, 0, 0)
        call("ptrace", PTRACE_ATTACH, os.getpid(), 0, 0)

    done = run(body)
    event = done.one("ptrace", {"evt.arg.request": "PTRACE_ATTACH", "evt.arg.pid": str(victim)})
    assert event["evt.res"] == "SUCCESS"
    assert done.one("ptrace", {"evt.arg.request": "PTRACE_DETACH"})["evt.rawarg.request"] == 17
    assert done.one("ptrace", {"evt.arg.pid": str(done.pid)})["evt.res"] == "EPERM"


@pytest.mark.parametrize(("name", "result"), [("process_vm_readv", "evt.rawres"), ("process_vm_writev", "evt.rawres")])
def test_memory_of_another_process(run, call, victim, name, result):
    def body():
        here = ctypes.create_string_buffer(b"same content")
        vector = (ctypes.c_uint64 * 2)(ctypes.addressof(here), 12)
        call(name, victim, vector, 1, vector, 1, 0)  # the victim is a copy of this process's parent
        call(name, 77777777, vector, 1, vector, 1, 0)

    done = run(body)
    assert done.one(name, {"evt.arg.pid": str(victim)})["evt.res"] in ("SUCCESS", "EFAULT")
    assert done.one(name, {"evt.arg.pid": "77777777"})["evt.res"] == "ESRCH"


def test_signals(run, call, victim):
    def body():
        call("kill", victim, signal.SIGCONT)
        call("tkill", victim, signal.SIGCONT)
        call("tgkill", victim, victim, signal.SIGCONT)
        call("kill", 77777777, signal.SIGKILL)
        call("kill", -1, 99)
        call("tkill", -1, 1)
        call("tgkill", -1, -1, 1)

    done = run(body)
    event = done.one("kill", {"evt.failed": False})
    assert (event["evt.arg.pid"], event["evt.arg.sig"]) == (str(victim), "SIGCONT")
    event = done.one("kill", {"evt.arg.sig": "SIGKILL"})
    assert (event["evt.res"], event["evt.arg.pid"]) == ("ESRCH", "77777777")
    assert done.one("kill", {"evt.arg.sig": "99"})["evt.arg.pid"] == "-1"
    event = done.one("tkill", {"evt.failed": False})
    assert (event["evt.arg.tid"], event["evt.arg.sig"]) == (str(victim), "SIGCONT")
    event = done.one("tgkill", {"evt.failed": False})
    assert (event["evt.arg.pid"], event["evt.arg.tid"], event["evt.arg.sig"]) == (str(victim), str(victim), "SIGCONT")
    assert done.one("tkill", {"evt.failed": True})["evt.res"] == "EINVAL"
    assert done.one("tgkill", {"evt.failed": True})["evt.res"] == "EINVAL"


def test_signals_with_a_value_and_by_a_descriptor(run, call, victim):
    def info(number):
        return struct.pack("=3i4xiI", number, 0, -1, os.getpid(), os.getuid()).ljust(128, b"\0")  # SI_QUEUE

    def body():
        call("rt_sigqueueinfo", victim, signal.SIGCONT, info(signal.SIGCONT))
        call("rt_tgsigqueueinfo", victim, victim, signal.SIGCONT, info(signal.SIGCONT))
        call("rt_sigqueueinfo", 77777777, signal.SIGKILL, info(signal.SIGKILL))
        call("rt_tgsigqueueinfo", -1, -1, 1, info(1))
        descriptor = os.pidfd_open(victim)
        call("pidfd_send_signal", descriptor, signal.SIGCONT, None, 0)
        call("pidfd_send_signal", 9977, signal.SIGKILL, None, 0)
        return descriptor

    done = run(body)
    event = done.one("rt_sigqueueinfo", {"evt.failed": False})
    assert (event["evt.arg.pid"], event["evt.arg.sig"], event["evt.category"]) == (str(victim), "SIGCONT", "signal")
    assert done.one("rt_sigqueueinfo", {"evt.failed": True})["evt.res"] == "ESRCH"
    event = done.one("rt_tgsigqueueinfo", {"evt.failed": False})
    assert (event["evt.arg.pid"], event["evt.arg.tid"], event["evt.arg.sig"]) == (str(victim), str(victim), "SIGCONT")
    assert done.one("rt_tgsigqueueinfo", {"evt.failed": True})["evt.res"] == "EINVAL"
    event = done.one("pidfd_send_signal", {"evt.failed": False})
    assert (event["evt.arg.fd"], event["evt.arg.sig"]) == (str(done.value), "SIGCONT")
    event = done.one("pidfd_send_signal", {"evt.failed": True})
    assert (event["evt.res"], event["evt.arg.sig"]) == ("EBADF", "SIGKILL")


def test_the_object_that_bpf_asks_for(run, call):
    def body():
        call("bpf", 14, struct.pack("=3I", 4_000_000_000, 0, 0), 12)  # BPF_MAP_GET_FD_BY_ID
        call("bpf", 5, struct.pack("=3I", 1, 0, 0), 12)  # BPF_PROG_LOAD

    done = run(body)
    event = done.one("bpf", {"evt.arg.cmd": "BPF_MAP_GET_FD_BY_ID"})
    assert (event["evt.arg.id"], event["evt.res"], event["fd.num"]) == ("4000000000", "ENOENT", None)
    assert done.one("bpf", {"evt.arg.cmd": "BPF_PROG_LOAD"})["evt.arg.id"] is None


def test_prctl(run, call):
    done = run(lambda: (call("prctl", 38, 1, 0, 0, 0), call("prctl", 38, 7, 0, 0, 0)))
    event = done.one("prctl", {"evt.failed": False})
    assert (event["evt.arg.option"], event["evt.arg.arg2_int"]) == ("PR_SET_NO_NEW_PRIVS", "1")
    assert done.one("prctl", {"evt.failed": True})["evt.res"] == "EINVAL"


def test_kernel_modules(run, call, tmp_path):
    """No module is loaded, since the file isn't one."""
    (tmp_path / "evil.ko").write_bytes(b"no module")

    def body():
        call("init_module", b"no module", 9, b"parameter=1")
        module = os.open(tmp_path / "evil.ko", os.O_RDONLY)
        call("finit_module", module, b"", 2)
        call("finit_module", 9977, b"", 0)
        call("delete_module", b"no_such_module", os.O_NONBLOCK)
        return module

    done = run(body)
    event = done.one("init_module")
    assert event["evt.res"] in ("ENOEXEC", "ENOSYS", "EPERM")
    assert (event["evt.arg.uargs"], event["evt.arg.length"]) == ("parameter=1", "9")
    event = done.one("finit_module", {"evt.arg.fd": str(done.value)})
    assert event["evt.failed"] is True
    assert (event["fd.name"], event["fd.num"]) == (f"{tmp_path}/evil.ko", done.value)
    assert event["evt.arg.flags"] == "MODULE_INIT_IGNORE_VERMAGIC"
    assert done.one("finit_module", {"evt.arg.fd": "9977"})["evt.failed"] is True
    event = done.one("delete_module")
    assert event["evt.res"] in ("ENOENT", "ENOSYS", "EPERM")
    assert event["evt.arg.name"] == "no_such_module"


def test_bpf(run, call):
    def body():
        create = ctypes.create_string_buffer(struct.pack("=5I", 2, 4, 4, 1, 0), 128)  # an array of one
        call("bpf", 0, create, 72)
        call("bpf", 5, None, 0)

    done = run(body)
    event = done.one("bpf", {"evt.arg.cmd": "BPF_MAP_CREATE"})
    assert event["evt.rawres"] >= 0
    assert done.one("bpf", {"evt.arg.cmd": "BPF_PROG_LOAD"})["evt.failed"] is True


def test_perf_event_open(run, call):
    def body():
        software = ctypes.create_string_buffer(struct.pack("=IIQ", 1, 112, 0), 112)  # the CPU's clock
        call("perf_event_open", software, 0, -1, -1, 0)
        call("perf_event_open", None, 5, 3, -1, 0)

    done = run(body)
    event = done.one("perf_event_open", {"evt.arg.pid": "0"})
    assert event["evt.arg.cpu"] == "-1"
    event = done.one("perf_event_open", {"evt.arg.pid": "5"})
    assert (event["evt.arg.cpu"], event["evt.res"]) == ("3", "EFAULT")


def test_userfaultfd(run, call):
    done = run(lambda: (call("userfaultfd", os.O_CLOEXEC), call("userfaultfd", 0x40)))
    event = done.one("userfaultfd", {"evt.failed": False})
    assert (event["evt.res"], event["evt.arg.flags"]) == ("SUCCESS", "O_RDONLY|O_CLOEXEC")
    assert done.one("userfaultfd", {"evt.failed": True})["evt.res"] in ("EINVAL", "EPERM")


def test_seccomp(run, call):
    done = run(lambda: (call("seccomp", 1, 0, None), call("seccomp", 2, 0, b"\x00" * 4)))
    assert done.one("seccomp", {"evt.arg.op": "1"})["evt.res"] == "EFAULT"
    assert done.one("seccomp", {"evt.arg.op": "2"})["evt.failed"] in (True, False)


def test_keyctl(run, call):
    done = run(lambda: (call("keyctl", 0, -4, 1), call("keyctl", 99)))
    assert done.one("keyctl", {"evt.arg.option": "0"})["evt.res"] in ("SUCCESS", "ENOSYS", "EPERM")
    assert done.one("keyctl", {"evt.arg.option": "99"})["evt.failed"] is True


def test_io_uring_setup(run, call):
    parameters = ctypes.create_string_buffer(120)
    done = run(lambda: (call("io_uring_setup", 2, parameters), call("io_uring_setup", 0, parameters)))
    assert done.one("io_uring_setup", {"evt.arg.entries": "2"})["evt.res"] in ("SUCCESS", "EPERM", "ENOSYS")
    assert done.one("io_uring_setup", {"evt.arg.entries": "0"})["evt.failed"] is True
