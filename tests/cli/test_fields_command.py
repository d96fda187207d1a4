"""`tiercel fields` as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

from click.testing import CliRunner, Result

from tiercel_cli.fields import fields
from tiercel_engine.fields import documented


def run(*arguments: str) -> Result:
    return CliRunner().invoke(fields, arguments)


def test_a_part_of_a_name_finds_every_field_with_it() -> None:
    lines = run("aname").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["FIELD", "proc.aname"]
    assert "([n])" in lines[1]
    assert "any of string" in lines[1]
    assert "syscall" in lines[1]


def test_a_glob_fits_the_whole_name() -> None:
    names = [line.split()[0] for line in run("fd.?ip").stdout.splitlines()[1:]]
    assert names == ["fd.cip", "fd.sip", "fd.lip", "fd.rip"]


def test_without_a_pattern_every_field_is_listed() -> None:
    assert len(run().stdout.splitlines()) == len(documented()) + 1


def test_it_says_where_a_field_is_tested() -> None:
    assert "kernel" in run("evt.rawres").stdout
    assert "process" in run("user.uid").stdout
    assert "user space" in run("fd.sip.name").stdout


def test_an_argument_of_a_call_is_explained() -> None:
    assert "O_CREAT" in run("evt.arg.flags").stdout


def test_a_member_of_a_family_is_found() -> None:
    assert "k8s.pod.label.app" in run("k8s.pod.label.app").stdout


def test_json_has_all_that_the_table_has() -> None:
    (field,) = json.loads(run("container.mount.dest", "--json").stdout)
    assert field.pop("meaning").startswith("The destination of a mount")
    assert field == {
        "name": "container.mount.dest",
        "type": "string",
        "multiplicity": "one",
        "argument": "required",
        "argument_kind": "glob",
        "sources": ["syscall"],
        "tested_in": "process",
    }


def test_nothing_found_is_an_error_with_a_suggestion() -> None:
    result = run("proc.nmae")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "proc.name" in result.stderr


def test_nothing_found_is_an_empty_array_in_json() -> None:
    result = run("proc.nmae", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, [])


def test_a_hostile_pattern_reaches_the_terminal_harmless() -> None:
    result = run("\x1b[31m\nx")
    assert result.exit_code == 1
    assert "\x1b" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_on_a_terminal_it_is_a_table() -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-c", "from tiercel_cli.fields import fields; fields(['proc.pname'])"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150"}
    try:
        with subprocess.Popen(command, stdout=slave, env=environment) as process:
            assert process.wait(timeout=60) == 0
        os.close(slave)
        text = os.read(master, 65536).decode()
    finally:
        os.close(master)
    assert "\x1b[" in text
    assert "The name of the parent." in text
