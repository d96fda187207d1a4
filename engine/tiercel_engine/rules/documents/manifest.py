"""Converts a rules file to a SecurityRule manifest."""

from __future__ import annotations

import re

import yaml

from tiercel_engine.api_group import API_VERSION
from tiercel_engine.printable import printable
from tiercel_engine.rules.documents.document import BLOCK_STYLES, Mapping, Scalar, Sequence, YamlNode, compose
from tiercel_engine.rules.documents.files import RulesFile
from tiercel_engine.rules.documents.items import Define, RuleItem
from tiercel_engine.rules.documents.reader import MANIFEST_KIND, document_items, read_statements
from tiercel_engine.rules.documents.report import Report
from tiercel_engine.rules.documents.source_file import SourceFile
from tiercel_engine.units import parse_boolean

WIDTH = 90
"""The column at which long texts are folded. A word that begins before it may end after it."""
MAX_NAME = 63

_TEXT_KEYS = frozenset({"condition", "output", "desc"})
_BOOLEAN_KEYS = frozenset({"enabled", "append", "warn_evttypes", "skip-if-unknown-filter", "capture"})
_NUMBER_KEYS = frozenset({"required_engine_version", "capture_duration"})

# Every YAML reader takes these for text. All other plain scalars are quoted, because readers (YAML 1.1 and 1.2) differ
# in what they take for a number, a boolean or a date.
_SURELY_TEXT = re.compile(r"[A-Za-z_/][A-Za-z0-9_./ -]*")
_NOT_TEXT = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf", "infinity"})


def manifest_name(file_name: str) -> str:
    """A name for an object (RFC 1123, at most 63 characters), made from the name of a file without its suffix."""
    stem = re.split(r"[/\\]", file_name)[-1].rsplit(".", 1)[0]
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower())[:MAX_NAME].strip("-")
    return name or "rules"


def to_manifest(file: RulesFile, name: str, namespace: str) -> str:
    """A SecurityRule with the items of the file under ``spec.rules``, as YAML without the comments.

    The file must have been loaded without an error of its form. Reading the result gives the same texts.
    """
    source = SourceFile(file.name, file.text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"))
    items = [item for document in compose(source.text) for item in document_items(source, document, Report())]
    for folded in (True, False):
        text = _emit(items, name, namespace, folded)
        written = [item for document in compose(text) for item in document_items(source, document, Report())]
        if _plain_values(written) == _plain_values(items):
            return text
    raise AssertionError("quoting a scalar must not change its text")


def is_scoped(file: RulesFile) -> bool:
    """Whether the file is a SecurityRule with a scope. Rules files cannot express one."""
    source = SourceFile(file.name, file.text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"))
    return any(
        isinstance(statement, Define) and isinstance(statement.item, RuleItem) and statement.item.scope is not None
        for statement in read_statements(source, Report())
    )


class _Dumper(yaml.SafeDumper):
    """Writes scalars in double quotes in ASCII, so that they have no hidden characters."""

    def write_double_quoted(self, text: str, split: bool = True) -> None:
        allowed, self.allow_unicode = self.allow_unicode, False
        super().write_double_quoted(text, split)
        self.allow_unicode = allowed


def _emit(items: list[YamlNode], name: str, namespace: str, folded: bool) -> str:
    metadata = _mapping([("name", _text(name)), ("namespace", _text(namespace))])
    spec = _mapping([("rules", yaml.SequenceNode("tag:yaml.org,2002:seq", [_node(item, folded) for item in items]))])
    root = _mapping(
        [("apiVersion", _text(API_VERSION)), ("kind", _text(MANIFEST_KIND)), ("metadata", metadata), ("spec", spec)]
    )
    emitted = yaml.serialize(root, Dumper=_Dumper, width=WIDTH, allow_unicode=True)
    assert isinstance(emitted, str)
    return emitted


def _node(node: YamlNode, folded: bool, key: str = "") -> yaml.Node:
    match node:
        case Mapping(entries):
            return _mapping([(name.value, _node(value, folded, name.value)) for name, value in entries])
        case Sequence(items):
            flow = bool(items) and all(isinstance(item, Scalar) for item in items)
            nodes = [_node(item, folded) for item in items]
            return yaml.SequenceNode("tag:yaml.org,2002:seq", nodes, flow_style=flow or not items)
    if (switch := _boolean(node, key)) is not None:
        return yaml.ScalarNode("tag:yaml.org,2002:bool", "true" if switch else "false")
    if key in _NUMBER_KEYS and node.value.isdecimal():
        return yaml.ScalarNode("tag:yaml.org,2002:int", node.value)
    if node.is_null and key:
        return yaml.ScalarNode("tag:yaml.org,2002:null", "null")
    style = node.style if node.style in BLOCK_STYLES else ""
    if key in _TEXT_KEYS and not style and len(node.value) > WIDTH - 10:
        style = ">"
    return _text(node.value, style if folded else '"')


def _mapping(entries: list[tuple[str, yaml.Node]]) -> yaml.MappingNode:
    pairs = [(_text(key), value) for key, value in entries]
    return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=False)


def _text(value: str, style: str = "") -> yaml.ScalarNode:
    """A scalar that every YAML reader takes for text."""
    visible = value.replace("\n", "").replace("\t", "")
    if printable(visible) != visible:
        style = '"'
    elif not style and not _is_surely_text(value):
        style = "'" if '"' in value and "'" not in value and "\n" not in value else '"'
    return yaml.ScalarNode("tag:yaml.org,2002:str", value, style=style or None)


def _is_surely_text(value: str) -> bool:
    if " " in value and any("a" <= character <= "z" for character in value):
        return True  # it is not a number, boolean or date; the emitter knows what else needs quotes
    return bool(_SURELY_TEXT.fullmatch(value)) and value.lower() not in _NOT_TEXT


_Plain = str | bool | None | list["_Plain"] | dict[str, "_Plain"]


def _plain_values(nodes: list[YamlNode] | tuple[YamlNode, ...]) -> list[_Plain]:
    """The values of the nodes, independent of how they are written."""
    return [_value(node) for node in nodes]


def _value(node: YamlNode, key: str = "") -> _Plain:
    match node:
        case Mapping(entries):
            return {name.value: _value(value, name.value) for name, value in entries}
        case Sequence(items):
            return _plain_values(items)
    if (switch := _boolean(node, key)) is not None:
        return switch
    return None if node.is_null and key else node.value


def _boolean(node: Scalar, key: str) -> bool | None:
    """The boolean of a key that has one, also if it is in quotes, which the API would refuse. None for others."""
    if key not in _BOOLEAN_KEYS:
        return None
    try:
        return parse_boolean(node.value)
    except ValueError:
        return None
