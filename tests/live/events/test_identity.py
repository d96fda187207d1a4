"""Users, groups, capabilities, namespaces."""

from __future__ import annotations

import ctypes
import os
import pwd
import struct
from pathlib import Path

import pytest

from tiercel_agent.context.cgroups import mount_point, parse_membership

AT_FDCWD = -100

CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET = 0x10000000, 0x20000, 0x40000000
PR_SET_DUMPABLE = 4
NOBODY = 65534


@pytest.mark.parametrize(
    ("name", "arguments", "shown"),
    [
        ("setuid", (NOBODY,), {"evt.arg.uid": "nobody"}),
        ("setreuid", (-1, NOBODY), {"evt.arg.ruid": "-1", "evt.arg.euid": "nobody"}),
        ("setresuid", (1, NOBODY, 2), {"evt.arg.ruid": "daemon", "evt.arg.euid": "nobody", "evt.arg.suid": "bin"}),
    ],
)
def test_change_of_user(run, call, name, arguments, shown):
    def body():
        call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)
        call(name, *arguments)
        call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)
        call(name, *[0 for _ in arguments])

    if pwd.getpwuid(NOBODY).pw_name != "nobody" or (pwd.getpwuid(1).pw_name, pwd.getpwuid(2).pw_name) != (
        "daemon",
        "bin",
    ):
        pytest.skip("other users than usual")
    done = run(body)
    before, after = done.all("openat", {"fd.name": "/etc/hostname"})
    assert (before["user.uid"], before["user.name"]) == (0, "root")
    assert (after["user.uid"], after["user.name"]) == (NOBODY, "nobody")
    assert after["user.homedir"] == pwd.getpwuid(NOBODY).pw_dir
    event = done.all(name)[0]
    assert (event["evt.res"], event["user.uid"]) == ("SUCCESS", NOBODY)
    for key, value in shown.items():
        assert event[key] == value


def test_user_that_may_not_change(run, call):
    def body():
        os.setresuid(NOBODY, NOBODY, NOBODY)
        for name, count in (
            ("setuid", 1),
            ("setreuid", 2),
            ("setresuid", 3),
            ("setgid", 1),
            ("setregid", 2),
            ("setresgid", 3),
        ):
            call(name, *[1] * count)

    done = run(body)
    for name in ("setuid", "setreuid", "setgid", "setregid", "setresgid"):
        event = done.one(name)
        assert (event["evt.res"], event["user.name"]) == ("EPERM", "nobody")
    assert done.one("setresuid", {"evt.failed": True})["evt.res"] == "EPERM"


@pytest.mark.parametrize(("name", "count"), [("setgid", 1), ("setregid", 2), ("setresgid", 3)])
def test_change_of_group(run, call, name, count):
    def body():
        call(name, *[4242] * count)
        call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)

    done = run(body)
    event = done.one(name)
    assert (event["evt.res"], event["evt.arg[1]"]) == ("SUCCESS", "4242")
    event = done.one("openat", {"fd.name": "/etc/hostname"})
    assert (event["group.gid"], event["group.name"], event["user.uid"]) == (4242, None, 0)


def test_user_and_group_of_files(run, call):
    done = run(lambda: (call("setfsuid", NOBODY), call("setfsgid", 4242)))
    event = done.one("setfsuid")
    assert (event["evt.arg.uid"], event["evt.rawres"]) == ("nobody", 0)
    assert done.one("setfsgid")["evt.arg.gid"] == "4242"


def test_unknown_user(run, call):
    def body():
        os.setuid(123456)
        call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)

    event = run(body).one("openat", {"fd.name": "/etc/hostname"})
    assert (event["user.uid"], event["user.name"]) == (123456, None)


def test_login_user(run, call):
    event = run(lambda: call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)).one(
        "openat", {"fd.name": "/etc/hostname"}
    )
    try:
        number = int(Path("/proc/self/loginuid").read_text())
    except OSError:
        number = 0xFFFFFFFF
    assert event["user.loginuid"] == (-1 if number == 0xFFFFFFFF else number)


