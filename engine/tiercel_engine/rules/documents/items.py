"""The items of rules files: their form has been checked, their meaning has not."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_engine.priority import Priority
from tiercel_engine.rules.documents.document import YamlNode
from tiercel_engine.rules.documents.source_file import SourceFile, SourceText, Span
from tiercel_engine.scope import Scope


@dataclass(frozen=True, slots=True)
class Names:
    """``fields`` or ``comps`` of an exception: one name (``single``), or a list of names."""

    texts: tuple[SourceText, ...]
    single: bool
    span: Span


@dataclass(frozen=True, slots=True)
class ExceptionValue:
    """An entry of ``values`` of an exception, as it is in the file."""

    source: SourceFile
    node: YamlNode

    @property
    def span(self) -> Span:
        return Span(self.source, self.node.start, self.node.end)


@dataclass(frozen=True, slots=True)
class ExceptionItem:
    """An exception of a rule. ``fields`` is None if values are appended to an existing exception."""

    name: str
    span: Span
    fields: Names | None = None
    comps: Names | None = None
    values: tuple[ExceptionValue, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleItem:
    """A rule. In a change, only the attributes that are changed are not None."""

    name: str
    span: Span
    condition: SourceText | None = None
    output: SourceText | None = None
    desc: SourceText | None = None
    priority: Priority | None = None
    source: SourceText | None = None
    enabled: bool | None = None
    tags: tuple[str, ...] | None = None
    exceptions: tuple[ExceptionItem, ...] | None = None
    warn_evttypes: bool | None = None
    skip_if_unknown_filter: bool | None = None
    scope: Scope | None = None
    """For a definition: the scope of the manifest that holds it, None for everything."""


@dataclass(frozen=True, slots=True)
class MacroItem:
    """A macro: a named condition."""

    name: str
    span: Span
    condition: SourceText | None = None


@dataclass(frozen=True, slots=True)
class ListItem:
    """A list: a name for several values."""

    name: str
    span: Span
    items: tuple[str, ...] | None = None


Item = RuleItem | MacroItem | ListItem


@dataclass(frozen=True, slots=True)
class Define:
    """An item that defines a name, possibly again."""

    item: Item


@dataclass(frozen=True, slots=True)
class Change:
    """An item that changes an earlier one.

    ``appended`` and ``replaced`` are the names of changed attributes of ``item``. ``because`` is the key that makes the
    item a change: ``append``, ``override`` or ``enabled``.
    """

    item: Item
    appended: tuple[str, ...]
    replaced: tuple[str, ...]
    because: str


@dataclass(frozen=True, slots=True)
class Broken:
    """An item of the wrong form, which has been reported. Items that refer to it need no error of their own."""

    kind: str
    name: str


Statement = Define | Change | Broken


def kind_of(item: Item) -> str:
    """``rule``, ``macro`` or ``list``."""
    match item:
        case RuleItem():
            return "rule"
        case MacroItem():
            return "macro"
        case ListItem():
            return "list"
