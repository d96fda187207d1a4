"""Parts of typed conditions whose content isn't for everybody: macros and lists of another namespace.

Whoever writes a rule may use them, and is shown their names and not what they consist of.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tiercel_engine.condition import Node
from tiercel_engine.language.syntax import Check


@dataclass(frozen=True, slots=True)
class Withheld:
    """By the identity of nodes, which are kept so that no other node gets the same: conditions of macros with the
    macros' names, and comparisons with lists as they are written, with the lists' names."""

    macros: dict[int, tuple[Node, str]] = field(default_factory=dict)
    comparisons: dict[int, tuple[Node, Check]] = field(default_factory=dict)

    def add_macro(self, node: Node, name: str) -> None:
        self.macros[id(node)] = node, name

    def add_comparison(self, node: Node, written: Check) -> None:
        self.comparisons[id(node)] = node, written

    def update(self, other: Withheld) -> None:
        self.macros.update(other.macros)
        self.comparisons.update(other.comparisons)

    def is_macro(self, node: Node) -> bool:
        """Whether nothing of the node may be shown but its name."""
        return id(node) in self.macros

    def shown(self, node: Node) -> str | Check | None:
        """What is shown in the node's place; None if all of it may be shown."""
        known = self.macros.get(id(node)) or self.comparisons.get(id(node))
        return known[1] if known is not None else None
