"""The language of conditions: ``parse`` makes an untyped tree of a text, ``check`` a typed condition of the tree."""

from __future__ import annotations

from tiercel_engine.language.checker import Checked, check
from tiercel_engine.language.errors import ConditionError, Problem
from tiercel_engine.language.parser import parse
from tiercel_engine.language.printer import print_condition, print_node

__all__ = ["Checked", "ConditionError", "Problem", "check", "parse", "print_condition", "print_node"]
