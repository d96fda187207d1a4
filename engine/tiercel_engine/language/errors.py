"""What is wrong with a condition, by offsets into its text."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_engine.diagnostics import Severity


class ConditionError(Exception):
    """A condition that cannot be read. ``start`` and ``end`` are offsets in characters, ``start <= end``;
    ``hint`` says what to write instead (``""`` if unknown)."""

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in a condition that could be read.

    ``code`` is ``LOAD_ERR_COMPILE_CONDITION`` or ``LOAD_ERR_VALIDATE`` for errors, else the code of a warning.
    """

    severity: Severity
    code: str
    message: str
    start: int
    end: int
    hint: str = ""
    unknown_field: bool = False
    """Whether the finding is that a field is not known: what ``skip-if-unknown-filter`` forgives."""
