"""From a tree to the text that parses to it again."""

from __future__ import annotations

from tiercel_engine.language.syntax import Expr


def print_condition(expr: Expr) -> str:
    """Canonical text: ``parse(print_condition(expr)) == expr``."""
    raise NotImplementedError
