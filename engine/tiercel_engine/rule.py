"""A rule that is ready to run, and the result of loading rules."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_engine.condition import Node
from tiercel_engine.diagnostics import Diagnostic, Location
from tiercel_engine.priority import Priority


@dataclass(frozen=True, slots=True)
class Origin:
    """The SecurityRule that a rule stands in."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One enabled or disabled rule with its condition typed and its output checked.

    ``origin`` is None for rules of files.
    """

    name: str
    description: str
    source: str
    priority: Priority
    condition: Node
    output: str
    tags: tuple[str, ...]
    location: Location
    enabled: bool = True
    origin: Origin | None = None

    @property
    def key(self) -> str:
        """What tells it from all rules that run with it: tenants may give theirs the same names."""
        return rule_key(self.name, self.origin)


def rule_key(name: str, origin: Origin | None) -> str:
    return f"{origin.namespace}/{name}" if origin is not None else name


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of one or several rules files: the good rules, and everything to be said of the rest.

    ``rules`` holds every rule without an error, in the order of their first definition, disabled
    ones too; ``tiercel detect`` starts nothing if there are errors unless told to keep going.
    """

    rules: tuple[Rule, ...]
    errors: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        return not self.errors
