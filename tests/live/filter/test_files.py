"""The kernel's filter never drops what a rule matches: files whose names lead to other files than before.

Every test first lets the filter learn that something is harmless, until it drops it, and then changes one thing that
makes it an alert.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from live_support.filter_rules import (
    NAME_SIZE,
    open_at,
    repeat,
)


def changed_link(path):
    (path.parent / "tc-secret").touch()
    path.symlink_to("tc-harmless")
    yield
    path.unlink()
    path.symlink_to("tc-secret")


def changed_file(path):
    """A link takes the place of a file, by a rename."""
    path.touch()
    (path.parent / "tc-secret").touch()
    (path.parent / "link").symlink_to("tc-secret")
    yield
    (path.parent / "link").rename(path)


def changed_folder(path):
    """A folder in the path is renamed, and the link to it stays as it is."""
    folder = path.parent / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "file").touch()
    path.symlink_to("now/below/file")
    (path.parent / "now").symlink_to("folder")
    yield
    folder.rename(path.parent / "other")
    (path.parent / "other" / "below").rename(path.parent / "other" / "tc-folder")
    (path.parent / "now").unlink()
    (path.parent / "now").symlink_to("other")
    (path.parent / "other" / "below").symlink_to("tc-folder")


@pytest.mark.parametrize("change", [changed_link, changed_file, changed_folder])
def test_another_file_behind_the_name(pair, tmp_path, change):
    changing = change(tmp_path / "innocent")
    next(changing)

    def body(learn):
        learn(lambda: open_at(tmp_path / "innocent"))
        next(changing, None)
        open_at(tmp_path / "innocent")

    assert sum(pair(body).values()) == 1


def test_a_renamed_folder_of_an_open_descriptor(pair, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()

    def body(learn):
        folder = os.open(tmp_path / "folder", os.O_PATH)
        learn(lambda: open_at("file", folder=folder))
        (tmp_path / "folder").rename(tmp_path / "tc-folder")
        open_at("file", folder=folder)

    assert pair(body) == {"folder": 1}


def test_a_descriptor_of_another_folder(pair, tmp_path):
    for name in ("folder", "tc-folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()

    def body(learn):
        folder = os.open(tmp_path / "folder", os.O_PATH)
        learn(lambda: open_at("file", folder=folder))
        os.dup2(os.open(tmp_path / "tc-folder", os.O_PATH), folder)
        open_at("file", folder=folder)

    assert pair(body) == {"folder": 1}


@pytest.mark.parametrize("existing", [True, False])
def test_the_same_text_joined_otherwise(pair, tmp_path, existing):
    folder = tmp_path / "tc-b"
    folder.mkdir()
    if existing:
        (folder / "tc-c").touch()

    def body(learn):
        os.chdir(folder)
        learn(lambda: open_at("tc-c"))
        os.chdir(tmp_path)
        open_at("tc-b/tc-c")

    assert set(pair(body)) == {"raw"}


@pytest.mark.parametrize("existing", [True, False])
def test_another_working_folder(pair, tmp_path, existing):
    for name in ("folder", "tc-folder"):
        (tmp_path / name).mkdir()
        if existing:
            (tmp_path / name / "file").touch()

    def body(learn):
        os.chdir(tmp_path / "folder")
        learn(lambda: open_at("file"))
        os.chdir(tmp_path / "tc-folder")
        open_at("file")

    assert pair(body) == {"folder": 1}


def test_another_root(pair, tmp_path, call):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (tmp_path / "root" / "folder").mkdir(parents=True)
    (tmp_path / "root" / "folder" / "file").symlink_to("tc-secret")
    (tmp_path / "root" / "folder" / "tc-secret").touch()

    def body(learn):
        above = os.open("/", os.O_RDONLY)
        os.chroot(tmp_path)
        os.fchdir(above)
        learn(lambda: open_at("/folder/file"))
        os.chroot(f".{tmp_path}/root")
        open_at("/folder/file")
        os.chroot(".")

    assert pair(body) == {"secret": 1}


@pytest.mark.parametrize("length", [8, 31, 32, 60])
@pytest.mark.parametrize("above", [0, 1, 3])
def test_the_same_text_and_the_same_file_by_another_name(pair, tmp_path, above, length):
    """The kernel's objects stay the same; only their names change."""
    folders = [f"{level}".ljust(length, "x") for level in range(3)]
    file = tmp_path.joinpath(*folders, "file".ljust(length, "x"))
    file.parent.mkdir(parents=True)
    file.touch()
    renamed = [file, *file.parents][above]
    secret = renamed.with_name("tc-folder" if above else "tc-secret")

    def body(learn):
        text = f"/proc/self/fd/{os.open(file, os.O_RDONLY)}"
        learn(lambda: open_at(text))
        renamed.rename(secret)
        open_at(text)
        secret.rename(renamed)
        open_at(text)

    assert set(pair(body)) == ({"folder"} if above == 1 else {"secret"} if above == 0 else set())


