"""What is watched can't be changed behind the agent's back, as root could with `bpftool map update`."""

from __future__ import annotations

import pytest

from tiercel_agent.kernel.loading.libbpf import LibbpfError
from tiercel_engine.matching.requirements import Requirements


@pytest.fixture(scope="module")
def maps(opened_detectors):
    return opened_detectors(Requirements(frozenset({"rmdir"}), frozenset(), frozenset()))._watch.programs.maps


@pytest.mark.parametrize("name", ["families", "plans", "settings", "automaton", "clause_rules", "pool_of_rule"])
def test_maps_that_say_what_is_watched_are_frozen(maps, name: str) -> None:
    with pytest.raises(LibbpfError, match="not permitted"):
        maps[name].update(bytes(4), bytes(1 << 16))


def test_what_the_agent_learns_is_not(maps) -> None:
    maps["process_classes"].update(bytes(4), bytes(1 << 8))
