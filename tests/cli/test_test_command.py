"""`tiercel test` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tiercel_cli.main import main

MANIFEST = """\
apiVersion: tiercel.dev/v1alpha1
kind: SecurityRule
metadata: {name: shells, namespace: shop}
spec:
  rules:
  - rule: Shell
    desc: d
    condition: evt.type = execve and proc.name in (shells)
    output: o
    priority: NOTICE
  tests:
  - name: a shell is seen
    event: {evt.type: execve, proc.name: bash}
    expect: [Shell]
"""
SHELLS = "- list: shells\n  items: [bash, sh]\n"
FAILING = "  - {name: zsh too, event: {evt.type: execve, proc.name: zsh}, expect: [Shell]}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a-lists.yaml").write_text(SHELLS)
    (tmp_path / "shells.yaml").write_text(MANIFEST)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["test", *map(str, arguments)])


def test_tests_that_pass_are_counted(folder: Path) -> None:
    result = run(folder)
    assert (result.exit_code, result.stdout) == (0, "1 test, 1 passed, 0 failed, 1 file without tests\n")


def test_a_test_that_fails_is_shown_with_its_place_and_why(folder: Path) -> None:
    path = folder / "shells.yaml"
    path.write_text(MANIFEST + FAILING)
    result = run(folder / "a-lists.yaml", path)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{path}:15:12: failed: zsh too",
        '    event:    {"evt.type": "execve", "proc.name": "zsh"}',
        "    expected: Shell",
        "    matched:  none",
        '    why:      Shell did not match: proc.name in ("bash", "sh") does not hold, proc.name is "zsh"',
        "2 tests, 1 passed, 1 failed, 1 file without tests",
    ]


@pytest.mark.parametrize("test", ["{name: t, event: {proc.nmae: x}, expect: none}", "{name: t, event: {}}"])
def test_errors_are_told_and_the_other_tests_run(folder: Path, test: str) -> None:
    path = folder / "shells.yaml"
    path.write_text(f"{MANIFEST}  - {test}\n")
    result = run(folder)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{path}:15:")
    assert result.stdout.endswith("\n1 test, 1 passed, 0 failed, 1 error, 1 file without tests\n")


def test_errors_of_rules_and_files_count(folder: Path) -> None:
    (folder / "bad.yaml").write_text("- {rule: Bad, desc: d, condition: proc.nmae = x, output: o, priority: INFO}\n")
    result = run(folder, folder / "gone.yaml")
    assert result.exit_code == 1
    assert "LOAD_ERR_FILE_READ" in result.stdout
    assert "hint: did you mean proc.name?" in result.stdout
    assert result.stdout.endswith("\n1 test, 1 passed, 0 failed, 2 errors, 2 files without tests\n")


def test_json(folder: Path) -> None:
    (folder / "shells.yaml").write_text(MANIFEST + FAILING)
    result = run("--json", folder)
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["ok"], report["errors"], report["untested"]) == (False, [], [str(folder / "a-lists.yaml")])
    passed, failed = report["tests"]
    assert (passed["name"], passed["passed"], passed["message"]) == ("a shell is seen", True, "")
    assert (failed["file"], failed["line"]) == (str(folder / "shells.yaml"), 15)
    assert (failed["expected"], failed["matched"], failed["missing"]) == (["Shell"], [], ["Shell"])
    assert failed["event"] == {"evt.type": "execve", "proc.name": "zsh"}
    assert 'proc.name is "zsh"' in failed["message"]


@pytest.mark.parametrize("arguments", [(), ("--nonsense", "x.yaml")])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_hostile_manifests_do_not_reach_the_terminal(folder: Path, arguments: tuple[str, ...]) -> None:
    path = folder / "x\x1b[31m\x9b\u202e.yaml"
    hidden = r"\e[2J\x07\x9b\u202e\u2028"
    event = f'{{proc.name: "{hidden}", evt.arg.path: "{"x" * 60_000}"}}'
    path.write_text(
        MANIFEST.replace("Shell", f'"{hidden}"').replace("a shell is seen", f'"{hidden}"')
        + f'  - {{name: "x{hidden}", event: {event}, expect: ["{hidden}"]}}\n'
    )
    result = run(*arguments, folder / "a-lists.yaml", path)
    assert result.exit_code == 1
    assert all(character.isprintable() or character == "\n" for character in result.stdout)
    assert arguments or len(result.stdout) < 3000


def test_it_needs_no_agent() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from tiercel_cli.main import main\n"
        "CliRunner().invoke(main, ['test', '--help'])\n"
        "print([name for name in sys.modules if name.startswith('tiercel_agent')])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
