"""What is wrong with a user's input, where, and what would be right.

Every part that reads rules reports with these values; nothing in the engine raises
on bad input or prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from unicodedata import combining, east_asian_width

from tiercel_engine.printable import printable, valid

MAX_SHOWN = 120
"""Characters of a source line that are shown; the rest is cut around the place that is meant."""

_RED, _YELLOW, _CYAN, _BOLD, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[1m", "\x1b[0m"


class Severity(Enum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a text; ``line`` and ``column`` count from 1 (columns in characters)."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    ``code`` is one of Falco's (``LOAD_ERR_…`` for errors, ``LOAD_…`` for warnings).
    ``item_type`` is ``rule``, ``macro``, ``list``, ``exception``, ``file`` …, ``item_name`` its name or ``""``.
    ``source_line`` is the text of the line at ``location`` for the caret, ``width`` the number
    of characters to underline, ``hint`` what to write instead (``""`` if unknown).
    """

    severity: Severity
    code: str
    message: str
    location: Location
    item_type: str = ""
    item_name: str = ""
    source_line: str = ""
    width: int = 1
    hint: str = ""


def as_json(diagnostic: Diagnostic) -> dict[str, str | int]:
    """The diagnostic for `--json`: strings are valid Unicode, with control characters still in them."""
    return {
        "code": diagnostic.code,
        "item_type": diagnostic.item_type,
        "item_name": valid(diagnostic.item_name),
        "message": valid(diagnostic.message),
        "file": valid(diagnostic.location.file),
        "line": diagnostic.location.line,
        "column": diagnostic.location.column,
        "hint": valid(diagnostic.hint),
    }


def render(diagnostic: Diagnostic, *, colour: bool = False) -> str:
    """The diagnostic for people, in two to four lines without a line break at the end:

    ``file:line:column: error CODE: message``, the source line with the place underlined, ``hint: …``.
    Nothing of a file's text reaches the terminal as a control character.
    """
    tone = _RED if diagnostic.severity is Severity.ERROR else _YELLOW

    def painted(code: str, text: str) -> str:
        return f"{code}{text}{_PLAIN}" if colour else text

    place = painted(_BOLD, f"{printable(str(diagnostic.location))}:")
    kind = painted(tone, f"{diagnostic.severity.value} {diagnostic.code}:")
    lines = [f"{place} {kind} {printable(diagnostic.message)}"]
    if diagnostic.source_line:
        before, marked, after = _excerpt(diagnostic)
        lines.append(f"    {before}{marked}{after}")
        lines.append("    " + " " * _cells(before) + painted(tone, "^" + "~" * (_cells(marked) - 1)))
    if diagnostic.hint:
        lines.append(f"    {painted(_CYAN, 'hint:')} {printable(diagnostic.hint)}")
    return "\n".join(lines)


def _excerpt(diagnostic: Diagnostic) -> tuple[str, str, str]:
    """The source line, made printable, in three: before the marked characters, these, and behind them."""
    line = diagnostic.source_line.replace("\t", " ")
    start = min(diagnostic.location.column - 1, len(line))
    end = min(start + max(1, diagnostic.width), len(line))
    left = max(0, min(start - MAX_SHOWN // 3, len(line) - MAX_SHOWN))
    right = left + MAX_SHOWN
    before = ("…" if left else "") + printable(line[left:start])
    marked = printable(line[start : min(end, right)])
    after = printable(line[end:right]) + ("…" if len(line) > right else "")
    return before, marked, after


def _cells(text: str) -> int:
    """Columns of a terminal that a printable text takes."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
