"""Has every SecurityRule checked by a worker, within limits, before any agent gets it.

The objects of a namespace are checked together, since they use each other. If that takes more than usual, the ones to
blame are looked for: an object is to blame if those before it can be checked without it and can't be checked with it.
What was checked before comes first, so that what is new is blamed. All others of the namespace are checked without
them, and the ones to blame then once more, one by one, with more time, in a lane of their own. So what takes long holds
up only what takes long as well. Namespaces take turns.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tiercel_engine.rule import Origin
from tiercel_engine.rules.objects import RuleObject, same
from tiercel_engine.scope import SYSTEM_NAMESPACE
from tiercel_engine.units import MEBIBYTE
from tiercel_operator.rules.checked import CheckedObject, Verdict, from_json
from tiercel_operator.rules.checking import check, definitions
from tiercel_operator.workers.limits import Limits
from tiercel_operator.workers.pool import NotDone, NotStarted, WorkerPool
from tiercel_operator.workers.slots import FairSlots

LOGGER = logging.getLogger(__name__)

USUAL: Final = Limits(processor=5, time=30, memory=96 * MEBIBYTE)
"""What the check of a namespace may take at first. One with a mebibyte of Falco's rules takes three quarters of a
second."""
LONGER: Final = Limits(processor=30, time=120, memory=192 * MEBIBYTE)
"""What it may take with an object that is to blame, and what that of the system's namespace may take."""
AGAIN_AFTER: Final = 600.0
"""Seconds until objects that could not be checked are tried again, although nothing has changed."""
MOST_TO_BLAME: Final = 8
"""Objects of a namespace that are looked for one by one. If there are more, nothing else that is new is checked."""
_TOO_MANY = f"more than {MOST_TO_BLAME} SecurityRules of the namespace take too much to be checked, or fail"
_START_AGAIN = 1.0  # seconds

_NOTHING: Final[Sequence[RuleObject]] = ()

_Run = Callable[[Sequence[RuleObject]], Awaitable[Mapping[Origin, CheckedObject]]]


@dataclass(slots=True)
class _Namespace:
    """``wanted`` is what is to be checked, ``checked`` what was checked last."""

    wanted: Sequence[RuleObject] = ()
    checked: tuple[Sequence[RuleObject], Sequence[RuleObject]] | None = None
    verdicts: Mapping[Origin, Verdict] = field(default_factory=dict)
    again_at: float = float("inf")
    task: asyncio.Task[None] | None = None


