"""What is watched can't be changed behind the agent's back, as root could with `bpftool map update`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tiercel_agent.events.own_process import fdinfo
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


def test_programs_cannot_be_detached_by_others(maps, opened_detectors) -> None:
    """A link of these kinds ends with its last descriptor alone, and only the agent has one."""
    if shutil.which("bpftool") is None:
        pytest.skip("no bpftool")
    numbers = [fdinfo(Path(f"/proc/self/fdinfo/{fd.name}")).get("link_id") for fd in Path("/proc/self/fd").iterdir()]
    links = [str(number) for number in numbers if number]
    assert links
    for number in links:
        done = subprocess.run(["bpftool", "link", "detach", "id", number], capture_output=True, text=True, check=False)
        assert done.returncode != 0, done.stdout
