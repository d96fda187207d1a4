"""Control groups by id, in the real hierarchy."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiercel_agent.context.cgroups import CgroupTable, Membership, membership, mount_point, parse_membership
from tiercel_agent.context.container import ContainerId
from tiercel_agent.context.rootfs import process_directory, start_of

ID = "3ad7b26ded6d8e7b23da7d48fe889434573036c27ae5a74837233de441c3601e"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def group() -> Iterator[Path]:
    """A new cgroup of the version 2 hierarchy."""
    root = mount_point()
    if root is None:
        pytest.skip("no version 2 cgroup hierarchy")
    parent = Path(root, f"tiercel-test-{os.getpid()}")
    child = parent / f"docker-{ID}.scope"
    try:
        child.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"cgroups can't be made here: {error}")
    yield child
    for path in (child, parent):
        if path.exists():
            path.rmdir()


def below_root(path: Path) -> str:
    return "/" + str(path.relative_to(str(mount_point())))


@pytest.fixture(params=[True, False], ids=["handles", "walks"])
def use_handles(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_cgroup_that_was_there_before(group: Path, use_handles: bool) -> None:
    table = CgroupTable(use_handles=use_handles)
    assert table.path(group.stat().st_ino) == below_root(group)
    table.close()


def test_a_cgroup_made_later(group: Path, use_handles: bool) -> None:
    clock = Clock()
    table = CgroupTable(use_handles=use_handles, clock=clock)
    later = group / "later"
    later.mkdir()
    clock.now = 5
    try:
        assert table.path(later.stat().st_ino) == below_root(later)
    finally:
        later.rmdir()
        table.close()


def test_a_removed_cgroup_is_remembered(group: Path, use_handles: bool) -> None:
    table = CgroupTable(use_handles=use_handles)
    number, path = group.stat().st_ino, below_root(group)
    assert table.path(number) == path
    group.rmdir()
    assert table.path(number) == path
    table.close()


def test_the_root(use_handles: bool) -> None:
    root = mount_point()
    if root is None:
        pytest.skip("no version 2 cgroup hierarchy")
    assert CgroupTable(use_handles=use_handles).path(Path(root).stat().st_ino) == "/"


def test_an_unknown_id_has_no_path(use_handles: bool) -> None:
    assert CgroupTable(use_handles=use_handles).path(0xFFFF_FFFF_FFFF) is None


def test_walks_are_not_too_frequent(group: Path) -> None:
    clock = Clock()
    table = CgroupTable(use_handles=False, walk_interval=10, clock=clock)
    later = group / "later"
    later.mkdir()
    try:
        clock.now = 9
        assert table.path(later.stat().st_ino) is None
        clock.now = 10
        assert table.path(later.stat().st_ino) == below_root(later)
    finally:
        later.rmdir()


def test_a_process_tells_its_cgroup_where_the_id_fits(group: Path) -> None:
    table = CgroupTable(use_handles=False, clock=lambda: 0.0)
    later = group / "later"
    later.mkdir()
    with subprocess.Popen(["sleep", "100"]) as process:
        try:
            (later / "cgroup.procs").write_text(str(process.pid))
            assert table.path(later.stat().st_ino, process.pid) == below_root(later)
            assert table.path(later.stat().st_ino + 10_000, process.pid) is None
            cgroups = membership(process.pid)
            assert cgroups is not None
            assert cgroups.unified == below_root(later)
        finally:
            process.kill()
            process.wait()
            later.rmdir()


def test_what_is_remembered_is_bounded(group: Path) -> None:
    table = CgroupTable(use_handles=True, limit=2)
    children = [group / f"{number}" for number in range(4)]
    for child in children:
        child.mkdir()
    try:
        for child in children:
            assert table.path(child.stat().st_ino) in (below_root(child), None)
            assert len(table) <= 2
    finally:
        for child in children:
            child.rmdir()
        table.close()


def test_a_directory_tree_that_is_no_hierarchy(tmp_path: Path) -> None:
    table = CgroupTable(str(tmp_path))
    assert table.path(123_456_789) is None
    assert CgroupTable(str(tmp_path / "none")).path(1) is None


def test_membership_in_both_versions() -> None:
    text = f"12:cpu,cpuacct:/docker/{ID}\n3:name=systemd:/odd:name\n\ngarbage\n0::/\n"
    assert parse_membership(text) == Membership(
        "/", {"cpu": f"/docker/{ID}", "cpuacct": f"/docker/{ID}", "systemd": "/odd:name"}
    )
    assert parse_membership(text).container() == ContainerId(ID, "docker", cgroup=f"/docker/{ID}")


def test_a_later_process_of_its_number_has_another_membership() -> None:
    pid = os.getpid()
    with process_directory(pid) as process_fd:
        start = start_of(process_fd)
    assert membership(pid, start) == membership(pid)
    assert membership(pid, start - 1) is None


def test_a_process_that_is_gone_has_no_membership() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert membership(process.pid) is None
