"""Guests for the tests: of the oldest and the newest kernel, or with more in each of those in ``TIERCEL_KERNELS``.

`make test-kernels` sets it, and writes docs/kernels.md from what was found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import pytest
from guests import KERNELS, Kernel, Unavailable, named
from kernel_table import summary, write_document
from visits import Findings, begin_visits, read_results

_CHOSEN = os.environ.get("TIERCEL_KERNELS", "").split()
_SMOKE = ("5.10", "newest")
FULL = bool(_CHOSEN)


def _kernels() -> tuple[Kernel, ...]:
    return KERNELS if _CHOSEN == ["all"] else named(_CHOSEN or _SMOKE)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kernel_name" in metafunc.fixturenames:
        metafunc.parametrize("kernel_name", [kernel.name for kernel in _kernels()], scope="session")


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether there is time for everything."""
    return FULL


@pytest.fixture(scope="session")
def visits() -> Iterator[Mapping[str, Future[Findings]]]:
    begun = begin_visits(_kernels(), full=FULL)
    yield begun
    for visit in begun.values():
        visit.cancel()


@pytest.fixture(scope="session")
def findings(visits: Mapping[str, Future[Findings]], kernel_name: str) -> Findings:
    """Of the guest of one kernel; waits for its end."""
    try:
        return visits[kernel_name].result()
    except Unavailable as error:
        pytest.skip(f"no guests here: {error}")


@pytest.fixture(scope="session")
def usual_kernel() -> Kernel:
    """For what one kernel is enough for."""
    chosen = _kernels()
    return next((kernel for kernel in chosen if kernel.name == "6.12"), chosen[-1])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FULL and (results := read_results()):
        terminalreporter.section("kernels")
        terminalreporter.write_line(summary(results))
        write_document(results)
