"""Reads the YAML of a rules file as statements, and reports everything that does not have the right form."""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from tiercel_engine.api_group import API_VERSION
from tiercel_engine.rules.documents import decoding
from tiercel_engine.rules.documents.decoding import VALIDATE, YAML_VALIDATE, DecodeError, kind_word, span
from tiercel_engine.rules.documents.document import (
    Mapping,
    Scalar,
    Sequence,
    YamlError,
    YamlNode,
    compose,
    repeated_keys,
)
from tiercel_engine.rules.documents.items import Broken, Change, Define, Item, ListItem, MacroItem, RuleItem, Statement
from tiercel_engine.rules.documents.report import Report
from tiercel_engine.rules.documents.selector import read_scope
from tiercel_engine.rules.documents.source_file import SourceFile, Span
from tiercel_engine.rules.documents.versions import check_engine_version, check_plugin_versions
from tiercel_engine.scope import Scope

YAML_PARSE = "LOAD_ERR_YAML_PARSE"
MANIFEST_KIND = "SecurityRule"

_Changes = tuple[str, tuple[str, ...], tuple[str, ...]]
_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Kind:
    """The keys of one kind of item. ``keys`` maps each to its attribute in ``make``, or to "" if it is only checked."""

    make: type[RuleItem] | type[MacroItem] | type[ListItem]
    keys: MappingOf[str, str]
    required: tuple[str, ...]
    appendable: tuple[str, ...]
    replaceable: tuple[str, ...]
    appended_by_flag: tuple[str, ...]
    name_form: re.Pattern[str] | None = None


_APPENDABLE = ("condition", "output", "desc", "tags", "exceptions")
_RULE_SWITCHES = ("priority", "enabled", "warn_evttypes", "skip-if-unknown-filter", "capture", "capture_duration")

# ``name_form`` is what Falco's grammar allows as the name of a macro or list in a condition.
_KINDS = {
    "rule": _Kind(
        make=RuleItem,
        keys={
            **{key: key for key in (*_APPENDABLE, "priority", "source", "enabled", "warn_evttypes")},
            "skip-if-unknown-filter": "skip_if_unknown_filter",
            "capture": "",
            "capture_duration": "",
        },
        required=("condition", "output", "desc", "priority"),
        appendable=_APPENDABLE,
        replaceable=(*_APPENDABLE, *_RULE_SWITCHES),
        appended_by_flag=("condition", "exceptions"),
    ),
    "macro": _Kind(
        make=MacroItem,
        keys={"condition": "condition"},
        required=("condition",),
        appendable=("condition",),
        replaceable=("condition",),
        appended_by_flag=("condition",),
        name_form=re.compile(r"[a-zA-Z]\w*", re.ASCII),
    ),
    "list": _Kind(
        make=ListItem,
        keys={"items": "items"},
        required=("items",),
        appendable=("items",),
        replaceable=("items",),
        appended_by_flag=("items",),
        name_form=re.compile(r"[^()\"'\s=,]+"),
    ),
}
REQUIREMENTS = {
    "required_engine_version": check_engine_version,
    "required_plugin_versions": check_plugin_versions,
}
"""The keys of items that require something, and what checks their values. An item with one of them is nothing else."""
ITEM_KEYS: MappingOf[str, frozenset[str]] = {
    kind: frozenset({kind, "append", "override", *form.keys}) for kind, form in _KINDS.items()
}
"""All keys that an item of each kind can have. An item is of the first kind whose key it has."""


def read_statements(source: SourceFile, report: Report) -> list[Statement]:
    """The statements of a file. Its documents are lists of items, or SecurityRule manifests.

    Errors and warnings go to ``report``.
    """
    try:
        documents = compose(source.text)
    except YamlError as error:
        place = Span(source, error.offset, error.offset + 1)
        report.error(YAML_PARSE, error.message, place, ("file", source.name), error.hint)
        return []
    statements: list[Statement] = []
    for document in documents:
        try:
            scope = _scope(document)
        except DecodeError as error:
            what = ("manifest", MANIFEST_KIND)
            report.error(error.code, error.message, span(source, error.node), what, error.hint)
            continue
        for item in document_items(source, document, report):
            if not (isinstance(item, Scalar) and item.is_null):  # a lone - has no meaning
                statements.extend(_ItemReader(source, report, scope).read(item))
    return statements


def _scope(document: YamlNode) -> Scope | None:
    """The scope of the rules in a document: everything (None), unless a manifest selects less."""
    if not isinstance(document, Mapping) or not _is_manifest(document):
        return None
    kind, body = document.get("kind"), document.get("spec")
    if not isinstance(kind, Scalar) or kind.value != MANIFEST_KIND:
        return None
    return read_scope(document.get("metadata"), body.get("selector") if isinstance(body, Mapping) else None)


def _is_manifest(document: YamlNode) -> bool:
    return isinstance(document, Mapping) and document.get("kind") is not None and document.get("apiVersion") is not None


