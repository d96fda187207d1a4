"""Names that lead somewhere else than they say, of processes that end at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from evasion_support.watched import Watched

_CALLS = ("mkdir", "symlink", "rename", "link", "unlink", "rmdir", "mknod", "chmod", "chown", "truncate")
_WAYS = {
    "cwd": "a change by /proc/self/cwd/name, and the end of the process",
    "root": "a change by /proc/self/root/name, and the end of the process",
    "thread": "a change by /proc/self/task/TID/root/name, and the end of the process",
    "fd": "a change by /proc/self/fd/N/name, and the end of the process",
}
"""By technique."""
_TIMES = 3


def _prepare(folder: Path, call: str, name: str) -> Path:
    """What the call needs; returns the file that is renamed or linked."""
    old, new = folder / f"old-{name}", folder / "watched" / name
    match call:
        case "rename" | "link":
            old.touch()
        case "rmdir":
            new.mkdir()
        case "unlink" | "chmod" | "chown" | "truncate":
            new.touch()
    return old


@pytest.mark.parametrize("way", [pytest.param(way, marks=pytest.mark.technique(said)) for way, said in _WAYS.items()])
@pytest.mark.parametrize("call", _CALLS)
def test_magic_link(watched: Watched, program: Callable[..., str], call: str, way: str) -> None:
    if not watched.kinds and way in ("cwd", "fd"):
        pytest.skip("this kernel's hooks can't be used: such a link can't be followed when its process is gone")
    names = [f"{call}-{way}-{number}" for number in range(_TIMES)]
    olds = [_prepare(watched.folder, call, name) for name in names]
    assert watched.during(lambda: None) is not None  # what was prepared isn't counted

    def evade() -> None:
        for name, old in zip(names, olds, strict=True):
            program("by_magic_link", call, way, watched.folder / "watched", name, old)

    alerts = watched.during(evade)
    assert [alert["rule"] for alert in alerts] == ["changed"] * _TIMES


@pytest.mark.technique("a change through a link to the folder, and the end of the process")
@pytest.mark.parametrize("call", _CALLS)
def test_link_to_a_folder(watched: Watched, program: Callable[..., str], call: str) -> None:
    (link := watched.folder / f"link-{call}").symlink_to(watched.folder / "watched")
    names = [f"{call}-plain-{number}" for number in range(_TIMES)]
    olds = [_prepare(watched.folder, call, name) for name in names]
    assert watched.during(lambda: None) is not None

    def evade() -> None:
        for name, old in zip(names, olds, strict=True):
            program("by_magic_link", call, "plain", link, name, old)

    alerts = watched.during(evade)
    assert [alert["rule"] for alert in alerts] == ["changed"] * _TIMES


@pytest.mark.technique("chmod, chown and truncate by /proc/self/fd/N, and the end of the process")
@pytest.mark.parametrize("call", ["chmod", "chown", "truncate"])
def test_magic_link_of_the_file(watched: Watched, program: Callable[..., str], call: str) -> None:
    if not watched.kinds:
        pytest.skip("this kernel's hooks can't be used: such a link can't be followed when its process is gone")
    (watched.folder / "watched" / f"{call}-itself").touch()
    assert watched.during(lambda: None) is not None
    (alert,) = watched.during(
        lambda: program("by_magic_link", call, "itself", watched.folder / "watched", f"{call}-itself")
    )
    assert alert["rule"] == "changed"
