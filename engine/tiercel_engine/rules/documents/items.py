"""What a rules file says, item by item: checked for form, not yet for meaning."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_engine.priority import Priority
from tiercel_engine.rules.documents.document import YamlNode
from tiercel_engine.rules.documents.source_file import SourceFile, SourceText, Span
from tiercel_engine.scope import Scope


@dataclass(frozen=True, slots=True)
class Names:
    """An exception's ``fields`` or ``comps``: one name, or a list of names."""

    texts: tuple[SourceText, ...]
    single: bool
    span: Span


@dataclass(frozen=True, slots=True)
class ExceptionValue:
    """An entry of an exception's ``values`` as it stands in the file."""

    source: SourceFile
    node: YamlNode

    @property
    def span(self) -> Span:
        return Span(self.source, self.node.start, self.node.end)


@dataclass(frozen=True, slots=True)
class ExceptionItem:
    """One of a rule's exceptions. ``fields`` is None where values are appended to an existing exception."""

    name: str
    span: Span
    fields: Names | None = None
    comps: Names | None = None
    values: tuple[ExceptionValue, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleItem:
    """A rule; of a change only the keys that are changed are not None."""

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
    """Of a definition: where the manifest that it stands in watches; None for everywhere."""


@dataclass(frozen=True, slots=True)
class MacroItem:
    name: str
    span: Span
    condition: SourceText | None = None


@dataclass(frozen=True, slots=True)
class ListItem:
    name: str
    span: Span
    items: tuple[str, ...] | None = None


Item = RuleItem | MacroItem | ListItem


@dataclass(frozen=True, slots=True)
class Define:
    """An item that defines its name, or defines it anew."""

    item: Item


@dataclass(frozen=True, slots=True)
class Change:
    """An item that changes an earlier one.

    ``appended`` and ``replaced`` are attributes of ``item``; ``because`` is the key that makes it a
    change: ``append``, ``override`` or ``enabled``.
    """

    item: Item
    appended: tuple[str, ...]
    replaced: tuple[str, ...]
    because: str


@dataclass(frozen=True, slots=True)
class Broken:
    """An item with an error in its form: what refers to it needs no error of its own."""

    kind: str
    name: str


Statement = Define | Change | Broken


def kind_of(item: Item) -> str:
    match item:
        case RuleItem():
            return "rule"
        case MacroItem():
            return "macro"
        case ListItem():
            return "list"
