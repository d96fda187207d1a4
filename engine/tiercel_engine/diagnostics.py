"""What is wrong with a user's input, where, and what would be right.

Every part that reads rules reports with these values; nothing in the engine raises
on bad input or prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


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
