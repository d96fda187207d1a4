"""The definitions that result from all statements of all files, applied in their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from tiercel_engine.event_types import EVENT_TYPES
from tiercel_engine.rules.documents.decoding import VALIDATE
from tiercel_engine.rules.documents.items import (
    Broken,
    Change,
    Define,
    ExceptionItem,
    ListItem,
    MacroItem,
    RuleItem,
    Statement,
    kind_of,
)
from tiercel_engine.rules.documents.report import Report
from tiercel_engine.rules.documents.source_file import SourceText

DEFAULT_SOURCE = "syscall"

MAX_CHANGES = 1000
"""The most appends and overrides of one item: each of them copies the item."""

_I = TypeVar("_I", RuleItem, MacroItem, ListItem)


@dataclass(frozen=True, slots=True)
class Definition(Generic[_I]):
    """A rule, macro or list in its final state.

    ``place`` is the position of the first statement that defined the name, among all statements, and ``seen_from``
    that of the last one that defined or changed it. A macro or list may use those of its kind whose ``place`` is
    before its own ``seen_from``. ``changes`` counts the appends and overrides.
    """

    item: _I
    place: int
    seen_from: int
    changes: int = 0


@dataclass(slots=True)
class Definitions:
    """The definitions by name, in the order of their places. ``broken`` has kind and name of items with an error."""

    rules: dict[str, Definition[RuleItem]] = field(default_factory=dict)
    macros: dict[str, Definition[MacroItem]] = field(default_factory=dict)
    lists: dict[str, Definition[ListItem]] = field(default_factory=dict)
    broken: set[tuple[str, str]] = field(default_factory=set)


def collect_definitions(statements: Iterable[Statement], report: Report) -> Definitions:
    """The definitions that the statements make. Errors and warnings go to ``report``."""
    collector = _Collector(report)
    for statement in statements:
        collector.take(statement)
    return collector.definitions


def source_of(rule: RuleItem) -> str:
    """The event source of a rule."""
    return rule.source.text if rule.source is not None else DEFAULT_SOURCE


class _Collector:
    def __init__(self, report: Report) -> None:
        self.definitions = Definitions()
        self._report = report
        self._number = 0

    def take(self, statement: Statement) -> None:
        definitions = self.definitions
        match statement:
            case Broken(kind, name):
                definitions.broken.add((kind, name))
            case Define(RuleItem() as item):
                self._define_rule(item)
            case Define(MacroItem() as item):
                self._define(definitions.macros, item)
            case Define(ListItem() as item):
                self._define(definitions.lists, item)
            case Change(RuleItem() as item):
                self._change(definitions.rules, item, statement)
            case Change(MacroItem() as item):
                self._change(definitions.macros, item, statement)
            case Change(ListItem() as item):
                self._change(definitions.lists, item, statement)
        self._number += 1

    def _define(self, table: dict[str, Definition[_I]], item: _I) -> None:
        before = table.get(item.name)
        table[item.name] = Definition(item, before.place if before else self._number, self._number)

    def _define_rule(self, item: RuleItem) -> None:
        before = self.definitions.rules.get(item.name)
        source = source_of(item)
        if before is not None and self._moves(before.item, item, DEFAULT_SOURCE):
            return
        if source not in EVENT_TYPES:
            place = item.source.span(0, len(item.source.text)) if item.source else item.span
            hint = f"known: {', '.join(EVENT_TYPES)}"
            message = f"unknown source {source}, the rule is skipped"
            self._report.warning("LOAD_UNKNOWN_SOURCE", message, place, ("rule", item.name), hint)
        self._define(self.definitions.rules, item)

    def _moves(self, before: RuleItem, item: RuleItem, default: str = "") -> bool:
        """Whether an item would change the event source of a rule. That is reported as an error.

        ``default`` is the source of an item that names none.
        """
        source = item.source.text if item.source else default
        if source in ("", source_of(before)):
            return False
        place = item.source.span(0, len(item.source.text)) if item.source else item.span
        message = f"the rule is defined anew with another source than before, {source_of(before)}"
        self._report.error(VALIDATE, message, place, ("rule", item.name), "give it another name")
        return True

    def _change(self, table: dict[str, Definition[_I]], item: _I, change: Change) -> None:
        kind = kind_of(item)
        before = table.get(item.name)
        if before is None:
            if (kind, item.name) not in self.definitions.broken:
                verb = {"append": "append to", "override": "override", "enabled": "enable or disable"}[change.because]
                hint = self._report.similar(item.name, table)
                self._report.error(
                    VALIDATE, f"there is no {kind} {item.name} to {verb}", item.span, (kind, item.name), hint
                )
            self.definitions.broken.add((kind, item.name))
            return
        if before.changes >= MAX_CHANGES:
            message = f"more than {MAX_CHANGES} changes of one {kind}"
            self._report.error(VALIDATE, message, item.span, (kind, item.name))
            return
        if isinstance(before.item, RuleItem) and isinstance(item, RuleItem) and self._moves(before.item, item):
            return
        values: dict[str, object] = {name: getattr(item, name) for name in change.replaced}
        for name in change.appended:
            old, new = getattr(before.item, name), getattr(item, name)
            values[name] = (
                _with_exceptions(old or (), new, self._report) if name == "exceptions" else _appended(old, new)
            )
        changed = replace(before.item, **values)  # type: ignore[arg-type]
        table[item.name] = Definition(changed, before.place, self._number, before.changes + 1)


def _appended(
    old: SourceText | tuple[str, ...] | None, new: SourceText | tuple[str, ...]
) -> SourceText | tuple[str, ...]:
    match old, new:
        case SourceText(), SourceText():
            return old.joined(new)
        case tuple(), tuple():
            return old + new
    return new


def _with_exceptions(
    old: tuple[ExceptionItem, ...], new: tuple[ExceptionItem, ...], report: Report
) -> tuple[ExceptionItem, ...]:
    """The old exceptions with the values that ``new`` adds to them, and the exceptions that are only in ``new``."""
    result = dict(enumerate(old))
    positions = {exception.name: position for position, exception in reversed(result.items())}
    for exception in new:
        item = ("exception", exception.name)
        if not exception.values:
            report.warning("LOAD_APPEND_NO_VALUES", "an exception is appended without values", exception.span, item)
        position = positions.get(exception.name)
        if position is None and not exception.values:
            message = "the rule has no exception by this name, so a new one needs fields and values"
            report.error(VALIDATE, message, exception.span, item)
            continue
        if position is None:
            positions[exception.name] = len(result)
            result[len(result)] = exception
            continue
        for key, names in (("fields", exception.fields), ("comps", exception.comps)):
            if names is not None:
                message = f"{key} of an exception that exists cannot be appended, only values"
                report.error(VALIDATE, message, names.span, item, f"remove {key}, or give the exception a new name")
        merged = result[position]
        result[position] = replace(merged, values=merged.values + exception.values)
    return tuple(result.values())
