"""What tests of floods and losses share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from live_support.filter_rules import rules_of
from live_support.flooded import RULES, Flooded

from tiercel_agent.kernel.errors import DetectorError
from tiercel_engine.rule import Rule


@pytest.fixture
def flooded() -> Iterator[Callable[..., Flooded]]:
    """``flooded(flood_limit, rules)`` watches; skips where that isn't possible."""
    opened: list[Flooded] = []

    def start(flood_limit: int = 20, rules: Sequence[Rule] | None = None) -> Flooded:
        try:
            opened.append(Flooded(flood_limit, rules_of(RULES) if rules is None else rules))
        except DetectorError as error:
            pytest.skip(f"live tests need eBPF: {error}")
        return opened[-1]

    yield start
    for each in opened:
        each.detector.close()
