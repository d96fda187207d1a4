"""A rule that is ready to run, and the result of loading rules."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_engine.condition import Node
from tiercel_engine.diagnostics import Diagnostic, Location
from tiercel_engine.priority import Priority


@dataclass(frozen=True, slots=True)
class Origin:
    """The SecurityRule object that holds a rule."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, enabled or disabled, with a typed condition and a valid output.

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
        """A key that is unique among the rules that run together. Names are not: tenants may use the same ones."""
        return rule_key(self.name, self.origin)


def rule_key(name: str, origin: Origin | None) -> str:
    """The key of a rule: ``namespace/name`` for one of a SecurityRule, else its name."""
    return f"{origin.namespace}/{name}" if origin is not None else name


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """The result of loading one or several rules files: the good rules, and the problems of the others.

    ``rules`` holds every rule without an error, disabled ones too, in the order of their first definition.
    ``tiercel detect`` does not start if there are errors, unless it is told to keep going.
    """

    rules: tuple[Rule, ...]
    errors: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        return not self.errors
