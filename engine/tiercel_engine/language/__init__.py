"""The condition language: text → untyped tree (``parse``) → typed condition (``check``)."""

from __future__ import annotations

from tiercel_engine.language.checker import Checked, check
from tiercel_engine.language.errors import ConditionError, Problem
from tiercel_engine.language.parser import parse
from tiercel_engine.language.printer import print_condition, print_node

__all__ = ["Checked", "ConditionError", "Problem", "check", "parse", "print_condition", "print_node"]
