"""Checks of all SecurityRules by workers: what takes too much is its own fault alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from operator_support import costly_checks
from operator_support.rule_objects import GOOD, SYSTEM, macro, of, rule

from tiercel_engine.rules.objects import RuleObject
from tiercel_operator.rules import checks as module
from tiercel_operator.rules.checked import CheckedObject
from tiercel_operator.rules.checks import RuleChecks
from tiercel_operator.workers.limits import Limits
from tiercel_operator.workers.pool import NotStarted, WorkerPool
from tiercel_operator.workers.slots import FairSlots

MIB = 1 << 20
LONG = 600.0


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerPool]:
    workers = WorkerPool(["tiercel_operator.rules.checking"])
    yield workers
    workers.close()


@pytest.fixture
def costly(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerPool]:
    """Workers for which some objects take too much."""
    monkeypatch.setattr(module, "check", costly_checks.check)
    workers = costly_checks.workers(monkeypatch)
    yield workers
    workers.close()


def checked(workers: WorkerPool, *turns: Sequence[RuleObject]) -> dict[str, CheckedObject | str]:
    """What is known in the end of each object, or why nothing is, if these are what there is, one after the other."""

    async def run() -> dict[str, CheckedObject | str]:
        checks = RuleChecks(workers, FairSlots(3), lambda: None)
        for objects in turns:
            checks.want(objects)
            await checks.settle(LONG)
        await checks.stop()
        verdicts = checks.verdicts().values()
        return {f"{each.object.namespace}/{each.object.name}": each.checked or each.failure for each in verdicts}

    return asyncio.run(run())


def fine(found: dict[str, CheckedObject | str]) -> set[str]:
    return {name for name, each in found.items() if isinstance(each, CheckedObject) and not each.errors}


def test_objects_of_a_namespace_and_the_systems_are_checked_together(workers: WorkerPool) -> None:
    tests = [{"name": "t", "event": {"evt.type": "open"}, "expect": ["r"]}]
    objects = [
        of(SYSTEM, "m", macro("shared", GOOD), rule("of the system", "shared")),
        of("shop", "m", macro("own", "shared")),
        of("shop", "r", rule("r", "own"), tests=tests),
        of("bank", "r", rule("r", "own")),
    ]
    found = checked(workers, objects)
    assert fine(found) == {f"{SYSTEM}/m", "shop/m", "shop/r"}
    used, unknown = found["shop/r"], found["bank/r"]
    assert isinstance(used, CheckedObject)
    assert [(each.name, each.passed) for each in used.tests] == [("t", True)]
    assert [(each.name, each.enabled, each.types) for each in used.rules] == [("r", True, {"open"})]
    assert isinstance(unknown, CheckedObject)
    assert [each.line for each in unknown.errors] == ["rule r: there is no macro own"]


@pytest.mark.parametrize("namespace", ["shop", SYSTEM])
def test_what_takes_too_much_is_left_out_alone(
    namespace: str, costly: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    others = [of(namespace, f"r{number}", rule(f"r{number}", GOOD)) for number in range(7)]
    terms = of(SYSTEM, "terms", macro("shared", GOOD))
    poison = of(namespace, "memory", rule("poison", GOOD))
    with caplog.at_level(logging.WARNING):
        found = checked(costly, [*others, poison, terms, of("bank", "b", rule("b", "shared"))])
    assert fine(found) == {f"{namespace}/r{number}" for number in range(7)} | {f"{SYSTEM}/terms", "bank/b"}
    assert found[f"{namespace}/memory"] == f"it took more than {module.LONGER}, and was stopped"
    assert f"SecurityRule {namespace}/memory isn't checked" in caplog.text


def test_time_is_limited_too(costly: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USUAL", "LONGER"):
        monkeypatch.setattr(module, name, Limits(processor=1, time=60, memory=64 * MIB))
    objects = [of("shop", "good", rule("good", GOOD)), of("shop", "time", rule("poison", GOOD))]
    assert fine(checked(costly, objects)) == {"shop/good"}


def test_tests_that_take_long_are_their_objects_fault_alone(
    workers: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USUAL", "LONGER"):
        monkeypatch.setattr(module, name, Limits(processor=1, time=120, memory=96 * MIB))
    found = checked(workers, [of("shop", "good", rule("good", GOOD)), costly_checks.with_slow_tests("shop", "slow")])
    assert fine(found) == {"shop/good"}
    assert isinstance(found["shop/slow"], str)


def test_what_is_new_is_to_blame_and_not_what_was_checked_before(costly: WorkerPool) -> None:
    """Each of the two can be checked without the other."""
    old, new = (of("shop", name, rule(name, GOOD)) for name in ("together-z", "together-a"))
    found = checked(costly, [old], [old, new])
    assert fine(found) == {"shop/together-z"}
    assert isinstance(found["shop/together-a"], str)
    assert fine(checked(costly, [old], [old, new], [new])) == {"shop/together-a"}, "the other is gone"


def test_others_are_known_before_what_takes_long_is_tried_once_more(costly: WorkerPool) -> None:
    good, poison = of("shop", "good", rule("good", GOOD)), of("shop", "memory", rule("poison", GOOD))

    async def run() -> None:
        known: list[set[str]] = []
        checks = RuleChecks(costly, FairSlots(3), lambda: known.append({each.name for each in checks.verdicts()}))
        checks.want([good, poison])
        await checks.settle(LONG)
        await checks.stop()
        assert {"good"} in known
        assert known[-1] == {"good", "memory"}

    asyncio.run(run())


def test_many_that_take_too_much_are_left_out_without_a_search_for_each(
    costly: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_TO_BLAME", 1)
    good = of("shop", "good", rule("good", GOOD))
    many = [of("shop", f"memory{number}", rule(f"r{number}", GOOD)) for number in range(3)]
    found = checked(costly, [good], [good, *many])
    assert fine(found) == {"shop/good"}
    assert all(isinstance(found[f"shop/memory{number}"], str) for number in range(3))


def test_they_are_tried_again_after_a_while(costly: WorkerPool) -> None:
    now = 0.0
    poison = of("shop", "memory", rule("r", GOOD))

    async def run() -> None:
        nonlocal now
        verdicts = 0

        def count() -> None:
            nonlocal verdicts
            verdicts += 1

        checks = RuleChecks(costly, FairSlots(3), count, clock=lambda: now)

        async def turn() -> int:
            before = verdicts
            checks.want([poison])
            tasks = [each.task for each in checks._namespaces.values() if each.task is not None]
            while tasks:
                await asyncio.wait(tasks)
                tasks = [each.task for each in checks._namespaces.values() if each.task is not None]
            return verdicts - before

        assert await turn() > 0
        assert await turn() == 0
        now = module.AGAIN_AFTER
        assert await turn() > 0
        await checks.stop()

    asyncio.run(run())


def test_objects_arent_blamed_for_a_worker_that_cant_be_started(
    workers: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_START_AGAIN", 0.0)
    run, failures = workers.run, [NotStarted("no process"), NotStarted("no process")]

    async def fails_at_first(limits: Limits, task: Callable[..., bytes], *arguments: object) -> bytes:
        if failures:
            raise failures.pop()
        return await run(limits, task, *arguments)

    monkeypatch.setattr(workers, "run", fails_at_first)
    assert fine(checked(workers, [of("shop", "r", rule("r", GOOD))])) == {"shop/r"}


def test_only_what_has_changed_is_checked_again(workers: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    run = workers.run

    async def counted(limits: Limits, task: Callable[..., bytes], *arguments: Any) -> bytes:
        runs.append(arguments[0][0].namespace)
        return await run(limits, task, *arguments)

    monkeypatch.setattr(workers, "run", counted)
    system = of(SYSTEM, "m", macro("shared", GOOD), rule("s", GOOD))
    shop, bank = of("shop", "r", rule("r", GOOD)), of("bank", "r", rule("r", GOOD))
    checked(workers, [system, shop, bank], [system, shop, bank])
    assert sorted(runs) == ["bank", "shop", SYSTEM]
    runs.clear()
    same_terms = of(SYSTEM, "m", macro("shared", GOOD), rule("other", GOOD))
    checked(workers, [system, shop, bank], [same_terms, shop, of("bank", "r", rule("r", GOOD))])
    assert sorted(runs[3:]) == ["bank", SYSTEM]
    runs.clear()
    checked(workers, [system, shop], [of(SYSTEM, "m", macro("shared", "evt.type = close")), shop])
    assert sorted(runs[2:]) == ["shop", SYSTEM]
