"""How much of the detection's time the rules of each namespace may take, and how many alerts they may raise.

The rules of the system have no bound, and are evaluated first. What a namespace's rules take beyond their share is
taken from its next seconds, in which its rules aren't evaluated until that is made up for.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tiercel_agent.config.model import NamespaceBudget
from tiercel_engine.matching.matcher import Look
from tiercel_engine.regexes import OutOfTime


class Shares:
    """``clock`` is monotonic seconds, ``used`` the seconds of CPU time that this thread has had."""

    def __init__(
        self,
        budget: NamespaceBudget,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.thread_time,
    ) -> None:
        self._budget = budget
        self._clock = clock
        self._used = used
        self._second = int(clock())
        self._spent: dict[str, float] = {}
        """Seconds by namespace, that weren't made up for yet."""
        self._total = 0.0
        """Of all namespaces together."""
        self._alerts: Counter[str] = Counter()

    def is_used_up(self, namespace: str) -> bool:
        """Whether the namespace's rules have had their share, and aren't to be evaluated now."""
        self._make_up()
        return self._spent.get(namespace, 0.0) >= self._share(namespace)

    @contextmanager
    def spending(self, namespace: str) -> Iterator[Look]:
        """Meanwhile the time is the namespace's. It gives a function that raises OutOfTime when its share is used
        up."""
        begun = self._used()
        left = self._share(namespace) - self._spent.get(namespace, 0.0)

        def look() -> None:
            if self._used() - begun > left:
                raise OutOfTime

        try:
            yield look
        finally:
            taken = self._used() - begun
            self._spent[namespace] = self._spent.get(namespace, 0.0) + taken
            self._total += taken

    def takes_alert(self, namespace: str) -> bool:
        """Whether the namespace's rules may raise another alert in this second. It counts as raised then."""
        self._make_up()
        if self._alerts[namespace] >= self._budget.alerts:
            return False
        self._alerts[namespace] += 1
        return True

    def _share(self, namespace: str) -> float:
        """Seconds a second. Where all together have had what they may, it is an equal part of that for each whose rules
        were evaluated lately, so that who has had little still gets something."""
        if self._total < self._budget.all_cpu:
            return self._budget.namespace_cpu
        active = len(self._spent) + (namespace not in self._spent)
        return min(self._budget.namespace_cpu, self._budget.all_cpu / active)

    def _make_up(self) -> None:
        """Lets the seconds that have passed make up for what was spent."""
        second = int(self._clock())
        if second == self._second:
            return
        passed = second - self._second
        made_up = {name: passed * self._share(name) for name in self._spent}
        self._spent = {name: spent - made_up[name] for name, spent in self._spent.items() if spent > made_up[name]}
        self._total = sum(self._spent.values())
        self._alerts.clear()
        self._second = second
