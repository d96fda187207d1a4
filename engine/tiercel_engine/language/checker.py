"""From the untyped tree to the typed condition: macros, lists, fields, operators, constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tiercel_engine.condition import Node
from tiercel_engine.language.errors import Problem
from tiercel_engine.language.syntax import Expr


@dataclass(frozen=True, slots=True)
class Checked:
    """``node`` is None if there is an error among ``problems`` (all errors and warnings, in the order of the text)."""

    node: Node | None
    problems: tuple[Problem, ...]
    macros: frozenset[str]
    """Names of the macros that the condition names itself."""
    lists: frozenset[str]
    """Names of the lists that the condition names itself."""


def check(expr: Expr, *, macros: Mapping[str, Node], lists: Mapping[str, tuple[str, ...]]) -> Checked:
    """The typed condition of ``expr``.

    ``macros`` are the typed conditions of the macros that may be used; their nodes are shared, not
    copied. ``lists`` are the items of each list, with lists in lists already replaced. Raises nothing.
    """
    raise NotImplementedError
