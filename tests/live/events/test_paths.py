"""The two names of a file: as given, and as the kernel resolved it."""

from __future__ import annotations

import os

import pytest

from tiercel_engine.uncertain import Ending

AT_FDCWD = -100
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_BIND = 4096
MS_PRIVATE_REC = 1 << 18 | 16384


def names(event):
    """The views of an event, under each of which rules are evaluated."""
    return [view["fd.name"] for view in event.views()]


def test_symbolic_link(run, call, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "secret").touch()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "innocent").symlink_to("folder/secret")
    event = run(lambda: call("open", tmp_path / "innocent", os.O_RDONLY)).one("open")
    assert event["fd.name"] == f"{tmp_path}/innocent"
    assert event["fd.realname"] == event["fs.path.realname"] == f"{tmp_path}/real/secret"
    assert names(event) == [f"{tmp_path}/innocent", f"{tmp_path}/real/secret"]
    resolved = list(event.views())[1]
    assert (resolved["fd.directory"], resolved["fd.filename"]) == (f"{tmp_path}/real", "secret")
    assert resolved["fs.path.name"] == f"{tmp_path}/real/secret"
    assert resolved["fd.nameraw"] == f"{tmp_path}/innocent"


def test_dangling_link(run, call, tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    event = run(lambda: call("open", tmp_path / "link", os.O_RDONLY)).one("open")
    assert (event["evt.res"], event["fd.name"]) == ("ENOENT", f"{tmp_path}/link")


def test_creation_through_a_dangling_link(run, call, tmp_path):
    (tmp_path / "link").symlink_to("made")
    event = run(lambda: call("open", tmp_path / "link", os.O_WRONLY | os.O_CREAT, 0o600)).one("open")
    assert names(event) == [f"{tmp_path}/link", f"{tmp_path}/made"]


@pytest.mark.parametrize(
    ("folder", "given", "absolute"),
    [
        ("a/b", "file", "a/b/file"),
        ("a/b", "./file", "a/b/file"),
        ("a/b", "../b//./file", "a/b/file"),
        ("a", "b/file", "a/b/file"),
        ("a/b", "../../a/b/file", "a/b/file"),
    ],
)
def test_relative_path(run, call, tmp_path, folder, given, absolute):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()

    def body():
        os.chdir(tmp_path / folder)
        call("open", given, os.O_RDONLY)

    event = run(body).one("open")
    assert (event["fd.nameraw"], event["fd.name"]) == (given, f"{tmp_path}/{absolute}")
    assert event["fd.realname"] is None
    assert event["proc.cwd"] == f"{tmp_path}/{folder}/"


def test_dots_behind_a_link(run, call, tmp_path):
    """`link/..` is the parent of what the link leads to, whatever its text says."""
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "far" / "file").touch()
    (tmp_path / "link").symlink_to("far/away")
    event = run(lambda: call("open", tmp_path / "link/../file", os.O_RDONLY)).one("open")
    assert names(event) == [f"{tmp_path}/file", f"{tmp_path}/far/file"]


def test_dots_above_the_root(run, call):
    event = run(lambda: call("open", "/../../etc/./../etc//hostname", os.O_RDONLY)).one("open")
    assert event["fd.name"] == "/etc/hostname"
    assert event["fd.nameraw"] == "/../../etc/./../etc//hostname"


@pytest.mark.parametrize(
    "given", ["/proc/self/cwd/file", "/proc/self/root%s/file", "/dev/fd/9", "/proc/thread-self/fd/9"]
)
def test_links_of_proc(run, call, tmp_path, given):
    (tmp_path / "file").touch()
    given = given.replace("%s", str(tmp_path))

    def body():
        os.chdir(tmp_path)
        os.dup2(os.open("file", os.O_RDONLY), 9)
        call("open", given, os.O_RDONLY)

    event = run(body).one("open", {"fd.nameraw": given})
    assert names(event) == [given, f"{tmp_path}/file"]


def test_folder_descriptor_behind_a_link(run, call, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "link").symlink_to("real")

    def body():
        call("openat", os.open(tmp_path / "link", os.O_RDONLY), "file", os.O_RDONLY)

    event = run(body).one("openat", {"fd.nameraw": "file"})
    assert names(event) == [f"{tmp_path}/real/file"]


def test_absolute_path_ignores_the_descriptor(run, call, tmp_path):
    event = run(lambda: call("openat", 9977, "/etc/hostname", os.O_RDONLY)).one("openat")
    assert (event["evt.arg.dirfd"], event["fd.name"]) == ("9977", "/etc/hostname")


def test_bad_folder_descriptor(run, call):
    event = run(lambda: call("openat", 9977, "file", os.O_RDONLY)).one("openat")
    assert (event["evt.res"], event["fd.name"]) == ("EBADF", "file")


