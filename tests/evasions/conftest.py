"""Techniques by which a program hides what it does, each against `tiercel detect` with a rule for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from evasion_support.watched import DEADLINE, Watched, watching

from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.kernel.machine import probe_machine

_PROGRAMS = Path(__file__).parent / "programs"


_running = ExitStack()
"""Ends with the last test here: other tests would see the look-ups of an agent that goes on."""


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    if os.geteuid() != 0:
        pytest.skip("evasions are tried as root")
    try:
        machine = probe_machine()
    except DetectorError as error:
        pytest.skip(f"evasions need eBPF: {error}")
    folder = tmp_path_factory.mktemp("evasions").resolve()
    return _running.enter_context(watching(folder, machine.hooks.kinds, rings=bool(machine.rings.layouts)))


def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        _running.close()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """``program(name, arguments…)`` runs one of programs/ and returns what it printed."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (cc)")
    folder = tmp_path_factory.mktemp("programs")

    def run(name: str, *arguments: object) -> str:
        made = folder / name
        if not made.exists():
            source = _PROGRAMS / f"{name}.c"
            subprocess.run(["cc", "-O2", "-w", "-pthread", "-o", made, source], check=True)
        done = subprocess.run(
            [made, *map(str, arguments)], check=True, capture_output=True, text=True, timeout=DEADLINE
        )
        return done.stdout.strip()

    return run


@pytest.fixture(autouse=True)
def noted(request: pytest.FixtureRequest, watched: Watched, record_property: Callable[[str, object], None]) -> None:
    """What the table of techniques is made from (guest_support/guest_outcomes.py)."""
    record_property("hooks", ", ".join(watched.kinds))
    for marker in request.node.iter_markers("technique"):
        record_property("technique", *marker.args)
