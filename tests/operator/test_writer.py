"""Many statuses of one namespace hold up neither others' nor the next plan."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from tiercel_engine.rule import Origin
from tiercel_operator.reconciliation.writer import STATUSES_FOR, Counts, ObjectWriter
from tiercel_operator.status_schedule import StatusWrite

GREEDY = [StatusWrite(Origin("greedy", f"r{number:03}"), {}, {}) for number in range(100)]
OTHERS = [StatusWrite(Origin(namespace, "r"), {}, {}) for namespace in ("a-shop", "z-bank")]


class Run:
    """A writer for which each write takes some seconds; those of names in ``bad`` fail."""

    def __init__(self, seconds: float = 0.0, bad: tuple[str, ...] = ()) -> None:
        self.seconds = seconds
        self.bad = bad
        self.time = 0.0
        self.written: list[Origin] = []
        self.again = 0
        kube = SimpleNamespace()
        self.writer = ObjectWriter(kube, "tiercel-system", Counts(), self._again, lambda: self.time)  # type: ignore[arg-type]

    def _again(self) -> None:
        self.again += 1

    async def _write(self, write: StatusWrite) -> None:
        self.time += self.seconds
        if write.origin.name in self.bad:
            raise OSError(write.origin.name)
        self.written.append(write.origin)

    def __call__(self, *writes: StatusWrite) -> bool:
        return asyncio.run(self.writer.write_in_turns(writes, self._write))


def test_namespaces_take_turns() -> None:
    run = Run()
    assert run(*GREEDY, *OTHERS)
    assert {origin.namespace for origin in run.written[:3]} == {"greedy", "a-shop", "z-bank"}
    assert len(run.written) == 102
    assert not run.again


def test_after_a_moment_the_rest_is_for_the_next_plan() -> None:
    run = Run(STATUSES_FOR / 10)
    assert not run(*GREEDY, *OTHERS)
    assert 3 <= len(run.written) <= 20
    assert {origin.namespace for origin in run.written} == {"greedy", "a-shop", "z-bank"}
    assert run.again == 1


def test_what_fails_keeps_back_no_other() -> None:
    run = Run(bad=("r000", "r001"))
    with pytest.raises(OSError, match="r000"):
        run(*GREEDY, *OTHERS)
    assert len(run.written) == 100
    assert not run.again, "it is tried again later"