def test_unreadable_path(run, call):
    event = run(lambda: call("open", 1, os.O_RDONLY)).one("open")
    assert (event["evt.res"], event["fd.name"]) == ("EFAULT", None)


def test_deleted_file(run, call, tmp_path):
    (tmp_path / "file").touch()

    def body():
        descriptor = os.open(tmp_path / "file", os.O_RDWR)
        os.unlink(tmp_path / "file")
        call("fchmod", descriptor, 0o600)
        call("open", f"/proc/self/fd/{descriptor}", os.O_RDONLY)

    done = run(body)
    assert done.one("fchmod")["fd.name"] == f"{tmp_path}/file"
    assert names(done.one("open"))[1] == f"{tmp_path}/file"


def test_deleted_working_folder(run, call, tmp_path):
    (tmp_path / "gone").mkdir()

    def body():
        os.chdir(tmp_path / "gone")
        os.rmdir(tmp_path / "gone")
        call("open", "file", os.O_WRONLY | os.O_CREAT)

    event = run(body).one("open")
    assert (event["evt.res"], event["fd.name"]) == ("ENOENT", f"{tmp_path}/gone/file")


def test_bind_mount(run, call, tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "file").touch()
    (tmp_path / "to").mkdir()

    def body():
        os.dup2(os.open(tmp_path / "from", os.O_RDONLY), 50)
        call("unshare", CLONE_NEWNS)
        call("mount", None, "/", None, MS_PRIVATE_REC, None)
        assert call("mount", tmp_path / "from", tmp_path / "to", None, MS_BIND, None) == 0
        call("open", tmp_path / "to" / "file", os.O_RDONLY)
        call("openat", 50, "file", os.O_RDONLY)
        os.chdir(tmp_path / "to")
        call("open", "file", os.O_WRONLY)

    done = run(body)
    assert names(done.one("open", {"evt.is_open_read": True})) == [f"{tmp_path}/to/file"]
    assert names(done.one("openat", {"evt.arg.dirfd": "50"})) == [f"{tmp_path}/from/file"]
    assert names(done.one("open", {"fd.nameraw": "file"})) == [f"{tmp_path}/to/file"]


def test_mounts_upon_mounts(run, call, tmp_path):
    """Mounts that cover one another at the same place, as deep as the path."""
    (tmp_path / "a").mkdir()

    def body():
        call("unshare", CLONE_NEWNS)
        call("mount", None, "/", None, MS_PRIVATE_REC, None)
        for _ in range(3):
            assert call("mount", "none", tmp_path / "a", "tmpfs", 0, None) == 0
        call("creat", tmp_path / "a" / "file", 0o600)

    assert names(run(body).one("creat")) == [f"{tmp_path}/a/file"]


def test_chrooted_process(run, call, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "secret").touch()
    (tmp_path / "link").symlink_to("/etc/secret")

    def body():
        outside = os.open("/etc", os.O_RDONLY)
        os.chroot(tmp_path)
        os.chdir("/")
        call("open", "etc/secret", os.O_RDONLY)
        call("open", "/link", os.O_RDONLY)
        call("openat", outside, "hostname", os.O_RDONLY)
        return outside

    done = run(body)
    assert names(done.one("open", {"fd.nameraw": "etc/secret"})) == ["/etc/secret"]
    assert names(done.one("open", {"fd.nameraw": "/link"})) == ["/link", "/etc/secret"]
    # what lies outside of the root has the name that the machine gives it
    assert names(done.one("openat", {"evt.arg.dirfd": str(done.value)})) == ["/etc/hostname"]


def deep(levels, component="d"):
    """Makes folders in one another from the working folder and goes down to the last one."""
    for _ in range(levels):
        os.mkdir(component)
        os.chdir(component)


@pytest.mark.parametrize("levels", [30, 200])
def test_nested_folders(run, call, tmp_path, levels):
    def body():
        os.chdir(tmp_path)
        deep(levels)
        call("creat", "file", 0o600)
        os.symlink("file", "link")
        call("open", "link", os.O_RDONLY)

    done = run(body)
    bottom = str(tmp_path) + "/d" * levels
    assert names(done.one("creat")) == [f"{bottom}/file"]
    event = done.one("open", {"fd.nameraw": "link"})
    assert names(event) == [f"{bottom}/link", f"{bottom}/file"]
    assert event["proc.cwd"] == f"{bottom}/"


