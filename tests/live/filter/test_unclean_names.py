"""Names with `..`, `.` or doubled slashes in them are cleaned in the kernel: no rule, no event."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from live_support.filter_rules import alerted_rules, rules_of

from tiercel_agent.detection.detector import Detector, open_detector
from tiercel_agent.kernel.errors import DetectorError
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import Requirements

Opened = Callable[..., tuple[list[str], int]]


@pytest.fixture
def open_all(tmp_path) -> Iterator[Opened]:
    """Opens these names with rules on files of the folder; which rules match, and how many events there are."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "other/folder").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "other/folder")
    for name in ("secret", "other/secret", "harmless", "a/harmless"):
        (tmp_path / name).touch()
    rules = rules_of(
        {
            "secret": f"fd.name = {tmp_path}/secret",
            "other": f"fd.name = {tmp_path}/other/secret",
            "missing": f"fd.name = {tmp_path}/missing",
            "root": "fd.name = /",
            "passed": "fd.nameraw = a/../harmless",
            "end": "fd.name = /tiercel-end",
        }
    )
    opened: list[Detector] = []

    def open_names(*names: str) -> tuple[list[str], int]:
        if not opened:
            try:
                opened.append(open_detector(Requirements.of(rules), rules, flood_limit=0))
            except DetectorError as error:
                pytest.skip(f"live tests need eBPF: {error}")
        return alerted_rules(opened[0], Matcher(rules), *names)

    before = os.getcwd()
    os.chdir(tmp_path)
    yield open_names
    os.chdir(before)
    for detector in opened:
        detector.close()


@pytest.mark.parametrize(
    "name",
    [
        "{}/a/../harmless",
        "{}//a///harmless",
        "{}/./a/./harmless",
        "{}/a/b/../../harmless",
        "/../..{}/harmless",
        "{}/a/",
        "{}/a/.",
        "{}/a/b/..",
        "{}/link/../folder",
        "{}/a/../never/../there",
        "./harmless",
        "a/../harmless/",
        "../",
        "{}/a/" + "b/../" * 30 + "harmless",
    ],
)
def test_what_no_rule_can_match_stays_in_the_kernel(open_all: Opened, tmp_path, name):
    assert open_all(name.format(tmp_path)) == ([], 0)


@pytest.mark.parametrize(
    ("name", "alerted"),
    [
        ("{}/a/../secret", ["secret"]),
        ("a/b/..//../secret", ["secret"]),
        ("../{1}/./secret", ["secret"]),
        ("{}/a/../missing", ["missing"]),
        ("{}/link/../secret", ["secret", "other"]),  # by its text one file, for the kernel the other one
        ("link/../secret", ["secret", "other"]),
        ("a/../harmless", ["passed"]),
        ("/../.", ["root"]),
        ("/", ["root"]),
    ],
)
def test_what_a_rule_matches_comes_through(open_all: Opened, tmp_path, name, alerted):
    names = [name.format(tmp_path, tmp_path.name)] * 3  # the second time the filter knows the name
    assert open_all(*names) == (alerted * 3, 3)
