"""Paths as processes give them, cleaned and resolved."""

from __future__ import annotations

import os
import posixpath
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiercel_agent.context.paths import absolute, clean, resolve_in_root

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
OWN = os.getpid()


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("/", "/"),
        ("//", "/"),
        ("///etc//shadow", "/etc/shadow"),
        ("/etc/./shadow/.", "/etc/shadow"),
        ("/etc/ssl/../shadow", "/etc/shadow"),
        ("/../../etc/shadow", "/etc/shadow"),
        ("/etc/shadow/", "/etc/shadow"),
        ("/etc/..", "/"),
        ("/...", "/..."),
        ("a/../..//b", "../b"),
        ("a/..", "."),
        ("", ""),
        ("/a\n\udcff/../b\x1b", "/b\x1b"),
    ],
)
def test_clean(path: str, cleaned: str) -> None:
    assert clean(path) == cleaned


@given(st.text(st.sampled_from("a./"), max_size=40))
def test_clean_is_what_the_standard_library_says_but_for_two_slashes(path: str) -> None:
    if path:
        assert clean(path) == posixpath.normpath("/" + path.lstrip("/") if path.startswith("/") else path)
    assert clean(clean(path)) == clean(path)


def test_a_relative_path_starts_from_the_working_directory() -> None:
    assert absolute("/srv/www/", "../data/./x") == "/srv/data/x"
    assert absolute("/srv", "/etc/passwd") == "/etc/passwd"
    assert absolute("/", "x") == "/x"
    assert absolute("/srv", "") == "/srv"


def test_links_of_the_directory_are_followed_and_the_last_name_is_not(tmp_path: Path) -> None:
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real/shortcut").symlink_to(tmp_path / "link/sub")
    (tmp_path / "real/sub/last").symlink_to("/etc/shadow")
    given_path = f"{tmp_path}/link/shortcut/last"
    assert resolve_in_root(OWN, given_path) == str(tmp_path / "real/sub/last")


def test_a_name_that_does_not_exist_resolves(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert resolve_in_root(OWN, f"{tmp_path}/link/gone") == str(tmp_path / "gone")


def test_dots_after_a_link_lead_where_the_kernel_goes(tmp_path: Path) -> None:
    (tmp_path / "far/away").mkdir(parents=True)
    (tmp_path / "near").symlink_to("far/away")
    given_path = f"{tmp_path}/near/../x"
    assert clean(given_path) == str(tmp_path / "x")
    assert resolve_in_root(OWN, given_path) == str(tmp_path / "far/x")
    assert resolve_in_root(OWN, f"{tmp_path}/near/..") == str(tmp_path / "far")


@pytest.mark.parametrize("path", ["/x", "//x", "/./x", "/../x"])
def test_names_in_the_root(path: str) -> None:
    assert resolve_in_root(OWN, path) == "/x"


def test_the_root_itself() -> None:
    assert resolve_in_root(OWN, "/") == "/"
    assert resolve_in_root(OWN, "/etc/..") == "/"


@needs_root
def test_inside_a_container_paths_are_the_containers(tmp_path: Path, contained) -> None:
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "up").symlink_to("/../../data")
    (tmp_path / "abs").symlink_to("/data/deep")
    pid = contained(tmp_path).pid
    assert resolve_in_root(pid, "/up/x") == "/data/x"
    assert resolve_in_root(pid, "/abs/../y") == "/data/y"
    assert resolve_in_root(pid, "/etc/shadow") is None


@needs_root
def test_inside_a_chroot_paths_start_at_its_root(tmp_path: Path, contained) -> None:
    (tmp_path / "jail/data").mkdir(parents=True)
    (tmp_path / "jail/link").symlink_to("/data")
    pid = contained(tmp_path, join=contained(tmp_path).pid, directory="/jail").pid
    assert resolve_in_root(pid, "/link/x") == "/data/x"


@needs_root
def test_a_chroot_on_the_host_is_stripped(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    code = "import os, sys; os.chroot(sys.argv[1]); print(flush=True); sys.stdin.read()"
    command = ["python3", "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            assert resolve_in_root(process.pid, "/link/x") == "/data/x"
            assert resolve_in_root(process.pid, "/x") == "/x"
        finally:
            process.kill()


@pytest.mark.parametrize("prefix", ["/proc/self/root", "//proc/./self/root/proc/thread-self/root/"])
def test_the_detour_through_ones_own_root_is_seen_through(prefix: str) -> None:
    assert resolve_in_root(OWN, f"{prefix}/etc/x") == "/etc/x"


@pytest.mark.parametrize("path", ["/proc/self/x", "/proc/1/x", "/proc/self/fd/0", "/proc/self/cwd/x", "/proc/x"])
def test_proc_is_not_resolved(path: str) -> None:
    assert resolve_in_root(OWN, path) is None


@pytest.mark.parametrize("path", ["", "relative", "/no/such/directory/x", "/etc/passwd/x", "/" + "a/" * 3000])
def test_what_cannot_be_resolved(path: str) -> None:
    assert resolve_in_root(OWN, path) is None


def test_a_circle_of_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert resolve_in_root(OWN, f"{tmp_path}/a/x") is None


def test_a_removed_directory(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone").rmdir()
    assert resolve_in_root(OWN, f"{tmp_path}/gone/x") is None


def test_a_fifo_on_the_way_does_not_hold_anybody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert resolve_in_root(OWN, f"{tmp_path}/pipe/x") is None
    assert resolve_in_root(OWN, f"{tmp_path}/pipe") == str(tmp_path / "pipe")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    directory = tmp_path / "bad\udcff\n"
    directory.mkdir()
    (tmp_path / "link").symlink_to(directory)
    assert resolve_in_root(OWN, f"{tmp_path}/link/x") == f"{directory}/x"


def test_a_process_that_is_gone() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert resolve_in_root(process.pid, "/etc/x") is None
