from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tiercel_agent.filter.budget import FilterBudget
from tiercel_agent.filter.clauses import make_clauses
from tiercel_cli.main import main

GOOD = "- rule: Good\n  desc: d\n  condition: evt.type = unlink\n  output: o\n  priority: INFO\n"
BAD = "- rule: Bad\n  desc: d\n  condition: evt.type = open and proc.nmae = x\n  output: o\n  priority: INFO\n"
UNUSED = "- macro: unused\n  condition: proc.name = x\n"


def lint(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["lint", *map(str, arguments)])


@pytest.fixture
def rules(tmp_path: Path) -> dict[str, Path]:
    paths = {}
    for name, text in (("good", GOOD), ("bad", BAD), ("unused", UNUSED)):
        paths[name] = tmp_path / f"{name}.yaml"
        paths[name].write_text(text)
    return paths


def test_good_files_pass_with_a_summary(rules: dict[str, Path]) -> None:
    result = lint(rules["good"], rules["unused"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "2 files: 1 rule, 0 errors, 1 warning"
    assert f"{rules['unused']}:1:10: warning LOAD_UNUSED_MACRO:" in result.stdout


def test_an_error_fails_and_is_shown_with_its_place_and_a_hint(rules: dict[str, Path]) -> None:
    result = lint(rules["bad"], rules["good"])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{rules['bad']}:3:34: error LOAD_ERR_COMPILE_CONDITION: ")
    assert lines[1].strip() == "condition: evt.type = open and proc.nmae = x"
    assert lines[1][lines[2].index("^") :].startswith("proc.nmae")
    assert lines[3].strip() == "hint: did you mean proc.name?"
    assert lines[-1] == "2 files: 1 rule, 1 error, 0 warnings"


def test_a_folder_and_a_file_that_is_not_there(rules: dict[str, Path], tmp_path: Path) -> None:
    result = lint(tmp_path, tmp_path / "gone.yaml")
    assert result.exit_code == 1
    assert "LOAD_ERR_FILE_READ" in result.stdout
    assert result.stdout.splitlines()[-1] == "4 files: 1 rule, 2 errors, 1 warning"


def test_json_is_one_object_with_falcos_keys(rules: dict[str, Path]) -> None:
    result = lint(rules["bad"], rules["unused"], "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["ok"] is False
    (error,) = report["errors"]
    (warning,) = report["warnings"]
    assert (error["code"], error["item_type"], error["item_name"]) == ("LOAD_ERR_COMPILE_CONDITION", "rule", "Bad")
    assert (error["file"], error["line"], error["column"]) == (str(rules["bad"]), 3, 34)
    assert "proc.nmae" in error["message"]
    assert warning["code"] == "LOAD_UNUSED_MACRO"
    assert json.loads(lint(rules["good"], "--json").stdout) == {"ok": True, "errors": [], "warnings": []}


def test_a_rule_that_would_send_every_open_to_user_space_is_called_expensive(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        "- rule: Costly\n  desc: d\n  condition: evt.type in (open, openat) and user.name = mallory\n"
        "  output: o\n  priority: INFO\n"
        "- rule: Cheap\n  desc: d\n  condition: evt.type in (open, openat) and user.name = mallory and fd.name = /x\n"
        "  output: o\n  priority: INFO\n"
    )
    result = lint(path)
    assert result.exit_code == 0
    warning, hint, summary = result.stdout.splitlines()
    assert warning == (
        f"{path}:1:9: warning EXPENSIVE_RULE: expensive: every open and openat will go to user space, since only user "
        'space can test user.name = "mallory"'
    )
    assert hint == "    hint: names of users may change at any time: compare user.uid and group.gid"
    assert summary == "1 file: 2 rules, 0 errors, 1 warning"


def test_no_file_is_wrong_usage() -> None:
    assert lint().exit_code == 2


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path = tmp_path / "x\x1b[31m\x9b\u202e.yaml"
    name = r"\e[2J\x07\x9b\u202e\u2028"
    path.write_text(f'- rule: "{name}"\n  condition: "nothing\\e[31m and {name}"\n  bad\u202ekey: x\n')
    result = lint(path, *arguments)
    assert result.exit_code == 1
    assert all(character.isprintable() or character == "\n" for character in result.stdout)


def test_rules_that_are_too_many_for_the_kernel_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiercel_cli.lint.make_clauses", partial(make_clauses, budget=FilterBudget(system=1)))
    path = tmp_path / "rules.yaml"
    path.write_text("".join(GOOD.replace("Good", f"R{number}") for number in range(3)))
    result = lint(path)
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if "too many rules" in line] == [
        f"{path}:{line}:9: warning EXPENSIVE_RULE: too many rules for the kernel: every call that this one asks for "
        "will go to user space"
        for line in (6, 11)
    ]
