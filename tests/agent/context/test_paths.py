"""Paths as processes give them, cleaned and resolved."""

from __future__ import annotations

import os
import posixpath
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from agent_support.file_server import file_server
from agent_support.waiting import eventually
from hypothesis import given
from hypothesis import strategies as st

from tiercel_agent.context import paths
from tiercel_agent.context.paths import Mates, absolute, clean, resolve_from_cache, resolve_in_root
from tiercel_agent.context.rootfs import CACHED, directory, namespace, open_in_root, process_directory, start_of
from tiercel_agent.lookups.lookups import Lookups

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
OWN = os.getpid()
Resolve = Callable[..., str | None]


@pytest.fixture(params=[resolve_in_root, resolve_from_cache])
def resolve(request: pytest.FixtureRequest) -> Resolve:
    """Both ways to resolve a path. They find the same, once links have been followed since they were made."""
    if request.param is resolve_in_root:
        return resolve_in_root
    needs_cached()

    def resolve(pid: int, path: str, *, follow: bool = False) -> str | None:
        expected: str | None = None

        def is_found() -> bool:
            nonlocal expected
            expected = resolve_in_root(pid, path, follow=follow)  # a link is in the cache once it was followed
            return resolve_from_cache(pid, path, follow=follow) == expected

        eventually(is_found)
        return expected

    return resolve


def needs_cached() -> None:
    with directory("/") as root_fd:
        try:
            os.close(open_in_root(root_fd, "/", os.O_PATH, CACHED))
        except OSError as error:
            pytest.skip(f"this kernel can't resolve from its cache alone: {error.strerror}")


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


def test_links_of_the_directory_are_followed_and_the_last_name_is_not(resolve: Resolve, tmp_path: Path) -> None:
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real/shortcut").symlink_to(tmp_path / "link/sub")
    (tmp_path / "real/sub/last").symlink_to("/etc/shadow")
    given_path = f"{tmp_path}/link/shortcut/last"
    assert resolve(OWN, given_path) == str(tmp_path / "real/sub/last")


def test_a_name_that_does_not_exist_resolves(resolve: Resolve, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert resolve(OWN, f"{tmp_path}/link/gone") == str(tmp_path / "gone")


def test_dots_after_a_link_lead_where_the_kernel_goes(resolve: Resolve, tmp_path: Path) -> None:
    (tmp_path / "far/away").mkdir(parents=True)
    (tmp_path / "near").symlink_to("far/away")
    given_path = f"{tmp_path}/near/../x"
    assert clean(given_path) == str(tmp_path / "x")
    assert resolve(OWN, given_path) == str(tmp_path / "far/x")
    assert resolve(OWN, f"{tmp_path}/near/..") == str(tmp_path / "far")


@pytest.mark.parametrize("path", ["/x", "//x", "/./x", "/../x"])
def test_names_in_the_root(resolve: Resolve, path: str) -> None:
    assert resolve(OWN, path) == "/x"


def test_the_root_itself(resolve: Resolve) -> None:
    assert resolve(OWN, "/") == "/"
    assert resolve(OWN, "/etc/..") == "/"


@needs_root
def test_inside_a_container_paths_are_the_containers(resolve: Resolve, tmp_path: Path, contained) -> None:
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "up").symlink_to("/../../data")
    (tmp_path / "abs").symlink_to("/data/deep")
    pid = contained(tmp_path).pid
    assert resolve(pid, "/up/x") == "/data/x"
    assert resolve(pid, "/abs/../y") == "/data/y"
    assert resolve(pid, "/etc/shadow") is None


@needs_root
def test_inside_a_chroot_paths_start_at_its_root(resolve: Resolve, tmp_path: Path, contained) -> None:
    (tmp_path / "jail/data").mkdir(parents=True)
    (tmp_path / "jail/link").symlink_to("/data")
    pid = contained(tmp_path, join=contained(tmp_path).pid, directory="/jail").pid
    assert resolve(pid, "/link/x") == "/data/x"