def test_path_that_no_record_can_hold(run, call, tmp_path):
    """Below folders of more than 4095 bytes, the end of the name is known, and that it is only the end. It never looks
    as if it began at /."""

    def body():
        os.chdir(tmp_path)
        deep(25, "n" * 200)
        call("fchmod", call("creat", "file", 0o600), 0o700)
        call("unlink", "file")
        call("open", "missing", os.O_RDONLY)

    def is_end(name, last):
        return isinstance(name, Ending) and name.startswith("nnn") and name.endswith(f"nnn{last}")

    done = run(body)
    created = done.one("creat")
    assert all(is_end(name, "/file") for name in names(created))
    assert is_end(created["fd.directory"], "")
    assert is_end(created["proc.cwd"], "/")
    assert (created["fd.filename"], created["fd.nameraw"], type(created["fd.filename"])) == ("file", "file", str)
    assert "file name" in created["tiercel.uncertain"].split(", ")
    assert is_end(done.one("fchmod")["fd.name"], "/file")
    assert is_end(done.one("unlink")["fs.path.name"], "/file")
    assert is_end(done.one("open")["fd.name"], "/missing")


@pytest.mark.parametrize("length", [4000, 4094, 4095])
def test_long_path(run, call, tmp_path, length):
    """The longest path that the kernel takes has 4095 bytes."""
    path = str(tmp_path) + "/." * ((length - len(str(tmp_path)) - 6) // 2)
    path += "/" * (length - len(path) - 5) + "/file"
    assert len(path) == length
    event = run(lambda: call("creat", path, 0o600)).one("creat")
    assert event["evt.res"] == "SUCCESS"
    assert (event["fd.name"], event["fd.nameraw"]) == (f"{tmp_path}/file", path)


def test_path_that_is_too_long(run, call):
    event = run(lambda: call("open", "/" + "x" * 5000, os.O_RDONLY)).one("open")
    assert event["evt.res"] == "ENAMETOOLONG"
    assert event["fd.name"].startswith("/xxx")


def test_names_resolved_for_calls_without_a_descriptor(run, call, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "link").symlink_to("real")

    def body():
        call("chmod", tmp_path / "link" / "file", 0o600)
        call("rename", tmp_path / "link" / "file", tmp_path / "link" / "new")
        call("mkdir", tmp_path / "link" / "folder", 0o700)

    done = run(body)
    event = done.one("chmod")
    assert (event["fs.path.name"], event["fs.path.realname"]) == (f"{tmp_path}/link/file", f"{tmp_path}/real/file")
    assert [view["fs.path.name"] for view in event.views()] == [f"{tmp_path}/link/file", f"{tmp_path}/real/file"]
    event = done.one("rename")
    assert (event["fs.path.source"], event["fs.path.realsource"]) == (f"{tmp_path}/link/file", f"{tmp_path}/real/file")
    assert (event["fs.path.target"], event["fs.path.realtarget"]) == (f"{tmp_path}/link/new", f"{tmp_path}/real/new")
    assert done.one("mkdir")["fs.path.realname"] == f"{tmp_path}/real/folder"


def test_calls_that_follow_the_last_link(run, call, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")

    def body():
        call("chmod", tmp_path / "link", 0o4755)
        call("truncate", tmp_path / "link", 0)
        call("lchown", tmp_path / "link", 0, 0)

    done = run(body)
    assert done.one("chmod")["fs.path.realname"] == f"{tmp_path}/file"
    assert done.one("truncate")["fs.path.realname"] == f"{tmp_path}/file"
    assert done.one("lchown")["fs.path.realname"] is None


def test_refused_open_through_a_link(run, call, tmp_path):
    (tmp_path / "link").symlink_to("/etc/shadow")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o001)

    def body():
        os.setuid(65534)
        call("open", tmp_path / "link", os.O_RDONLY)

    event = run(body).one("open")
    assert event["evt.res"] == "EACCES"
    assert names(event) == [f"{tmp_path}/link", "/etc/shadow"]


def test_overlay_layers(run, call, tmp_path):
    for folder in ("lower", "upper", "work", "merged"):
        (tmp_path / folder).mkdir()
    (tmp_path / "lower" / "old").touch()

    def body():
        call("unshare", CLONE_NEWNS)
        call("mount", None, "/", None, MS_PRIVATE_REC, None)
        if call("mount", "none", tmp_path, "tmpfs", 0, None) == 0:  # overlays don't stack on every file system
            for folder in ("lower", "upper", "work", "merged"):
                os.mkdir(tmp_path / folder)
            os.close(os.open(tmp_path / "lower" / "old", os.O_CREAT))
        options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
        if call("mount", "none", tmp_path / "merged", "overlay", 0, options) != 0:
            pytest.skip("no overlay file system here")
        call("open", tmp_path / "merged" / "old", os.O_RDONLY)
        call("creat", tmp_path / "merged" / "new", 0o700)

    done = run(body)
    old, new = done.one("open", {"fd.name": f"{tmp_path}/merged/old"}), done.one("creat")
    assert (old["fd.is_lower_layer"], old["fd.is_upper_layer"]) == (True, False)
    assert (new["fd.is_lower_layer"], new["fd.is_upper_layer"]) == (False, True)
    assert names(new) == [f"{tmp_path}/merged/new"]
