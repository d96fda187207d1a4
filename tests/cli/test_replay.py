"""`tiercel replay` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tiercel_cli.main import main
from tiercel_engine.event import Event
from tiercel_engine.replay import write_event

RULES = """
- rule: Shadow read
  desc: d
  condition: evt.type = openat and fd.name = /etc/shadow
  output: read (%proc.name %fd.name)
  priority: WARNING
  tags: [files]
- rule: Shell
  desc: d
  condition: evt.type = execve and proc.name in (sh, bash)
  output: shell (%proc.name)
  priority: NOTICE
"""
EVENTS = [
    {"evt.type": "openat", "fd.name": "/etc/shadow", "proc.name": "cat\n\x1b[31m"},
    {"evt.type": "openat", "fd.name": "/etc/hosts", "proc.name": "cat"},
    {"evt.type": "execve", "proc.name": "sh", "evt.hostname": "node-7"},
    {"evt.type": "openat", "fd.name": "/tmp/link", "fd.realname": "/etc/shadow", "proc.name": "ls"},
]
LINES = b"".join(write_event(Event("syscall", number, fields)) for number, fields in enumerate(EVENTS))  # type: ignore[arg-type]


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return str(path)


@pytest.fixture
def events(tmp_path: Path) -> str:
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINES)
    return str(path)


def replay(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["replay", *arguments], input=stdin)


def test_alerts_are_printed_in_the_order_of_the_events(rules: str, events: str) -> None:
    result = replay(events, "-r", rules)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        r"00:00:00.000000000: Warning read (cat\n\x1b[31m /etc/shadow)",
        "00:00:00.000000002: Notice shell (sh)",
        "00:00:00.000000003: Warning read (ls /etc/shadow)",
    ]
    assert result.stderr == ""


def test_json(rules: str, events: str) -> None:
    result = replay(events, "-r", rules, "--json")
    alerts = [json.loads(line) for line in result.stdout.splitlines()]
    assert [alert["rule"] for alert in alerts] == ["Shadow read", "Shell", "Shadow read"]
    assert alerts[0]["output_fields"]["proc.name"] == "cat\n\x1b[31m"
    assert alerts[0]["tags"] == ["files"]
    assert alerts[1]["hostname"] == "node-7"


def test_several_files_and_standard_input(rules: str, events: str) -> None:
    result = replay(events, "-", "-r", rules, stdin=LINES)
    assert len(result.stdout.splitlines()) == 6


SUMMARY = ["4 events, 3 alerts, 0 malformed lines", "2  Shadow read", "1  Shell"]


def test_the_summary_counts_after_the_alerts(rules: str, events: str) -> None:
    result = replay(events, "-r", rules, "--summary")
    assert result.stdout.splitlines()[3:] == SUMMARY
    assert result.stderr == ""


def test_with_json_the_summary_stays_off_standard_output(rules: str, events: str) -> None:
    result = replay(events, "-r", rules, "--summary", "--json")
    assert len([json.loads(line) for line in result.stdout.splitlines()]) == 3
    assert result.stderr.splitlines() == SUMMARY


def test_malformed_lines_are_told_and_the_rest_goes_on(rules: str) -> None:
    result = replay("-", "-r", rules, "--summary", stdin=b"oops\x1b[0m\n" + LINES + b'{"source": "syscall"}\n')
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first.startswith("Error: standard input:1: is not JSON")
    assert second == "Error: standard input:6: time: is missing"
    assert "4 events, 3 alerts, 2 malformed lines" in result.stdout


def test_a_file_full_of_malformed_lines_does_not_flood(rules: str) -> None:
    result = replay("-", "-r", rules, stdin=b"\x00\n" * 1000)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "… and 980 more lines that hold no event"


def test_rule_errors_end_before_anything_is_replayed(rules: str, events: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("- rule: x\n  desc: d\n  condition: proc.nam = x\n  output: o\n  priority: INFO\n")
    result = replay(events, "-r", rules, "-r", str(bad))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "bad.yaml:3:" in result.stderr
    assert "proc.name" in result.stderr


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_an_unreadable_events_file(rules: str, events: str, tmp_path: Path, name: str) -> None:
    result = replay(str(tmp_path / name), "-r", rules)
    assert result.exit_code == 1
    assert "cannot read" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["-r", "x.yaml"], ["events.jsonl"], ["events.jsonl", "--nonsense"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert replay(*arguments).exit_code == 2