def document_items(source: SourceFile, document: YamlNode, report: Report) -> tuple[YamlNode, ...]:
    """The nodes of the items of a document, without a check of their form. None of them after an error."""
    match document:
        case Sequence(items):
            return items
        case Scalar() if document.is_null:
            return ()
        case Mapping() if _is_manifest(document):
            return _manifest_items(source, document, report)
    hint = "write each rule, macro and list as an item that begins with -"
    message = f"a rules file is a list of items, not {kind_word(document)}"
    report.error(YAML_VALIDATE, message, span(source, document), ("file", source.name), hint)
    return ()


def _manifest_items(source: SourceFile, document: Mapping, report: Report) -> tuple[YamlNode, ...]:
    kind, version, body = document.get("kind"), document.get("apiVersion"), document.get("spec")
    assert kind is not None
    assert version is not None
    what = ("manifest", kind.value if isinstance(kind, Scalar) else "")
    if what[1] != MANIFEST_KIND:
        report.warning("LOAD_UNKNOWN_ITEM", f"a manifest that is not a {MANIFEST_KIND}", span(source, kind), what)
        return ()
    if not isinstance(version, Scalar) or version.value != API_VERSION:
        report.error(YAML_VALIDATE, f"apiVersion must be {API_VERSION}", span(source, version), what)
        return ()
    rules = body.get("rules") if isinstance(body, Mapping) else None
    if not isinstance(rules, Sequence):
        place = span(source, rules or body or kind)
        report.error(YAML_VALIDATE, "spec.rules must be a list of rules file items", place, what)
        return ()
    return rules.items


