"""Guests for the tests: of the oldest and the newest kernel, or with more in each of those in ``TIERCEL_KERNELS``.

`make test-kernels` sets it, and writes docs/kernels.md from what was found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from guest_support.kernel_table import tables, write_document
from guest_support.misbehaviour import FILES, MISBEHAVIOUR
from guest_support.results import keep, read_results, result_of
from guest_support.service_steps import service_steps
from guest_support.visits import Findings, guests_at_once, run_tests, visit_kernel
from guests import KERNELS, GuestError, Kernel, Unavailable, Visit, named, run_in_guest

_CHOSEN = os.environ.get("TIERCEL_KERNELS", "").split()
_SMOKE = ("5.10", "newest")
_FULL = bool(_CHOSEN)
_T = TypeVar("_T")


def _kernels() -> tuple[Kernel, ...]:
    if _CHOSEN == ["all"]:
        return KERNELS
    try:
        return named(_CHOSEN or _SMOKE)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def _usual_kernel() -> Kernel:
    """For what one kernel is enough for."""
    return next((kernel for kernel in _kernels() if kernel.name == "6.12"), _kernels()[0])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kernel_name" in metafunc.fixturenames:
        metafunc.parametrize("kernel_name", [kernel.name for kernel in _kernels()], scope="session")


@pytest.fixture(scope="session")
def begun(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[Any]]]:
    """The guests of all tests that are going to run. They run side by side, as many as this machine bears."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    asked = {name for item in items for name in item.fixturenames}
    names = {item.callspec.params.get("kernel_name") for item in items if hasattr(item, "callspec")}
    with ThreadPoolExecutor(guests_at_once(), thread_name_prefix="guest") as workers:
        visits: dict[str, Future[Any]] = {}
        if "service_visit" in asked:
            visits["service"] = workers.submit(run_in_guest, _usual_kernel(), service_steps(), systemd=True)
        for kernel in _kernels():
            if kernel.name in names:
                visits[kernel.name] = workers.submit(_visit, kernel)
        if "crash" in asked:
            visits["crash"] = workers.submit(run_in_guest, _usual_kernel(), MISBEHAVIOUR, files=FILES)
        if "containers_visit" in asked and _FULL:
            steps = [run_tests("containers", ["tests/containers"], 3600)]
            visits["containers"] = workers.submit(run_in_guest, _usual_kernel(), steps, memory=4000)
        yield visits
        for visit in visits.values():
            visit.cancel()


def _visit(kernel: Kernel) -> Findings:
    """What is found in a full run is kept at once: others may take hours still."""
    found = visit_kernel(kernel, full=_FULL)
    if _FULL:
        keep(result_of(found))
    return found


def _result(visit: Future[_T]) -> _T:
    try:
        return visit.result()
    except Unavailable as error:
        pytest.skip(f"no guests here: {error}")


@pytest.fixture(scope="session")
def findings(begun: Mapping[str, Future[Findings]], kernel_name: str) -> Findings:
    """Of the guest of one kernel; waits for its end."""
    return _result(begun[kernel_name])


@pytest.fixture(scope="session")
def service_visit(begun: Mapping[str, Future[Visit]]) -> Visit:
    return _result(begun["service"])


@pytest.fixture(scope="session")
def crash(begun: Mapping[str, Future[Visit]]) -> GuestError:
    """Of a guest that ends in the midst of its steps."""
    with pytest.raises(GuestError) as raised:
        _result(begun["crash"])
    return raised.value


@pytest.fixture(scope="session")
def containers_visit(begun: Mapping[str, Future[Visit]]) -> Visit:
    if not _FULL:
        pytest.skip("takes long in a guest: `make test-kernels`")
    return _result(begun["containers"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _FULL:
        results = read_results()
        terminalreporter.section("kernels")
        terminalreporter.write_line(tables(results))
        write_document(results)
