"""Calls that change the tree of files by name: made, removed, renamed, linked, mounted."""

from __future__ import annotations

import os
import stat

import pytest

AT_FDCWD = -100
MS_BIND = 4096
MS_PRIVATE_REC = 1 << 18 | 16384
CLONE_NEWNS = 0x20000

# call, its arguments with %s for the path, the fields that a rule reads
BY_PATH = [
    ("unlink", ("%s/file",), {"fs.path.name": "%s/file", "evt.arg.path": "%s/file"}),
    (
        "unlinkat",
        (AT_FDCWD, "%s/file", 0),
        {"fs.path.name": "%s/file", "evt.arg.name": "%s/file", "evt.arg.flags": "0"},
    ),
    ("unlinkat", (AT_FDCWD, "%s/folder", 0x200), {"fs.path.name": "%s/folder", "evt.arg.flags": "AT_REMOVEDIR"}),
    ("rmdir", ("%s/folder",), {"fs.path.name": "%s/folder", "evt.arg.path": "%s/folder"}),
    ("mkdir", ("%s/new", 0o700), {"fs.path.name": "%s/new", "evt.arg.mode": "S_IXUSR|S_IWUSR|S_IRUSR"}),
    ("mkdirat", (AT_FDCWD, "%s/new", 0o1), {"fs.path.name": "%s/new", "evt.arg.mode": "S_IXOTH"}),
    ("mknod", ("%s/new", stat.S_IFIFO | 0o600, 0), {"fs.path.name": "%s/new"}),
    ("mknodat", (AT_FDCWD, "%s/new", stat.S_IFIFO | 0o600, 0), {"fs.path.name": "%s/new"}),
    ("chmod", ("%s/file", 0o4001), {"fs.path.name": "%s/file", "evt.arg.mode": "S_IXOTH|S_ISUID"}),
    ("fchmodat", (AT_FDCWD, "%s/file", 0o2001), {"fs.path.name": "%s/file", "evt.arg.mode": "S_IXOTH|S_ISGID"}),
    ("chown", ("%s/file", 0, 0), {"fs.path.name": "%s/file", "evt.arg.uid": "root", "evt.arg.gid": "root"}),
    ("lchown", ("%s/file", 0, 0), {"fs.path.name": "%s/file", "evt.arg.uid": "root", "evt.arg.gid": "root"}),
    ("fchownat", (AT_FDCWD, "%s/file", 0, 0, 0), {"fs.path.name": "%s/file", "evt.arg.uid": "root"}),
    ("truncate", ("%s/file", 5), {"fs.path.name": "%s/file", "evt.arg.length": "5"}),
    ("chdir", ("%s/folder",), {"fs.path.name": "%s/folder", "proc.cwd": "%s/folder/"}),
    ("rename", ("%s/file", "%s/new"), {"fs.path.source": "%s/file", "fs.path.target": "%s/new"}),
    (
        "renameat",
        (AT_FDCWD, "%s/file", AT_FDCWD, "%s/new"),
        {"fs.path.source": "%s/file", "fs.path.target": "%s/new", "evt.arg.newpath": "%s/new"},
    ),
    (
        "renameat2",
        (AT_FDCWD, "%s/file", AT_FDCWD, "%s/new", 1),
        {"fs.path.source": "%s/file", "fs.path.target": "%s/new", "evt.arg.flags": "RENAME_NOREPLACE"},
    ),
    ("link", ("%s/file", "%s/new"), {"fs.path.target": "%s/file", "evt.arg.newpath": "%s/new"}),
    (
        "linkat",
        (AT_FDCWD, "%s/file", AT_FDCWD, "%s/new", 0x400),
        {"evt.arg.oldpath": "%s/file", "fs.path.source": "%s/new", "evt.arg.flags": "AT_SYMLINK_FOLLOW"},
    ),
    (
        "symlink",
        ("../x/file", "%s/new"),
        {"evt.arg.target": "../x/file", "evt.arg.linkpath": "%s/new", "fs.path.source": "%s/new"},
    ),
    ("symlinkat", ("/etc/shadow", AT_FDCWD, "%s/new"), {"evt.arg.target": "/etc/shadow", "evt.arg.linkpath": "%s/new"}),
]


@pytest.mark.parametrize(
    ("name", "arguments", "fields"), BY_PATH, ids=lambda value: value if isinstance(value, str) else ""
)
def test_call_by_path(run, call, tmp_path, name, arguments, fields):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    filled = [
        argument.replace("%s", str(tmp_path)) if isinstance(argument, str) else argument for argument in arguments
    ]
    event = run(lambda: call(name, *filled)).one(name)
    assert (event["evt.res"], event["evt.rawres"]) == ("SUCCESS", 0)
    for key, value in fields.items():
        assert event[key] == value.replace("%s", str(tmp_path)), key
    assert len(list(event.views())) == 1


