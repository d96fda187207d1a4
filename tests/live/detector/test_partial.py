"""A kernel that refuses one program: the others watch, and it is reported what isn't seen and which rules that
affects."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from live_support.every_family import CONDITIONS, RULES, act, rules_that_fired
from live_support.watching import Watching, rule_set

from tiercel_agent.detection.partial import RULE, restrictions
from tiercel_agent.kernel.bytecode.compiler import Bytecode
from tiercel_agent.kernel.bytecode.hook_points import HOOK_POINTS
from tiercel_agent.kernel.bytecode.provider import BytecodeProvider
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.kernel.loading import program_set
from tiercel_agent.kernel.loading.libbpf import Map
from tiercel_agent.kernel.loading.optional_programs import OPTIONAL
from tiercel_agent.workloads.settings import WorkloadSettings
from tiercel_engine.priority import Priority

REFUSED = bytes((0x95, 0, 0, 0, 0, 0, 0, 0))  # exit, without a result


@pytest.fixture
def refusing(opened_detectors: object, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """From now on the kernel gets another program in place of the named one, and its verifier refuses that."""
    if os.geteuid() != 0:
        pytest.skip("live tests need root")
    whole = BytecodeProvider.get

    def refuse(name: str) -> None:
        def get(self: BytecodeProvider, *arguments: object) -> Bytecode:
            bytecode = whole(self, *arguments)  # type: ignore[arg-type]
            return replace(bytecode, programs={**bytecode.programs, name: REFUSED})

        monkeypatch.setattr(BytecodeProvider, "get", get)

    return refuse


def watching(rules: str = RULES) -> Watching:
    return Watching(rules, WorkloadSettings())


MISSED = {
    "plain": {"kill": "1 of its 1"},
    "paths": {"open": "2 of its 2", "renamed": "2 of its 2"},
    "descriptor": {"connect": "1 of its 1", "send": "1 of its 2"},
    "message": {"send": "1 of its 2"},
    "exec_failed": {"failed exec": "1 of its 1", "exec": "1 of its 1", "end": "1 of its 1"},
    "on_rename": {},
    "cgroup_made": {},
    "cgroup_gone": {},
    "rings": {},
}
PROGRAMS = {"rings": "ring_begins"}
"""Of parts whose programs have other names."""
SILENT = {
    "plain": {"kill"},
    "paths": {"open", "renamed"},
    "descriptor": {"connect"},
    "message": {"send"},
    "exec_failed": {"failed exec"},
}
"""By part, the rules that raise no alert without it. An exec that succeeds is reported by other programs."""


def test_every_optional_part_is_tried_here():
    assert OPTIONAL.keys() - HOOK_POINTS.keys() == MISSED.keys()


def test_with_all_parts_nothing_is_reported(opened_detectors):
    with watching() as watch:
        act(watch)
        assert rules_that_fired(watch) == set(CONDITIONS)
        assert not watch.detector.unwatched()


@pytest.mark.parametrize("part", MISSED)
def test_a_part_that_is_refused_takes_nothing_else_with_it(refusing, part: str):
    refusing(program := PROGRAMS.get(part, part))
    with watching() as watch:
        act(watch)
        assert rules_that_fired(watch) == set(CONDITIONS) - SILENT.get(part, set()) | {RULE}
        (alert,) = watch.of(RULE)
        (line,) = [line for line in restrictions(watch.detector) if program in line]
    assert line.startswith(f"kernel {platform.release()} refuses the program {program}")
    assert " (Permission denied; R0 !read_ok): " in line
    for rule, share in MISSED[part].items():
        assert f"{rule!r} ({share} event types)" in line
    assert line.count(" event types)") == len(MISSED[part])
    assert OPTIONAL[part].cost in line
    assert alert.output == f"This kernel doesn't let everything be watched: {line}"
    assert alert.priority is (Priority.CRITICAL if MISSED[part] else Priority.WARNING)
    assert alert.output_fields["unwatched.parts"] == part


@pytest.mark.parametrize("program", ["on_return", "admit", "begin", "send", "image", "on_exec", "on_fork", "on_exit"])
def test_without_the_others_nothing_is_watched(refusing, program: str):
    refusing(program)
    with pytest.raises(DetectorError, match=program), watching():
        pass


def test_a_tracepoint_that_the_kernel_lacks_is_a_part_too(opened_detectors, monkeypatch):
    points = {name: program for name, program in program_set._TRACEPOINTS.items() if program != "on_rename"}
    monkeypatch.setattr(program_set, "_TRACEPOINTS", {**points, "tiercel_none": "on_rename"})
    with watching() as watch:
        act(watch)
        assert rules_that_fired(watch) == {*CONDITIONS, RULE}
        (line,) = [line for line in restrictions(watch.detector) if "tracepoint" in line]
    assert line == f"kernel {platform.release()} has no tracepoint tiercel_none: {OPTIONAL['on_rename'].cost}"


@pytest.mark.parametrize("part", ["", "on_rename"])
def test_without_reports_of_new_names_nothing_of_processes_is_learned(refusing, monkeypatch, part: str):
    if part:
        refusing(part)
    told: list[str] = []
    update = Map.update
    monkeypatch.setattr(Map, "update", lambda self, *what: told.append(self.name) or update(self, *what))
    with watching() as watch:
        act(watch)
    assert ("process_classes" in told) == (not part)
    assert "call_sets" in told, "a new name doesn't make void what is learned of calls"


def test_a_refused_part_that_no_rule_needs_is_not_reported(refusing):
    refusing("message")
    rules = RULES.partition("- rule: send")[0]
    with watching(rules) as watch:
        for _ in range(3):
            watch.loop.turn(0.01)
        assert not watch.alerts
        assert not [line for line in restrictions(watch.detector) if "message" in line]


def test_after_a_change_of_rules_it_is_reported_again_what_they_miss(refusing):
    refusing("message")
    with watching(RULES.partition("- rule: send")[0]) as watch:
        watch.replace(rule_set(RULES))
        watch.until(lambda: watch.of(RULE))
        for _ in range(3):
            watch.loop.turn(0.01)
        assert len(watch.of(RULE)) == 1
        assert watch.detector.unwatched()[0].part == "message"


def test_tiercel_detect_warns_of_it_at_the_start(detect, tmp_path: Path):
    """As `tiercel detect` shows it: a warning before it watches."""
    program = tmp_path / "sitecustomize.py"
    program.write_text(
        "import tiercel_agent.kernel.loading.loader as loader\n"
        "load = loader._load\n"
        f"loader._load = lambda name, type_, code: load(name, type_, {REFUSED!r} if name == 'descriptor' else code)\n"
    )
    result = detect(lambda: None, {"PYTHONPATH": str(tmp_path)})
    line = f"Warning: kernel {platform.release()} refuses the program descriptor (Permission denied; R0 !read_ok): "
    assert result.stderr.startswith(
        line + "bpf can't be seen; rules concerned: 'Bpf' (1 of its 1 event types)\nwatching: 1 rules, 0 system calls"
    )
    assert result.returncode == 0
