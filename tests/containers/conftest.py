"""Runtimes for the tests of containers, one of each a session, and what watches them; skips where they can't run, with
the reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from container_support.machine import ContainerError
from container_support.podman import Podman
from container_support.runtime import ContainerdServer
from container_support.watching import Watch
from live_support.watching import Watching

from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.workloads.settings import PATIENCE, WorkloadSettings

# Seconds for which events wait for their containers. Runtimes of emulated machines answer later.
_PATIENCE = float(os.environ.get("TIERCEL_TEST_PATIENCE", PATIENCE))
_R = TypeVar("_R", ContainerdServer, Podman)


def _opened(stack: ExitStack, runtime: _R, trial: Callable[[_R], object]) -> _R:
    try:
        stack.enter_context(runtime)
        trial(runtime)
    except (ContainerError, OSError) as error:
        pytest.skip(f"containers can't run here: {str(error).splitlines()[-1]}")
    return runtime


def _try_containerd(containerd: ContainerdServer) -> None:
    sandbox = containerd.run_pod("trial")
    if containerd.wait_exited(containerd.run_container(sandbox, "trial", ["true"])):
        raise ContainerError(f"a trial container failed: {containerd.container_log(sandbox, 'trial')}")
    containerd.remove_pod(sandbox)


def _try_podman(podman: Podman) -> None:
    status, output = podman.run("trial", ["true"])
    if status:
        raise ContainerError(f"a trial container failed: {output}")


@pytest.fixture(scope="session")
def containerd() -> Iterator[ContainerdServer]:
    """A containerd that runs pods as a kubelet has it run them, and containers of ``ctr``."""
    with ExitStack() as stack:
        yield _opened(stack, ContainerdServer(), _try_containerd)


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    with ExitStack() as stack:
        yield _opened(stack, Podman(), _try_podman)


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Watches until the test has ended."""
    with ExitStack() as stack:

        def begin(rules: str, *sockets: object, **settings: Any) -> Watching:
            paths = tuple(Path(str(socket)) for socket in sockets)
            try:
                workloads = WorkloadSettings(paths, **{"patience": _PATIENCE, **settings})
                return stack.enter_context(Watching(rules, workloads))
            except DetectorError as error:
                if error.log:
                    raise
                pytest.skip(f"live tests need eBPF: {error}")

        yield begin
