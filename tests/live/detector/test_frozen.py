"""What is watched can't be changed behind the agent's back, as root could with `bpftool map update`."""

from __future__ import annotations

import pytest

from tiercel_agent.kernel.loading.libbpf import LibbpfError
from tiercel_engine.matching.requirements import Requirements


@pytest.mark.parametrize("name", ["families", "plans", "settings", "automaton", "clause_rules", "pool_of_rule"])
def test_maps_that_say_what_is_watched_are_frozen(opened_detectors, name: str) -> None:
    detector = opened_detectors(Requirements(frozenset({"rmdir"}), frozenset(), frozenset()))
    with pytest.raises(LibbpfError, match="not permitted"):
        detector._watch.programs.maps[name].update(bytes(4), bytes(1 << 16))


def test_what_the_agent_learns_is_not(opened_detectors) -> None:
    detector = opened_detectors(Requirements(frozenset({"rmdir"}), frozenset(), frozenset()))
    detector._watch.programs.maps["process_classes"].update(bytes(4), bytes(1 << 8))
