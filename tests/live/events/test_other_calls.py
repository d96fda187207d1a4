"""Calls that are watched only for rules that name them, and rare ones."""

from __future__ import annotations

import array
import fcntl
import mmap
import os
import socket
import struct
import termios
from pathlib import Path
from typing import Any

import pytest

from tiercel_agent.events.syscalls import BY_NAME
from tiercel_engine.event_types import SYSCALL_EVENT_TYPES
from tiercel_engine.matching.requirements import Requirements

AT_FDCWD = -100
NUMBER = 999
"""A descriptor that nothing else has."""
ASKED = frozenset(
    "read write pread pwrite readv sendfile splice copy_file_range fallocate lseek fcntl ioctl flock stat newfstatat "
    "access faccessat readlinkat mmap mprotect getuid nanosleep kill".split()
)


@pytest.fixture(scope="module")
def detector(elder, opened_detectors):
    """In place of the one that watches the usual calls."""
    return opened_detectors(Requirements(ASKED, frozenset(), frozenset()))


@pytest.fixture(scope="module")
def usual(elder, opened_detectors):
    """Watches the usual calls."""
    return opened_detectors(Requirements(SYSCALL_EVENT_TYPES, frozenset({"proc.cwd"}), frozenset()))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("content of the file")
    return path


def opened(path: Path, flags: int = os.O_RDWR) -> int:
    """A file under that number."""
    descriptor = os.open(path, flags)
    os.dup2(descriptor, NUMBER)
    return NUMBER


def test_none_of_them_is_watched_unless_a_rule_names_it() -> None:
    assert ASKED - {"kill"} == ASKED - SYSCALL_EVENT_TYPES


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("read", (bytes(4), 4), {"evt.rawres": 4, "evt.arg.size": "4", "evt.is_io_read": True}),
        ("write", (b"new", 3), {"evt.rawres": 3, "evt.is_io_write": True, "evt.io_dir": "w"}),
        ("pread", (bytes(4), 4, 2), {"evt.rawres": 4, "evt.category": "io-read"}),
        ("pwrite", (b"x", 1, 2), {"evt.rawres": 1}),
        ("lseek", (5, 0), {"evt.rawres": 5}),
        ("fallocate", (0, 0, 100), {"evt.res": "SUCCESS"}),
        ("fcntl", (fcntl.F_GETFL, 0), {"evt.arg.cmd": "F_GETFL"}),
        ("flock", (fcntl.LOCK_SH | fcntl.LOCK_NB,), {"evt.arg.operation": "LOCK_SH|LOCK_NB"}),
        ("ioctl", (termios.TIOCSTI, b"x"), {"evt.arg.request": "5412", "evt.res": "ENOTTY"}),
    ],
)
def test_on_a_descriptor(run, call, file, name: str, arguments: tuple[Any, ...], expected: dict[str, Any]) -> None:
    event = run(lambda: call(name, opened(file), *arguments)).one(name, {"fd.num": NUMBER})
    assert event["fd.name"] == str(file)
    assert {key: event[key] for key in expected} == expected


def test_from_one_file_to_another(run, call, file, tmp_path):
    target = tmp_path / "target"

    def body():
        out = opened(target, os.O_RDWR | os.O_CREAT)
        call("sendfile", out, os.open(file, os.O_RDONLY), 0, 7)
        return call("copy_file_range", os.open(file, os.O_RDONLY), 0, out, 0, 7, 0)

    done = run(body)
    assert done.one("sendfile", {"fd.num": NUMBER})["fd.name"] == str(target)
    event = done.one("copy_file_range")
    assert event["fd.name"] == str(file)
    assert event["evt.rawarg.fd_out"] == NUMBER