@pytest.mark.parametrize(("name", "arguments"), [case[:2] for case in BY_PATH], ids=str)
def test_failed_call_by_path(run, call, tmp_path, name, arguments):
    gone = f"{tmp_path}/missing"
    filled = [argument.replace("%s", gone) if isinstance(argument, str) else argument for argument in arguments]
    event = run(lambda: call(name, *filled)).one(name)
    assert (event["evt.res"], event["evt.rawres"]) == ("ENOENT", -2)
    shown = event["fs.path.name"] or event["evt.abspath.dst"]
    assert shown.startswith(f"{gone}/")


def test_names_from_descriptors(run, call, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "file").touch()

    def body():
        old, new = (os.open(tmp_path / folder, os.O_RDONLY) for folder in "ab")
        call("linkat", old, "file", new, "linked", 0)
        call("renameat", old, "file", new, "moved")
        call("unlinkat", new, "./moved", 0)
        call("symlinkat", "moved", new, "symbolic")

    done = run(body)
    event = done.one("linkat")
    assert (event["fs.path.source"], event["fs.path.target"]) == (f"{tmp_path}/b/linked", f"{tmp_path}/a/file")
    assert (event["fs.path.sourceraw"], event["fs.path.targetraw"]) == ("linked", "file")
    assert (event["evt.abspath.src"], event["evt.abspath.dst"]) == (f"{tmp_path}/a/file", f"{tmp_path}/b/linked")
    event = done.one("renameat")
    assert (event["fs.path.source"], event["fs.path.target"]) == (f"{tmp_path}/a/file", f"{tmp_path}/b/moved")
    assert (event["fs.path.sourceraw"], event["fs.path.targetraw"]) == ("file", "moved")
    event = done.one("unlinkat")
    assert (event["fs.path.name"], event["fs.path.nameraw"]) == (f"{tmp_path}/b/moved", "./moved")
    event = done.one("symlinkat")
    assert (event["fs.path.source"], event["fs.path.target"]) == (f"{tmp_path}/b/symbolic", f"{tmp_path}/b/moved")


def test_mounts(run, call, tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()

    def body():
        call("unshare", CLONE_NEWNS)
        call("mount", None, "/", None, MS_PRIVATE_REC, None)
        call("mount", tmp_path / "from", tmp_path / "to", None, MS_BIND, None)
        call("umount2", tmp_path / "to", 2)
        call("umount2", tmp_path / "to", 0)
        call("mount", "none", tmp_path / "missing", "tmpfs", 0, None)

    done = run(body)
    event = done.one("mount", {"evt.arg.dev": str(tmp_path / "from")})
    assert (event["evt.res"], event["evt.arg.dir"], event["evt.arg.flags"]) == ("SUCCESS", f"{tmp_path}/to", "BIND")
    event = done.one("umount2", {"evt.arg.flags": "DETACH"})
    assert (event["evt.res"], event["fs.path.name"]) == ("SUCCESS", f"{tmp_path}/to")
    assert done.one("umount2", {"evt.arg.flags": "0"})["evt.res"] == "EINVAL"
    event = done.one("mount", {"evt.arg.dev": "none"})
    assert (event["evt.res"], event["fs.path.name"]) == ("ENOENT", f"{tmp_path}/missing")


def test_chroot(run, call, tmp_path):
    (tmp_path / "inside").touch()

    def body():
        call("chroot", tmp_path / "missing")
        call("chroot", tmp_path)
        call("open", "/inside", os.O_RDONLY)

    done = run(body)
    assert done.one("chroot", {"evt.res": "ENOENT"})["fs.path.name"] == f"{tmp_path}/missing"
    assert done.one("chroot", {"evt.res": "SUCCESS"})["evt.arg.path"] == str(tmp_path)
    event = done.one("open")
    assert (event["fd.name"], event["fd.realname"], event["evt.res"]) == ("/inside", None, "SUCCESS")


def test_pivot_root(run, call, tmp_path):
    (tmp_path / "inside").touch()
    (tmp_path / "old").mkdir()

    def body():
        call("pivot_root", tmp_path / "missing", tmp_path / "old")
        call("unshare", CLONE_NEWNS)
        call("mount", None, "/", None, MS_PRIVATE_REC, None)
        call("mount", tmp_path, tmp_path, None, MS_BIND, None)
        call("pivot_root", tmp_path, tmp_path / "old")
        os.chdir("/")
        call("open", "inside", os.O_RDONLY)
        call("open", f"/old{tmp_path}/inside", os.O_RDONLY)

    done = run(body)
    assert done.one("pivot_root", {"evt.res": "ENOENT"})["evt.arg.new_root"] == f"{tmp_path}/missing"
    event = done.one("pivot_root", {"evt.res": "SUCCESS"})
    assert (event["evt.arg.new_root"], event["evt.arg.put_old"]) == (str(tmp_path), f"{tmp_path}/old")
    assert done.one("open", {"fd.nameraw": "inside"})["fd.name"] == "/inside"
    assert done.one("open", {"fd.name": f"/old{tmp_path}/inside"})["fd.realname"] is None
