"""Calls that open files, and calls on open files."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

import pytest

AT_FDCWD = -100


class OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("content")
    return path


def test_open(run, call, file):
    event = run(lambda: call("open", file, os.O_RDONLY)).one("open")
    assert event["fd.name"] == event["fd.nameraw"] == event["fs.path.name"] == event["evt.abspath"] == str(file)
    assert event["fd.directory"] == str(file.parent)
    assert event["fd.filename"] == "file"
    assert (event["fd.type"], event["fd.typechar"]) == ("file", "f")
    assert event["fd.num"] == event["evt.rawres"] >= 0
    assert event["evt.arg.fd"] == str(event["fd.num"])
    assert event["evt.res"] == "SUCCESS"
    assert event["evt.failed"] is False
    assert event["fd.ino"] == file.stat().st_ino
    assert event["fd.dev.major"] == os.major(file.stat().st_dev)
    assert event["fd.dev.minor"] == os.minor(file.stat().st_dev)
    assert event["evt.arg.name"] == str(file)
    assert event["evt.arg.flags"] == "O_RDONLY"
    assert event["fd.realname"] is None
    assert len(list(event.views())) == 1
    assert (event["evt.dir"], event["evt.category"]) == ("<", "file")


def test_openat_from_a_descriptor(run, call, file):
    def body():
        folder = os.open(file.parent, os.O_RDONLY)
        return folder, call("openat", folder, "file", os.O_WRONLY | os.O_APPEND)

    done = run(body)
    event = done.one("openat", {"evt.arg.dirfd": str(done.value[0])})
    assert event["fd.name"] == str(file)
    assert event["fd.nameraw"] == "file"
    assert event["fd.num"] == done.value[1]
    assert event["evt.arg.flags"] == "O_WRONLY|O_APPEND"
    assert (event["evt.is_open_read"], event["evt.is_open_write"]) == (False, True)


def test_openat2(run, call, file):
    how = OpenHow(os.O_RDWR, 0, 4)
    event = run(lambda: call("openat2", AT_FDCWD, file, how, ctypes.sizeof(how))).one("openat2")
    assert event["fd.name"] == str(file)
    assert event["evt.arg.flags"] == "O_RDWR"
    assert event["evt.arg.resolve"] == "RESOLVE_NO_SYMLINKS"
    assert (event["evt.is_open_read"], event["evt.is_open_write"]) == (True, True)


def test_creat(run, call, tmp_path):
    event = run(lambda: call("creat", tmp_path / "new", 0o755)).one("creat")
    assert event["fd.name"] == str(tmp_path / "new")
    assert event["evt.is_open_write"] is True
    assert event["evt.is_open_create"] is True
    assert event["evt.is_open_exec"] is True
    assert set(event["evt.arg.flags"].split("|")) == {"O_WRONLY", "O_CREAT", "O_TRUNC"}


def test_open_by_handle_at(run, call, file):
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
    mount_id = ctypes.c_int()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.name_to_handle_at(AT_FDCWD, os.fsencode(file), handle, ctypes.byref(mount_id), 0) != 0:
        pytest.skip(f"no file handles in {file.parent}: {os.strerror(ctypes.get_errno())}")

    def body():
        return call("open_by_handle_at", os.open(file.parent, os.O_RDONLY), handle, os.O_RDONLY)

    event = run(body).one("open_by_handle_at")
    assert event["evt.rawres"] == event["fd.num"] >= 0
    assert event["fd.name"] == event["evt.arg.path"] == str(file)
    assert event["evt.is_open_read"] is True


@pytest.mark.parametrize(
    ("flags", "mode", "read", "write", "create", "executable"),
    [
        (os.O_RDONLY, 0, True, False, False, False),
        (os.O_WRONLY, 0, False, True, False, False),
        (os.O_RDWR, 0, True, True, False, False),
        (os.O_WRONLY | os.O_CREAT, 0o644, False, True, False, False),  # it was there
        (os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o711, True, False, True, True),
        (os.O_WRONLY, 0o711, False, True, False, False),  # without O_CREAT the mode means nothing
    ],
)
def test_what_an_open_asks_for(run, call, tmp_path, flags, mode, read, write, create, executable):
    path = tmp_path / "file"
    if not flags & os.O_EXCL:
        path.touch()
    event = run(lambda: call("open", path, flags, mode)).one("open")
    assert event["evt.rawres"] >= 0
    asked = ("evt.is_open_read", "evt.is_open_write", "evt.is_open_create", "evt.is_open_exec")
    assert [event[key] for key in asked] == [read, write, create, executable]


@pytest.mark.parametrize("name", ["open", "creat", "openat", "openat2"])
def test_whether_an_open_makes_the_file(run, call, tmp_path, name):
    path = tmp_path / "file"
    flags = os.O_WRONLY | os.O_CREAT
    how = OpenHow(flags, 0o600, 0)
    arguments = {
        "open": (path, flags, 0o600),
        "creat": (path, 0o600),
        "openat": (AT_FDCWD, path, flags, 0o600),
        "openat2": (AT_FDCWD, path, how, 24),
    }

    def body():
        for _ in range(2):
            call(name, *arguments[name])
        call("open", tmp_path / "missing" / "file", flags, 0o600)

    done = run(body)
    assert [event["evt.is_open_create"] for event in done.all(name, {"fd.name": str(path)})] == [True, False]
    assert done.one("open", {"evt.failed": True})["evt.is_open_create"] is False


@pytest.mark.parametrize("name", ["open", "creat", "openat", "openat2"])
def test_a_failed_open(run, call, tmp_path, name):
    path = tmp_path / "missing" / "file"
    how = OpenHow(os.O_RDONLY, 0, 0)
    arguments = {
        "open": (path, 0),
        "creat": (path, 0),
        "openat": (AT_FDCWD, path, 0),
        "openat2": (AT_FDCWD, path, how, 24),
    }
    event = run(lambda: call(name, *arguments[name])).one(name)
    assert (event["evt.res"], event["evt.rawres"], event["evt.failed"]) == ("ENOENT", -2, True)
    assert event["evt.arg.fd"] == "ENOENT"
    assert event["fd.name"] == str(path)
    assert event["fd.num"] < 0
    assert event["fd.typechar"] == "f"


def test_a_failed_open_by_handle(run, call):
    event = run(lambda: call("open_by_handle_at", -1, None, os.O_RDONLY)).one("open_by_handle_at")
    assert event["evt.failed"] is True
    assert event["fd.num"] < 0


def test_a_refused_open_has_its_resolved_name(run, call, file, tmp_path):
    (tmp_path / "link").symlink_to(".")
    file.chmod(0)
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(0o711) if folder.owner() == "root" and str(folder) != "/tmp" else None

    def body():
        os.setuid(65534)
        return call("open", tmp_path / "link" / "file", os.O_RDONLY)

    event = run(body).one("open")
    assert event["evt.res"] == "EACCES"
    assert event["fd.name"] == f"{tmp_path}/link/file"
    assert event["fd.realname"] == str(file)


def test_a_nameless_file(run, call, tmp_path):
    event = run(lambda: call("open", tmp_path, os.O_TMPFILE | os.O_RDWR, 0o600)).one("open")
    assert event["evt.rawres"] >= 0
    assert event["fd.name"] == str(tmp_path)
    assert (event["fd.type"], event["fd.typechar"]) == ("directory", "d"), "no file has that name"
    assert event["evt.is_open_create"] is True
    assert "O_TMPFILE" in event["evt.arg.flags"].split("|")
    assert event["fd.realname"] is None


def test_a_path_only_open(run, call, file):
    event = run(lambda: call("open", file, os.O_PATH)).one("open")
    assert event["fd.name"] == str(file)
    assert event["evt.arg.flags"] == "O_RDONLY|O_PATH"


def test_folders_and_pipes_by_type(run, call, tmp_path):
    os.mkfifo(tmp_path / "pipe")

    def body():
        call("open", tmp_path, os.O_RDONLY | os.O_DIRECTORY)
        call("open", tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)

    done = run(body)
    assert done.one("open", {"fd.name": str(tmp_path)})["fd.typechar"] == "d"
    assert done.one("open", {"fd.name": str(tmp_path / "pipe")})["fd.typechar"] == "p"


def test_duplicates(run, call, file):
    def body():
        original = os.open(file, os.O_RDONLY)
        call("dup", original)
        call("dup2", original, 900)
        call("dup3", original, 901, os.O_CLOEXEC)
        call("dup2", 9977, 902)
        return original

    done = run(body)
    event = done.one("dup")
    assert event["fd.name"] == str(file)
    assert event["fd.num"] == event["evt.rawres"]
    assert event["evt.arg.oldfd"] == str(done.value)
    event = done.one("dup2", {"evt.rawres": 900})
    assert (event["fd.name"], event["fd.num"], event["evt.arg.newfd"]) == (str(file), 900, "900")
    event = done.one("dup3")
    assert (event["fd.name"], event["fd.num"], event["evt.arg.flags"]) == (str(file), 901, "O_RDONLY|O_CLOEXEC")
    event = done.one("dup2", {"evt.arg.newfd": "902"})
    assert (event["evt.res"], event["fd.name"]) == ("EBADF", None)


def test_close(run, call, file):
    def body():
        descriptor = os.open(file, os.O_RDONLY)
        call("close", descriptor)
        call("close", 9977)
        return descriptor

    done = run(body)
    assert done.one("close", {"evt.arg.fd": str(done.value)})["evt.res"] == "SUCCESS"
    assert done.one("close", {"evt.arg.fd": "9977"})["evt.res"] == "EBADF"


def test_changes_by_descriptor(run, call, file):
    def body():
        descriptor = os.open(file, os.O_RDWR)
        call("fchmod", descriptor, 0o4755)
        call("fchown", descriptor, 0, 0)
        call("ftruncate", descriptor, 3)
        call("ftruncate", 9977, 3)
        return descriptor

    done = run(body)
    event = done.one("fchmod")
    assert (event["fd.name"], event["fd.num"]) == (str(file), done.value)
    assert "S_ISUID" in event["evt.arg.mode"].split("|")
    event = done.one("fchown")
    assert (event["fd.name"], event["evt.arg.uid"], event["evt.arg.gid"]) == (str(file), "root", "root")
    event = done.one("ftruncate", {"fd.num": done.value})
    assert (event["fd.name"], event["evt.arg.length"]) == (str(file), "3")
    assert done.one("ftruncate", {"evt.arg.fd": "9977"})["evt.res"] == "EBADF"


def test_fchdir(run, call, tmp_path):
    done = run(lambda: call("fchdir", os.open(tmp_path, os.O_RDONLY)))
    event = done.one("fchdir")
    assert (event["fd.name"], event["fd.typechar"], event["evt.res"]) == (str(tmp_path), "d", "SUCCESS")
    assert event["proc.cwd"] == f"{tmp_path}/"


def test_memfd_create(run, call):
    def body():
        return call("memfd_create", "a name", 1), call("memfd_create", "x" * 300, 0)

    done = run(body)
    event = done.one("memfd_create", {"evt.arg.name": "a name"})
    assert event["evt.rawres"] == done.value[0] >= 0
    assert event["evt.arg.flags"] == "MFD_CLOEXEC"
    assert done.one("memfd_create", {"evt.arg.name": "x" * 300})["evt.res"] == "EINVAL"
