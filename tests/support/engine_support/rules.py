"""What the tests of rules files share: short rules files, with the place of an expected finding marked in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiercel_engine.diagnostics import Diagnostic
from tiercel_engine.event import Event
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.rule import LoadedRules
from tiercel_engine.rules import RulesFile, load

MARK = "«"

STOCK_FOLDER = Path(__file__).resolve().parents[3].parent / "shared" / "falco-rules"
STOCK_SYSCALL = ("falco_rules", "falco-incubating_rules", "falco-sandbox_rules")

REST = "desc: d\n  output: o %proc.name\n  priority: INFO"
"""The keys of a rule besides its name and condition."""


def load_text(text: str, name: str = "rules.yaml") -> LoadedRules:
    return load([RulesFile(name, text)])


def load_marked(text: str) -> tuple[LoadedRules, tuple[str, int, int]]:
    """What comes of a text without its mark, and the place (file, line, column) of the mark."""
    before, _, after = text.partition(MARK)
    place = ("rules.yaml", before.count("\n") + 1, len(before) - before.rfind("\n"))
    return load_text(before + after), place


def place(diagnostic: Diagnostic) -> tuple[str, int, int]:
    location = diagnostic.location
    return location.file, location.line, location.column


def codes(loaded: LoadedRules) -> list[str]:
    return [diagnostic.code for diagnostic in (*loaded.errors, *loaded.warnings)]


def names(loaded: LoadedRules) -> list[str]:
    return [rule.name for rule in loaded.rules]


def rule(condition: str, name: str = "R", extra: str = "") -> str:
    """One rule as YAML, its condition plain; ``extra`` are more lines of it."""
    text = f"- rule: {name}\n  condition: {condition}\n  {REST}\n"
    return text + "".join(f"  {line}\n" for line in extra.splitlines())


def event(**fields: Any) -> Event:
    """An event; ``proc_name`` stands for ``proc.name``."""
    return Event("syscall", 1, {key.replace("_", ".", 1): value for key, value in fields.items()})


def matching(loaded: LoadedRules, **fields: Any) -> list[str]:
    """The names of the rules that match an event."""
    return [rule.name for rule, _ in Matcher(loaded.rules).match(event(**fields))]
