"""Decodes YAML nodes to the values that keys of rules files have. Errors have the node as their place."""

from __future__ import annotations

from tiercel_engine.priority import Priority
from tiercel_engine.rules.documents.document import Mapping, Scalar, Sequence, YamlNode
from tiercel_engine.rules.documents.items import ExceptionItem, ExceptionValue, Names
from tiercel_engine.rules.documents.report import Report
from tiercel_engine.rules.documents.source_file import SourceFile, SourceText, Span, source_text
from tiercel_engine.units import parse_boolean

YAML_VALIDATE = "LOAD_ERR_YAML_VALIDATE"
"""The code for an item of the wrong form."""
VALIDATE = "LOAD_ERR_VALIDATE"
"""The code for an item of the right form whose content is wrong."""

MAX_COLUMNS = 100
"""The most fields of one exception."""


class DecodeError(Exception):
    """A value is not of the form that its key needs. ``hint`` says what would be right, "" if unknown."""

    code = YAML_VALIDATE

    def __init__(self, message: str, node: YamlNode, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.node = node
        self.hint = hint


def kind_word(node: YamlNode) -> str:
    """What kind of node it is, in words for messages."""
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar():
            return "nothing" if node.is_null else "a single value"


def span(source: SourceFile, node: YamlNode) -> Span:
    """The place of a node in its file."""
    return Span(source, node.start, node.end)


def scalar(node: YamlNode, key: str) -> Scalar:
    """The node as a scalar. Raises DecodeError for another node."""
    if not isinstance(node, Scalar):
        raise DecodeError(f"{key} must be a text, not {kind_word(node)}", node)
    return node


def text(source: SourceFile, node: YamlNode, key: str) -> SourceText:
    """A text that is not empty. Raises DecodeError."""
    value = scalar(node, key)
    if value.is_null or not value.value:
        raise DecodeError(f"{key} has no value", node)
    return source_text(source, value)


def boolean(node: YamlNode, key: str) -> bool:
    """A boolean in one of the spellings of YAML 1.1. Raises DecodeError."""
    try:
        return parse_boolean(scalar(node, key).value)
    except ValueError:
        raise DecodeError(f"{key} must be true or false", node) from None


def number(node: YamlNode, key: str) -> int:
    """A whole number from 0 to 999,999,999. Raises DecodeError."""
    value = scalar(node, key).value
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise DecodeError(f"{key} must be a whole number", node)
    return int(value)


def priority(node: YamlNode, key: str) -> Priority:
    """A priority by its name. Raises DecodeError."""
    value = scalar(node, key).value
    level = Priority.parse(value)
    if level is None:
        raise DecodeError(f"{key} {value[:40]!r} is not known", node, f"one of {', '.join(Priority.__members__)}")
    return level


def strings(node: YamlNode, key: str) -> tuple[str, ...]:
    """A list of texts. Raises DecodeError."""
    if not isinstance(node, Sequence):
        raise DecodeError(f"{key} must be a list, not {kind_word(node)}", node, f"write {key}: [a, b]")
    values = []
    for entry in node.items:
        if not isinstance(entry, Scalar):
            raise DecodeError(f"an entry of {key} must be a text, not {kind_word(entry)}", entry)
        if not entry.value and not entry.style:
            raise DecodeError(f"an entry of {key} has no value", entry, 'write "" for the empty text')
        values.append(entry.value)
    return tuple(values)


def names(source: SourceFile, node: YamlNode, key: str) -> Names:
    """The value of ``fields`` or ``comps`` of an exception: a name or a list of names. Raises DecodeError."""
    if isinstance(node, Sequence):
        if not node.items:
            raise DecodeError(f"{key} is empty", node)
        if len(node.items) > MAX_COLUMNS:
            raise DecodeError(f"{key} has more than {MAX_COLUMNS} entries", node)
        return Names(tuple(text(source, entry, key) for entry in node.items), False, span(source, node))
    if isinstance(node, Mapping):
        raise DecodeError(f"{key} must be a name or a list of names, not a mapping", node)
    return Names((text(source, node, key),), True, span(source, node))


def exceptions(
    source: SourceFile, node: YamlNode, report: Report, rule: str, appending: bool
) -> tuple[ExceptionItem, ...] | None:
    """The exceptions of a rule; None if one of them has an error. All errors of exceptions are reported.

    With ``appending`` they are appended to those of a rule, so an exception needs only values. Raises DecodeError if
    the node is not a list.
    """
    if isinstance(node, Scalar) and node.is_null:
        return ()
    if not isinstance(node, Sequence):
        raise DecodeError(f"exceptions must be a list, not {kind_word(node)}", node)
    decoded: list[ExceptionItem] = []
    failed = False
    for entry in node.items:
        try:
            decoded.append(_exception(source, entry, report, appending))
        except DecodeError as error:
            failed = True
            item = ("exception", _exception_name(entry)) if isinstance(entry, Mapping) else ("rule", rule)
            report.error(YAML_VALIDATE, error.message, span(source, error.node), item, error.hint)
    seen: set[str] = set()
    for exception in decoded:
        if exception.name in seen:
            message = f"the rule has two exceptions by the name {exception.name}"
            report.warning("LOAD_EXCEPTION_NAME_NOT_UNIQUE", message, exception.span, ("exception", exception.name))
        seen.add(exception.name)
    return None if failed else tuple(decoded)


def _exception_name(node: Mapping) -> str:
    name = node.get("name")
    return name.value if isinstance(name, Scalar) else ""


def _exception(source: SourceFile, node: YamlNode, report: Report, appending: bool) -> ExceptionItem:
    if not isinstance(node, Mapping):
        raise DecodeError(f"an exception must be a mapping, not {kind_word(node)}", node)
    name_node = node.get("name")
    if name_node is None:
        raise DecodeError("the exception has no name", node, "add name: …")
    name = text(source, name_node, "name").text
    fields = comps = None
    values: tuple[ExceptionValue, ...] = ()
    for key, value in node.entries:
        if key.value == "fields":
            fields = names(source, value, "fields")
        elif key.value == "comps":
            comps = names(source, value, "comps")
        elif key.value == "values":
            if not isinstance(value, Sequence):
                raise DecodeError(f"values must be a list, not {kind_word(value)}", value)
            values = tuple(ExceptionValue(source, entry) for entry in value.items)
        elif key.value != "name":
            report.warning(
                "LOAD_UNKNOWN_KEY",
                f"unknown key {key.value}",
                span(source, key),
                ("exception", name),
                "an exception has name, fields, comps, values",
            )
    if fields is None and not appending:
        raise DecodeError("the exception has no fields", name_node, "add fields: [proc.name, …]")
    return ExceptionItem(name, span(source, name_node), fields, comps, values)