class RuleChecks:
    """``changed`` is called when there are new verdicts. All methods belong to one event loop. ``clock`` is monotonic
    seconds."""

    def __init__(
        self,
        workers: WorkerPool,
        slots: FairSlots,
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._slots = slots
        self._longer = FairSlots(1)
        self._changed = changed
        self._clock = clock
        self._namespaces: dict[str, _Namespace] = {}
        self._shared: Sequence[RuleObject] | None = None
        """The system's lists and macros; None until its objects were checked once."""

    def want(self, objects: Iterable[RuleObject]) -> None:
        """Begins to check what of these objects, which are all there are, has changed since it was checked."""
        members: dict[str, list[RuleObject]] = {SYSTEM_NAMESPACE: []}
        for each in sorted(objects, key=lambda each: (each.namespace, each.name)):
            members.setdefault(each.namespace, []).append(each)
        for gone in self._namespaces.keys() - members.keys():
            task = self._namespaces.pop(gone).task
            if task is not None:
                task.cancel()
        for namespace, of_namespace in members.items():
            self._namespaces.setdefault(namespace, _Namespace()).wanted = of_namespace
        self._begin()

    async def settle(self, seconds: float) -> None:
        """Waits until all is checked, for so long at most."""
        end = self._clock() + seconds
        with suppress(TimeoutError):
            while tasks := [each.task for each in self._namespaces.values() if each.task is not None]:
                async with asyncio.timeout(end - self._clock()):
                    await asyncio.wait(tasks)

    def verdicts(self) -> dict[Origin, Verdict]:
        """What is known of the objects. A verdict holds for the object that it has, and not for later ones."""
        return {origin: each for known in self._namespaces.values() for origin, each in known.verdicts.items()}

    async def stop(self) -> None:
        tasks = [each.task for each in self._namespaces.values() if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self) -> None:
        """Begins checks of all namespaces that need one."""
        now = self._clock()
        for namespace, known in self._namespaces.items():
            shared = _NOTHING if namespace == SYSTEM_NAMESPACE else self._shared
            if known.task is not None or shared is None:
                continue
            if known.checked is not None and now < known.again_at:
                members, shared_then = known.checked
                if shared_then is shared and same(members, known.wanted):
                    continue
            known.task = asyncio.create_task(self._check(namespace, known, shared))

    async def _check(self, namespace: str, known: _Namespace, shared: Sequence[RuleObject]) -> None:
        members = known.wanted
        try:
            await self._judge(namespace, known, members, shared)
            known.checked = members, shared
            failed = any(each.checked is None for each in known.verdicts.values())
            known.again_at = self._clock() + AGAIN_AFTER if failed else float("inf")
        except Exception:
            LOGGER.exception("the SecurityRules of %s can't be checked, please report it; trying again", namespace)
            await asyncio.sleep(_START_AGAIN)
        finally:
            known.task = None
        self._publish(namespace, known)

    def _publish(self, namespace: str, known: _Namespace) -> None:
        """Has others know of new verdicts. All other namespaces are given the lists and macros of the system's good
        objects."""
        if namespace == SYSTEM_NAMESPACE:
            good = [each.object for each in known.verdicts.values() if _is_good(each)]
            shared = definitions(sorted(good, key=lambda each: each.name))
            if self._shared is None or shared != self._shared:
                self._shared = shared
        self._begin()
        self._changed()

    async def _judge(
        self, namespace: str, known: _Namespace, members: Sequence[RuleObject], shared: Sequence[RuleObject]
    ) -> None:
        objects = {each.origin: each for each in members}
        before = {origin: each for origin, each in known.verdicts.items() if each.object is objects.get(origin)}

        def passed_before(each: RuleObject) -> bool:
            return each.origin in before and _is_good(before[each.origin])

        failed = {origin: verdict for origin, verdict in before.items() if verdict.checked is None}
        to_blame = [each for each in members if each.origin in failed][:MOST_TO_BLAME]
        good = sorted((each for each in members if each.origin not in failed), key=lambda each: not passed_before(each))
        usual = LONGER if namespace == SYSTEM_NAMESPACE else USUAL
        run = partial(self._run, self._slots, namespace, usual, shared)
        checked: Mapping[Origin, CheckedObject] = {}
        while good:
            try:
                checked = await run(good)
                break
            except NotDone:
                if len(to_blame) < MOST_TO_BLAME:
                    to_blame.append(good.pop(await self._to_blame(run, good)))
                else:
                    beyond = [each for each in good if not passed_before(each)] or good
                    failed |= {each.origin: _failed(each, _TOO_MANY) for each in beyond}
                    good = [each for each in good if each.origin not in failed]
        known.verdicts = _passed(good, checked) | failed
        if to_blame:
            self._publish(namespace, known)  # the others need not wait
        for each in to_blame:
            try:
                checked = await self._run(self._longer, namespace, LONGER, shared, [*good, each])
                good.append(each)
                failed.pop(each.origin, None)
            except NotDone as error:
                failed[each.origin] = _failed(each, str(error))
            known.verdicts = _passed(good, checked) | failed

    async def _to_blame(self, run: _Run, objects: Sequence[RuleObject]) -> int:
        """The number of the first object with which those up to it can't be checked. All of them can't be."""
        low, high = 0, len(objects) - 1
        while low < high:
            middle = (low + high) // 2
            try:
                await run(objects[: middle + 1])
            except NotDone:
                high = middle
            else:
                low = middle + 1
        return low

    async def _run(
        self,
        slots: FairSlots,
        namespace: str,
        limits: Limits,
        shared: Sequence[RuleObject],
        objects: Sequence[RuleObject],
    ) -> dict[Origin, CheckedObject]:
        """Raises NotDone if it takes too much, or fails."""
        while True:
            try:
                async with slots.of(namespace):
                    return from_json(await self._workers.run(limits, check, objects, shared))
            except NotStarted as error:  # which is no object's fault
                LOGGER.warning("SecurityRules of %s can't be checked: %s; trying again", namespace, error)
                await asyncio.sleep(_START_AGAIN)


def _passed(good: Iterable[RuleObject], checked: Mapping[Origin, CheckedObject]) -> dict[Origin, Verdict]:
    return {each.origin: Verdict(each, checked[each.origin]) for each in good}


def _failed(rule_object: RuleObject, failure: str) -> Verdict:
    LOGGER.warning("SecurityRule %s/%s isn't checked: %s", rule_object.namespace, rule_object.name, failure)
    return Verdict(rule_object, None, failure)


def _is_good(verdict: Verdict) -> bool:
    return verdict.checked is not None and not verdict.checked.failure
