from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tiercel_cli.main import main

RULES = """
- macro: container
  condition: container.id != host
- rule: Secret read in a container
  desc: d
  condition: container and evt.type in (open, openat) and fd.name startswith /secret/ and not proc.name in (a, b)
  output: o
  priority: INFO
- rule: By name of user
  desc: d
  condition: evt.type in (openat, execve) and (user.name = mallory or proc.name = x)
  output: o
  priority: INFO
- rule: Opened for writing
  desc: d
  condition: evt.type in (openat, openat2) and evt.is_open_write = true and fd.name = /a
  output: o
  priority: INFO
"""


@pytest.fixture
def explain(tmp_path: Path):
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["explain", "-r", str(path), *arguments])

    return run


def places(result: Result) -> list[list[str]]:
    """The lines of the condition, taken apart where columns are."""
    return [line.strip().split(maxsplit=1) for line in result.stdout.splitlines() if line.startswith("    ")]


def test_each_test_is_marked_with_the_place_where_it_is_made(explain) -> None:
    result = explain("secret read")
    assert result.exit_code == 0
    assert "  system calls: open, openat\n" in result.stdout
    assert places(result) == [
        ["all", "of"],
        ["process", 'container.id != "host"'],
        ["kernel", 'evt.type in ("open", "openat")'],
        ["kernel", 'fd.name startswith "/secret/"'],
        ["process", 'not proc.name in ("a", "b")'],
    ]
    assert "  The kernel alone decides it for open, openat.\n" in result.stdout
    assert result.stdout.endswith("1 rules, 0 expensive\n")


def test_an_expensive_rule_is_called_so_with_the_reason_and_a_better_way(explain) -> None:
    lines = explain("by name").stdout.splitlines()
    assert '    user space        user.name = "mallory"' in lines
    assert (
        '  Expensive: every openat will go to user space, since only user space can test user.name = "mallory".'
        in lines
    )
    assert "  Better: names of users may change at any time: compare user.uid and group.gid." in lines
    assert "  Every execve is told to user space anyway." in lines


def test_calls_for_which_a_test_is_made_elsewhere_are_named(explain) -> None:
    lines = explain("writing").stdout.splitlines()
    assert "    kernel*         evt.is_open_write = true" in lines
    assert "    * user space for openat2" in lines
    assert "  The kernel alone decides it for openat." in lines


def test_all_rules_without_a_name_and_an_error_for_one_that_is_not_there(explain) -> None:
    assert explain().stdout.endswith("3 rules, 1 expensive\n")
    result = explain("nothing\x1b[31m")
    assert result.exit_code == 2
    assert result.stderr == "Error: no rule is called nothing\\x1b[31m\n"


def test_good_rules_are_explained_beside_bad_ones(explain, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("- rule: Bad\n  desc: d\n  condition: proc.nmae = x\n  output: o\n  priority: INFO\n")
    result = explain("-r", str(bad), "secret")
    assert result.exit_code == 1
    assert "LOAD_ERR_COMPILE_CONDITION" in result.stderr
    assert "1 rules, 0 expensive" in result.stdout
