from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from engine_support.rules import rule

from tiercel_engine.diagnostics import Diagnostic, Location, Severity, as_json, render
from tiercel_engine.rules import load, read_rules
from tiercel_engine.rules.documents.files import MAX_FILE_BYTES


def test_a_folder_gives_its_yaml_files_alphabetically(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "c.txt", "B.yaml"):
        (tmp_path / name).write_text(rule("evt.type = open", name))
    files, unread = read_rules([tmp_path / "c.txt", tmp_path])
    assert [Path(file.name).name for file in files] == ["c.txt", "B.yaml", "a.yaml", "b.yml"]
    assert unread == ()


def test_what_cannot_be_read_is_an_error_and_the_rest_is_read(tmp_path: Path) -> None:
    good = tmp_path / "good.yaml"
    good.write_text(rule("evt.type = open"))
    fifo = tmp_path / "fifo.yaml"
    os.mkfifo(fifo)
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    files, unread = read_rules([tmp_path / "gone.yaml", "/dev/zero", "with\0nul", tmp_path])
    assert [file.name for file in files] == [str(good)]
    assert {error.code for error in unread} == {"LOAD_ERR_FILE_READ"}
    messages = {error.location.file: error.message for error in unread}
    assert "No such file" in messages[str(tmp_path / "gone.yaml")]
    assert "not a regular file" in messages["/dev/zero"]
    assert "not a regular file" in messages[str(fifo)]
    assert "larger than" in messages[str(large)]
    assert "with\0nul" in messages


def test_invalid_utf8_is_an_error_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"- macro: \xc3\xa9\n  condition: \xff\n")
    files, _ = read_rules([path])
    (error,) = load(files).errors
    assert (error.code, error.location.line, error.location.column) == ("LOAD_ERR_YAML_PARSE", 2, 14)
    assert "0xff" in error.message


def diagnostic(line: str, column: int, width: int = 1, **changes: Any) -> Diagnostic:
    location = Location(changes.pop("file", "f.yaml"), 3, column)
    texts: dict[str, Any] = {"message": "wrong", "hint": "right"} | changes
    return Diagnostic(Severity.ERROR, "LOAD_ERR_VALIDATE", location=location, source_line=line, width=width, **texts)


def test_a_diagnostic_shows_place_line_underline_and_hint() -> None:
    assert render(diagnostic("  a: bcd", 6, 3)).splitlines() == [
        "f.yaml:3:6: error LOAD_ERR_VALIDATE: wrong",
        "      a: bcd",
        "         ^~~",
        "    hint: right",
    ]


@pytest.mark.parametrize(
    "line", ["\ta: bcd", "日本 bcd", "\x1b[31m: bcd", "é́: bcd", "x" * 10_000 + "bcd" + "y" * 10_000]
)
def test_the_underline_is_below_what_it_means(line: str) -> None:
    from unicodedata import combining, east_asian_width

    _, shown, underline, _ = render(diagnostic(line, line.index("bcd") + 1, 3)).splitlines()
    cells = "".join("" if combining(c) else c * 2 if east_asian_width(c) in "WF" else c for c in shown)
    assert cells[underline.index("^") : underline.index("^") + underline.count("^") + underline.count("~")] == "bcd"
    assert len(shown) < 150


HOSTILE = "a\x1b[2J\x07\x9b31m\u202e\u2028\udcff\r\nb"


def test_nothing_of_a_file_reaches_the_terminal_as_a_control_character() -> None:
    finding = diagnostic(HOSTILE, 2, 5, message=HOSTILE, hint=HOSTILE, file=HOSTILE)
    text = render(finding)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert len(text.split("\n")) == 4


def test_the_json_form_has_falcos_keys_and_valid_strings() -> None:
    document = as_json(diagnostic("", 1, item_type="rule", item_name="x\udcff"))
    assert document == {
        "code": "LOAD_ERR_VALIDATE",
        "item_type": "rule",
        "item_name": "x\ufffd",
        "message": "wrong",
        "file": "f.yaml",
        "line": 3,
        "column": 1,
        "hint": "right",
    }


def test_colour_is_only_added_when_asked_for() -> None:
    finding = diagnostic("a", 1)
    assert "\x1b" not in render(finding)
    assert "\x1b[31m" in render(finding, colour=True)
