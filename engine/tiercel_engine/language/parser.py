"""From the text of a condition to its untyped tree."""

from __future__ import annotations

from tiercel_engine.language.errors import ConditionError
from tiercel_engine.language.syntax import Expr

MAX_LENGTH = 1 << 20
"""Characters of a condition."""
MAX_DEPTH = 100
"""Levels of parentheses, transformers included."""


def parse(text: str) -> Expr:
    """The tree of a condition. Raises ConditionError, and nothing else, whatever the text."""
    raise ConditionError("the parser is being built", 0, len(text))