@needs_root
def test_a_chroot_on_the_host_is_stripped(resolve: Resolve, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    code = "import os, sys; os.chroot(sys.argv[1]); print(flush=True); sys.stdin.read()"
    command = ["python3", "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            assert resolve(process.pid, "/link/x") == "/data/x"
            assert resolve(process.pid, "/x") == "/x"
        finally:
            process.kill()


@pytest.mark.parametrize(
    "prefix", ["/proc/self/root", "/proc/self/task/7/root", "//proc/./self/root/proc/thread-self/root/"]
)
def test_the_detour_through_ones_own_root_is_seen_through(resolve: Resolve, prefix: str) -> None:
    assert resolve(OWN, f"{prefix}/etc/x") == "/etc/x"


@pytest.mark.parametrize("path", ["/proc/self/x", "/proc/1/x", "/proc/self/fd/0", "/proc/self/cwd/x", "/proc/x"])
def test_proc_is_not_resolved(resolve: Resolve, path: str) -> None:
    assert resolve(OWN, path) is None


@pytest.mark.parametrize("path", ["", "relative", "/no/such/directory/x", "/etc/passwd/x", "/" + "a/" * 3000])
def test_what_cannot_be_resolved(resolve: Resolve, path: str) -> None:
    assert resolve(OWN, path) is None


def test_a_circle_of_links(resolve: Resolve, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert resolve(OWN, f"{tmp_path}/a/x") is None


def test_a_removed_directory(resolve: Resolve, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone").rmdir()
    assert resolve(OWN, f"{tmp_path}/gone/x") is None


def test_a_fifo_on_the_way_does_not_hold_anybody(resolve: Resolve, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert resolve(OWN, f"{tmp_path}/pipe/x") is None
    assert resolve(OWN, f"{tmp_path}/pipe") == str(tmp_path / "pipe")


def test_names_that_are_not_utf8(resolve: Resolve, tmp_path: Path) -> None:
    directory = tmp_path / "bad\udcff\n"
    directory.mkdir()
    (tmp_path / "link").symlink_to(directory)
    assert resolve(OWN, f"{tmp_path}/link/x") == f"{directory}/x"


def test_a_process_that_is_gone(resolve: Resolve) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert resolve(process.pid, "/etc/x") is None


@pytest.mark.parametrize("way", [resolve_in_root, resolve_from_cache])
def test_an_ancestor_with_the_same_mounts_takes_the_place_of_a_process_that_is_gone(
    way: Callable[..., str | None], tmp_path: Path
) -> None:
    needs_cached()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    path = f"{tmp_path}/link/x"
    with process_directory(OWN) as process_fd:
        start, mounts = start_of(process_fd), namespace(process_fd, "mnt") or 0
    with subprocess.Popen(["true"]) as process:
        process.wait()

    def resolved(*mates: tuple[int, int], mounts: int = mounts) -> str | None:
        resolve_in_root(OWN, path)  # now it is in the cache
        return way(process.pid, path, mates=Mates(mounts, mates))

    eventually(lambda: resolved((process.pid, 1), (OWN, start)) == f"{tmp_path}/real/x")
    assert resolved() is None
    assert resolved((OWN, start - 1)) is None, "a later process of that number"
    assert resolved((OWN, start), mounts=mounts + 1) is None, "it has other mounts"


def test_names_are_found_beside_a_file_server_that_does_not_answer(tmp_path: Path) -> None:
    needs_cached()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    server = file_server(tmp_path / "served", b"")
    lookups = Lookups([paths.__name__])

    def resolved(path: Path) -> str | None:
        look_ups = (partial(way, OWN, str(path)) for way in (resolve_in_root, resolve_from_cache))
        return lookups.ask("a container", *look_ups)

    with ExitStack() as stack:
        stack.callback(server.close)
        stack.callback(lookups.close)
        lookups.wait_until_ready(60)
        assert resolved(server.folder / "x") == f"{server.folder}/x"
        eventually(
            lambda: not (tmp_path / "link/x").exists() and resolve_from_cache(OWN, f"{tmp_path}/link/x") is not None
        )
        server.fall_silent()
        assert resolved(server.file / "x") is None
        eventually(lambda: resolved(tmp_path / "link/x") == f"{tmp_path}/real/x")
        assert len(lookups.warnings()) == 1


@pytest.mark.parametrize("way", [resolve_in_root, resolve_from_cache])
def test_a_later_process_of_its_number_is_another(way: Callable[..., str | None]) -> None:
    with process_directory(OWN) as process_fd:
        start = start_of(process_fd)
    assert way(OWN, "/etc", start=start - 1) is None
    assert way(OWN, "/etc", start=start) == way(OWN, "/etc")
