"""Disks of the machine that are mounted under other names."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from evasion_support.watched import Watched


def _disk() -> tuple[str, str]:
    """The disk that is mounted at the root, and its file system."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        source, place, kind, *_ = line.split()
        if place == "/" and Path(source).exists() and stat.S_ISBLK(Path(source).stat().st_mode):
            return source, kind
    pytest.skip("no disk is mounted at the root")


@pytest.mark.technique("a disk is mounted by another name, as //dev/sda or /proc/self/root/dev/sda")
@pytest.mark.parametrize("before", ["/", "/proc/self/root"])
def test_mount(watched: Watched, program: Callable[..., str], before: str) -> None:
    disk, kind = _disk()
    (alert,) = watched.during(lambda: program("mount_disk", f"{before}{disk}", kind, watched.folder / "mounted"))
    assert alert["rule"] == "mounted"
    assert disk in (alert["output_fields"]["fs.path.source"], alert["output_fields"]["fs.path.realsource"])


@pytest.mark.technique("a disk is mounted by fsopen, fsconfig, fsmount and move_mount")
@pytest.mark.parametrize("before", ["", "/proc/self/root"])
def test_new_calls(watched: Watched, program: Callable[..., str], before: str) -> None:
    if not watched.kinds:
        pytest.skip("this kernel's hooks can't be used: only the calls are seen, and not which disk it is")
    disk, kind = _disk()
    (alert,) = watched.during(lambda: program("mount_disk", f"{before}{disk}", kind, watched.folder / "mounted", "new"))
    assert alert["rule"] == "mounted"
    assert alert["output_fields"]["fs.path.source"] == disk
