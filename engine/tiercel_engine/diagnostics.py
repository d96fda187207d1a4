"""Diagnostics: what is wrong with a user's input, at which place, and what would be right.

Every part that reads rules reports problems as these values. Loading rules never raises an error because of the
input, and the engine prints nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from unicodedata import combining, east_asian_width

from tiercel_engine.printable import printable, valid

MAX_SHOWN = 120
"""Characters of a source line that are shown. Of a longer line only the part around the marked place is shown."""

_RED, _YELLOW, _CYAN, _BOLD, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[1m", "\x1b[0m"


class Severity(Enum):
    """How serious a finding is: an error keeps a rule from being used, a warning does not."""

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

    ``code`` is one of Falco's codes (``LOAD_ERR_…`` for errors, ``LOAD_…`` for warnings).
    ``item_type`` is ``rule``, ``macro``, ``list``, ``exception``, ``file`` and so on; ``item_name`` is the name of
    that item, or ``""``. ``source_line`` is the text of the line at ``location``, ``width`` the number of characters
    to underline in it, and ``hint`` says what to write instead (``""`` if that is unknown).
    ``left_out`` are the names of the rules that are left out because of an error in a macro.
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
    left_out: tuple[str, ...] = ()


def as_json(diagnostic: Diagnostic) -> dict[str, str | int]:
    """The diagnostic as `--json` prints it. Strings are valid Unicode; control characters are still in them."""
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
    """The diagnostic as text for people, in one to four lines without a line break at the end.

    The lines are ``file:line:column: error CODE: message``, the source line, a line that underlines the place in it,
    and ``hint: …``. Control characters of a file's text are made visible. ``colour`` adds the colours of a terminal.
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
    """The source line, made printable, in three parts: before the marked characters, the marked ones, after them."""
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
    """The number of columns that a printable text takes on a terminal."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