@pytest.mark.parametrize(
    ("name", "before", "behind"),
    [
        ("stat", (), (bytes(256),)),
        ("newfstatat", (AT_FDCWD,), (bytes(256), 0)),
        ("access", (), (os.R_OK,)),
        ("faccessat", (AT_FDCWD,), (os.R_OK,)),
        ("readlinkat", (AT_FDCWD,), (bytes(64), 64)),
    ],
)
def test_looking_at_a_file_by_name(
    run, call, file, name: str, before: tuple[Any, ...], behind: tuple[Any, ...]
) -> None:
    event = run(lambda: call(name, *before, file, *behind)).one(name, {"fs.path.name": str(file)})
    assert event["fs.path.nameraw"] == str(file)
    assert event["evt.category"] == "file"


def test_memory(run, call, file):
    def body():
        with mmap.mmap(opened(file), 10, prot=mmap.PROT_READ) as mapped:
            return bytes(mapped)

    event = run(body).one("mmap", {"fd.num": NUMBER})
    assert event["fd.name"] == str(file)
    assert (event["evt.arg.prot"], event["evt.arg.length"]) == ("PROT_READ", "10")


def test_a_call_of_which_only_the_result_is_told(run, call):
    event = run(lambda: call("getuid")).one("getuid")
    assert (event["evt.rawres"], event["evt.args"]) == (os.getuid(), f"res={os.getuid()}")


class TestRareOnes:
    """The usual detector watches them."""

    @pytest.fixture
    def detector(self, usual):
        return usual

    def test_extended_attributes(self, run, call, file):
        event = run(lambda: call("setxattr", file, b"user.mark", b"value", 5, 0)).one("setxattr")
        assert event["fs.path.name"] == str(file)
        assert event["evt.arg.name"] == "user.mark"
        assert event["fs.path.target"] is None

    def test_descriptors_of_other_processes(self, run, call, file):
        def body():
            pid = os.getpid()
            process = call("pidfd_open", pid, 0)
            return call("pidfd_getfd", process, opened(file), 0)

        done = run(body)
        assert done.one("pidfd_open")["evt.arg.pid"] == str(done.pid)
        event = done.one("pidfd_getfd")
        assert event["fd.name"] == str(file), "the file that was fetched"
        assert event["evt.arg.target_fd"] == str(NUMBER)

    def test_mounts_made_in_steps(self, run, call, tmp_path):
        def body():
            made = call("fsopen", b"tmpfs", 0)
            call("fsconfig", made, 1, b"size", b"4096", 0)
            call("move_mount", -1, b"", AT_FDCWD, tmp_path, 4)

        done = run(body)
        assert done.one("fsopen")["evt.arg.name"] == "tmpfs"
        event = done.one("fsconfig")
        assert (event["evt.arg.cmd"], event["evt.arg.key"]) == ("FSCONFIG_SET_STRING", "size")
        assert event["evt.arg.value"] == "4096"
        assert done.one("move_mount")["fs.path.target"] == str(tmp_path)

    def test_flags_of_clone3(self, run, call):
        arguments = struct.pack("=11Q", 0x10000000 | 0x20000000, 0, 0, 0, 17, *(0,) * 6)  # CLONE_NEWUSER | CLONE_NEWPID

        def body():
            child = call("clone3", arguments, len(arguments))
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
            return child

        done = run(body)  # not on every machine is the child's return one of a call
        done.one("clone3", {"evt.arg.flags": "CLONE_NEWUSER|CLONE_NEWPID", "evt.rawres": done.value})

    def test_pairs_of_sockets(self, run, call):
        event = run(
            lambda: call("socketpair", socket.AF_UNIX, socket.SOCK_STREAM, 0, array.array("i", [0, 0]).tobytes())
        ).one("socketpair")
        assert event["evt.arg.domain"] == "AF_UNIX"

    @pytest.mark.parametrize("name", ["kexec_load", "swapon", "quotactl", "personality", "setgroups", "memfd_secret"])
    def test_calls_on_the_machine_as_a_whole(self, run, call, name: str):
        """With arguments that the kernel refuses, or that change nothing."""
        assert BY_NAME[name]
        arguments = (0xFFFFFFFF,) if name == "personality" else (-1, 0, 0, -1)
        run(lambda: call(name, *arguments)).one(name)