def test_capabilities(run, call):
    def body():
        call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)
        header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0), 8)
        keep = 1 << 5 | 1 << 21  # KILL, SYS_ADMIN
        data = ctypes.create_string_buffer(struct.pack("=6I", 1 << 5, keep, 0, 0, 0, 0), 24)
        call("capset", header, data)
        call("openat", AT_FDCWD, "/etc/hosts", os.O_RDONLY)
        call("capset", None, data)

    done = run(body)
    before = done.one("openat", {"fd.name": "/etc/hostname"})
    assert "CAP_SYS_ADMIN" in before["thread.cap_effective"].split()
    after = done.one("openat", {"fd.name": "/etc/hosts"})
    assert (after["thread.cap_effective"], after["thread.cap_permitted"]) == ("CAP_KILL", "CAP_KILL CAP_SYS_ADMIN")
    assert after["thread.cap_inheritable"] == ""
    assert done.one("capset", {"evt.failed": False})["thread.cap_effective"] == "CAP_KILL"
    assert done.one("capset", {"evt.failed": True})["evt.res"] == "EFAULT"


def test_loss_of_capabilities_with_the_user(run, call):
    def body():
        os.setuid(NOBODY)
        call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)

    event = run(body).one("openat", {"fd.name": "/etc/hostname"})
    assert (event["thread.cap_effective"], event["thread.cap_permitted"]) == ("", "")


def test_unshare(run, call):
    done = run(lambda: (call("unshare", CLONE_NEWNS | CLONE_NEWNET), call("unshare", 1)))
    event = done.one("unshare", {"evt.failed": False})
    assert set(event["evt.arg.flags"].split("|")) == {"CLONE_NEWNS", "CLONE_NEWNET"}
    assert done.one("unshare", {"evt.failed": True})["evt.res"] == "EINVAL"


def test_setns(run, call):
    def body():
        ours = os.open("/proc/self/ns/net", os.O_RDONLY)
        call("setns", ours, CLONE_NEWNET)
        call("setns", 9977, 0)
        return ours

    done = run(body)
    event = done.one("setns", {"evt.failed": False})
    assert (event["fd.num"], event["evt.arg.nstype"]) == (done.value, "CLONE_NEWNET")
    assert done.one("setns", {"evt.failed": True})["evt.res"] == "EBADF"


def test_user_namespace(run, call):
    """Root of a user namespace is reported as the host's user, with capabilities over the namespace only."""

    def body():
        os.setresuid(NOBODY, NOBODY, NOBODY)
        if call("unshare", CLONE_NEWUSER) != 0:
            pytest.skip("no user namespaces for users")
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        Path("/proc/self/uid_map").write_text(f"0 {NOBODY} 1")
        assert os.geteuid() == 0
        call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)

    event = run(body).one("openat", {"fd.name": "/etc/hostname"})
    assert (event["user.uid"], event["user.name"]) == (NOBODY, "nobody")
    assert "CAP_SYS_ADMIN" in event["thread.cap_effective"].split()


def test_container_by_its_control_group(run, call):
    root = mount_point()
    if root is None:
        pytest.skip("no version 2 control groups")
    if parse_membership(Path("/proc/self/cgroup").read_text()).container():
        pytest.skip("the tests run in a container")
    identity = os.urandom(32).hex()
    # One that isn't the root: of processes in that, the container is looked up later.
    outside, group = Path(root, "tiercel-test-outside"), Path(root, f"docker-{identity}.scope")
    try:
        outside.mkdir(exist_ok=True)
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control groups can be made: {error}")

    def body():
        home = Path(root, parse_membership(Path("/proc/self/cgroup").read_text()).unified.strip("/"))
        (outside / "cgroup.procs").write_text(str(os.getpid()))
        call("openat", AT_FDCWD, "/etc/hostname", os.O_RDONLY)
        (group / "cgroup.procs").write_text(str(os.getpid()))
        call("openat", AT_FDCWD, "/etc/hosts", os.O_RDONLY)
        (home / "cgroup.procs").write_text(str(os.getpid()))

    try:
        done = run(body)
        event = done.one("openat", {"fd.name": "/etc/hostname"})
        assert (event["container.id"], event["container.name"]) == ("host", "host")
        event = done.one("openat", {"fd.name": "/etc/hosts"})
        assert (event["container.id"], event["container.full_id"], event["container.type"]) == (
            f"unknown:{identity[:12]}",  # no runtime has such a container
            f"unknown:{identity}",
            "docker",
        )
    finally:
        group.rmdir()
        outside.rmdir()