class _ItemReader:
    """Reads one item; errors and warnings go to ``report``."""

    def __init__(self, source: SourceFile, report: Report, scope: Scope | None) -> None:
        self._source = source
        self._report = report
        self._scope = scope
        self._item = ("item", "")
        self._failed = False

    def read(self, node: YamlNode) -> list[Statement]:
        if not isinstance(node, Mapping):
            self._error(
                f"an item must be a mapping, not {kind_word(node)}", node, "write - rule: …, - macro: … or - list: …"
            )
            return []
        for key, check in REQUIREMENTS.items():
            value = node.get(key)
            if value is not None:
                self._item = (key, "")
                self._guard(check, value)
                self._unknown_keys(node, {key})
                return []
        kind = next((name for name in _KINDS if node.get(name) is not None), None)
        if kind is None:
            self._unknown_item(node)
            return []
        return [self._statement(kind, _KINDS[kind], node)]

    def _statement(self, kind: str, form: _Kind, node: Mapping) -> Statement:
        name_node = node.get(kind)
        assert name_node is not None
        if not isinstance(name_node, Scalar) or name_node.is_null or not name_node.value.strip():
            self._item = (kind, "")
            self._error(f"a {kind} needs a name", name_node)
            return Broken(kind, "")
        name = name_node.value
        self._item = (kind, name)
        for key in repeated_keys(node):
            self._error(f"the key {key.value} is there twice", key, "remove one, or begin a new item with -")
        self._unknown_keys(node, ITEM_KEYS[kind])
        values = {key: value for key, value in node.entries if key.value in form.keys}
        changes = self._changes(form, node, name_node)
        decoded: dict[str, object] = {"scope": self._scope} if kind == "rule" else {}
        for key, value in values.items():
            appending = changes is not None and key.value in changes[1]
            attribute = self._guard(self._decode, key.value, value, name, appending)
            if form.keys[key.value] and attribute is not None:
                decoded[form.keys[key.value]] = attribute
        if self._failed or changes is None:
            return Broken(kind, name)
        item: Item = form.make(name, span(self._source, name_node), **decoded)  # type: ignore[arg-type]
        because, appended, replaced = changes
        if because:
            attributes = [tuple(form.keys[key] for key in keys if form.keys[key]) for keys in (appended, replaced)]
            return Change(item, attributes[0], attributes[1], because)
        if form.name_form and not form.name_form.fullmatch(name):
            message = f"no condition can refer to the name of this {kind}"
            hint = "letters, digits and _, a letter first" if kind == "macro" else "no blanks, quotes, ( ) , ="
            self._warning(f"LOAD_INVALID_{kind.upper()}_NAME", message, name_node, hint)
        return Define(item)

    def _changes(self, form: _Kind, node: Mapping, name: Scalar) -> _Changes | None:
        """Whether the item is a change: the key that makes it one, and which keys are appended and which replaced.

        The key is "" for a definition. The result is None after an error.
        """
        present = [key.value for key, _ in node.entries if key.value in form.keys]
        append, override = node.get("append"), node.get("override")
        if override is not None and _is_empty(override):
            self._warning("LOAD_UNKNOWN_KEY", "override is empty and has no effect", override)
            override = None
        flag = append is not None and self._guard(decoding.boolean, append, "append")
        if override is not None and flag and append is not None:
            self._error("append and override cannot be used together", append, "remove append")
            return None
        if override is not None:
            return self._overrides(form, node, override)
        if flag and append is not None:
            return self._append_flag(form, node, append, present)
        missing = [key for key in form.required if key not in present]
        if len(missing) == len(form.required) and "enabled" in present:
            hint = "add override: {enabled: replace}"
            self._warning("LOAD_DEPRECATED_ITEM", "enabled without override is deprecated", name, hint)
            self._without_effect(node, set(form.keys) - {"enabled"}, "a lone enabled")
            return "enabled", (), ("enabled",)
        if missing:
            self._error(f"the {self._item[0]} has no {', '.join(missing)}", name)
            return None
        return "", (), ()

    def _append_flag(self, form: _Kind, node: Mapping, append: YamlNode, present: list[str]) -> _Changes | None:
        self._warning("LOAD_DEPRECATED_ITEM", "append: true is deprecated", append, "use override: {…: append}")
        appended = tuple(key for key in present if key in form.appended_by_flag)
        if not appended:
            # For Falco a list without items has the wrong form, and a rule that appends nothing the wrong content.
            code = VALIDATE if form.make is RuleItem else YAML_VALIDATE
            self._error(f"append: true needs {' or '.join(form.appended_by_flag)}", append, code=code)
            return None
        self._without_effect(node, set(form.keys) - {*appended, "source"}, "append: true")
        return "append", appended, ()

    def _overrides(self, form: _Kind, node: Mapping, override: YamlNode) -> _Changes | None:
        if not isinstance(override, Mapping):
            self._error("override must say for each key append or replace", override, "override: {condition: append}")
            return None
        keys: dict[str, list[str]] = {"append": [], "replace": []}
        able = {"append": form.appendable, "replace": form.replaceable}
        for key, mode in override.entries:
            if not isinstance(mode, Scalar) or mode.value not in keys:
                self._error(f"override of {key.value} must be append or replace", mode)
            elif key.value not in able[mode.value]:
                ways = [way for way, allowed in able.items() if key.value in allowed]
                hint = f"{key.value} takes {' or '.join(ways)}" if ways else f"one of {', '.join(form.replaceable)}"
                self._error(f"override cannot {mode.value} {key.value}", key, hint)
            elif node.get(key.value) is None:
                self._error(f"override names {key.value}, but the item has no such key", key, f"add {key.value}: …")
            else:
                keys[mode.value].append(key.value)
        for key, _ in node.entries:
            if key.value in form.replaceable and override.get(key.value) is None:
                self._error(f"override does not name {key.value}", key, f"add {key.value}: replace to override")
        if form.make is not RuleItem and keys["replace"]:
            return "", (), ()  # a macro or list has one key: replacing that defines the item, whether or not it exists
        return "override", tuple(keys["append"]), tuple(keys["replace"])

    def _decode(self, key: str, value: YamlNode, name: str, appending: bool) -> object:
        match key:
            case "condition" | "output" | "desc" | "source":
                return decoding.text(self._source, value, key)
            case "priority":
                return decoding.priority(value, key)
            case "tags" | "items":
                return decoding.strings(value, key)
            case "capture_duration":
                return decoding.number(value, key)
            case "exceptions":
                exceptions = decoding.exceptions(self._source, value, self._report, name, appending)
                self._failed |= exceptions is None
                return exceptions
            case _:
                return decoding.boolean(value, key)

    def _guard(self, decode: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        try:
            return decode(*args, **kwargs)
        except DecodeError as error:
            self._error(error.message, error.node, error.hint, error.code)
            return None

    def _without_effect(self, node: Mapping, keys: set[str], beside: str) -> None:
        for key, _ in node.entries:
            if key.value in keys:
                self._warning("LOAD_UNKNOWN_KEY", f"{key.value} has no effect beside {beside}", key, "use override")

    def _unknown_keys(self, node: Mapping, known: Set[str]) -> None:
        for key, _ in node.entries:
            if key.value not in known:
                self._warning(
                    "LOAD_UNKNOWN_KEY", f"unknown key {key.value}", key, self._report.similar(key.value, known)
                )

    def _unknown_item(self, node: Mapping) -> None:
        known = {*_KINDS, *REQUIREMENTS}
        first = node.entries[0][0] if node.entries else node
        hint = self._report.similar(first.value, known) if isinstance(first, Scalar) else ""
        message = f"an item must have one of the keys {', '.join((*_KINDS, *REQUIREMENTS))}"
        self._warning("LOAD_UNKNOWN_ITEM", message, first, hint)

    def _error(self, message: str, node: YamlNode, hint: str = "", code: str = YAML_VALIDATE) -> None:
        self._failed = True
        self._report.error(code, message, span(self._source, node), self._item, hint)

    def _warning(self, code: str, message: str, node: YamlNode, hint: str = "") -> None:
        self._report.warning(code, message, span(self._source, node), self._item, hint)


def _is_empty(node: YamlNode) -> bool:
    match node:
        case Mapping(entries):
            return not entries
        case Scalar():
            return node.is_null
    return False