def test_a_mount_that_is_moved(pair, tmp_path, call):
    for name in ("mounted", "place", "tc-folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "mounted" / "file").touch()
    bind, move, private = 4096, 8192, 1 << 18 | 1 << 14

    def body(learn):
        if call("unshare", 0x20000) < 0:  # CLONE_NEWNS
            pytest.skip("no mount namespaces")
        call("mount", b"none", b"/", None, private, None)
        assert call("mount", tmp_path / "mounted", tmp_path / "place", None, bind, None) == 0
        text = f"/proc/self/fd/{os.open(tmp_path / 'place' / 'file', os.O_RDONLY)}"
        learn(lambda: open_at(text))
        assert call("mount", tmp_path / "place", tmp_path / "tc-folder", None, move, None) == 0
        open_at(text)

    assert pair(body) == {"folder": 1}


def test_two_links_to_one_file(pair, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "tc-secret").hardlink_to(tmp_path / "file")

    def body(learn):
        learn(lambda: open_at(tmp_path / "file"))
        open_at(tmp_path / "tc-secret")

    assert pair(body) == {"secret": 1}


@pytest.mark.parametrize("length", [100, 255, *range(NAME_SIZE - 8, NAME_SIZE + 6)])
def test_long_names_with_one_beginning(pair, tmp_path, length, monkeypatch):
    """Absolute and relative paths of about the length up to which the filter reads paths."""
    short = Path("/tmp", f"tc{os.getpid()}")
    folder = short / ("d" * (length // 2 + 7 - len(str(short))))  # about half: a name has 255 bytes at most
    folder.mkdir(parents=True)
    try:
        good, bad = (str(folder / "tc-long").ljust(length - 4, "x") + end for end in ("good", "xbad"))
        for path in (good, bad):
            Path(path).touch()

        def body(learn):
            os.chdir(folder)
            both = lambda: (open_at(good), open_at(os.path.basename(good)))  # noqa: E731
            if length < NAME_SIZE - 1:  # as long a text may have been cut
                learn(both)
            else:
                repeat(both)
            for path in (bad, os.path.basename(bad)):
                open_at(path)

        assert pair(body) == {"long": 2}
    finally:
        shutil.rmtree(short)


def test_a_path_of_4000_bytes(pair, tmp_path):
    deep = tmp_path
    for _ in range(15):
        deep = deep / ("d" * 240)
        deep.mkdir()
    (deep / "file").touch()
    (deep / "tc-secret").touch()

    def body(learn):
        repeat(lambda: open_at(deep / "file"))
        os.chdir(deep)
        repeat(lambda: open_at("file"))
        open_at(deep / "tc-secret")
        open_at("tc-secret")

    assert pair(body) == {"secret": 2}
    shutil.rmtree(tmp_path / ("d" * 240))
