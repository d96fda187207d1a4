"""Problems of a condition, with offsets into its text as their places."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_engine.diagnostics import Severity


class ConditionError(Exception):
    """A condition cannot be read. ``start`` and ``end`` are offsets in characters, with ``start <= end``;
    ``hint`` says what to write instead (``""`` if unknown)."""

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Problem:
    """One error or warning about a condition that could be parsed.

    ``code`` is ``LOAD_ERR_COMPILE_CONDITION`` or ``LOAD_ERR_VALIDATE`` for an error, otherwise the code of a warning.
    """

    severity: Severity
    code: str
    message: str
    start: int
    end: int
    hint: str = ""
    unknown_field: bool = False
    """Whether the problem is an unknown field, which ``skip-if-unknown-filter`` allows."""
