"""Programs that hand over to io_uring what they would do by system calls."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from evasion_support.watched import Watched

_CALLS = {"mkdir": "mkdirat", "unlink": "unlinkat", "rename": "renameat2", "symlink": "symlinkat", "link": "linkat"}


@pytest.fixture(name="by_ring")
def by_ring_fixture(watched: Watched, program: Callable[..., str]) -> Callable[..., None]:
    if not watched.rings:
        pytest.skip("operations of io_uring can't be seen on this kernel")

    def run(*arguments: object) -> None:
        try:
            program("by_ring", *arguments)
        except subprocess.CalledProcessError as error:
            if error.returncode == 77:
                pytest.skip("this kernel has no io_uring, or it is forbidden")
            raise AssertionError(error.stderr) from error

    return run


@pytest.mark.technique("io_uring opens a file, also into a slot of the ring")
@pytest.mark.parametrize("where", ["inline", "worker", "slot", "poll"])
def test_open(watched: Watched, by_ring: Callable[..., None], where: str) -> None:
    (alert,) = watched.during(lambda: by_ring("open", where, watched.folder / "secret"))
    assert alert["rule"] == "open"
    assert alert["output_fields"]["evt.is_io_uring"] is True


@pytest.mark.technique("io_uring connects a socket")
@pytest.mark.parametrize("where", ["inline", "worker"])
def test_connect(watched: Watched, by_ring: Callable[..., None], where: str) -> None:
    (alert,) = watched.during(lambda: by_ring("connect", where, watched.port))
    assert alert["rule"] == "connect"


@pytest.mark.technique("io_uring makes, renames, links or removes a file or folder")
@pytest.mark.parametrize("where", ["inline", "worker"])
@pytest.mark.parametrize("operation", _CALLS)
def test_names(watched: Watched, by_ring: Callable[..., None], operation: str, where: str) -> None:
    path = watched.folder / "watched" / f"ring-{operation}-{where}"
    other = watched.folder / f"ring-{operation}-{where}"
    if operation in ("rename", "link"):
        other.touch()
    if operation == "unlink":
        path.touch()
    (alert,) = watched.during(lambda: by_ring(operation, where, path, other))
    assert alert["rule"] == "changed"
    assert alert["output_fields"]["evt.type"] == _CALLS[operation]
