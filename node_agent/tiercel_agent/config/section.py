"""Typed values from a configuration file's YAML. Every problem is reported with its place; nothing is raised."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from tiercel_engine.priority import Priority
from tiercel_engine.rules.documents.document import (
    Mapping,
    Scalar,
    Sequence,
    YamlError,
    YamlNode,
    compose,
    repeated_keys,
)
from tiercel_engine.rules.documents.report import Report
from tiercel_engine.rules.documents.source_file import SourceFile, Span
from tiercel_engine.units import parse_boolean

INVALID = "CONFIG_INVALID"
UNKNOWN_KEY = "CONFIG_UNKNOWN_KEY"
UNSUPPORTED = "CONFIG_UNSUPPORTED"


class Section:
    """One mapping of the file. Where the file has none it is empty, and every value is its default.

    ``path`` is its name in messages (``outputs.file``), ``""`` for the whole file.
    """

    def __init__(self, report: Report, source: SourceFile, node: Mapping, path: str = "") -> None:
        self.report = report
        self._source = source
        self._node = node
        self._path = path
        self._read: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        return self._node.get(key) is not None

    @property
    def keys(self) -> list[str]:
        return [name.value for name, _ in self._node.entries]

    def section(self, key: str) -> Section:
        node = self._value(key)
        if node is not None and not isinstance(node, Mapping):
            self.error(key, f"{self._name(key)} must hold keys and values", node=node)
            node = None
        return Section(self.report, self._source, node or Mapping((), 0, 0), self._name(key))

    def text(self, key: str, default: str = "") -> str:
        node = self._value(key)
        if node is None:
            return default
        if not isinstance(node, Scalar):
            self.error(key, f"{self._name(key)} must be a text", node=node)
            return default
        return self._harmless(key, node)

    def boolean(self, key: str, default: bool) -> bool:
        text = self.text(key, str(default))
        try:
            return parse_boolean(text)
        except ValueError:
            self.error(key, f"{self._name(key)} is {text!r}", "write true or false")
            return default

    def number(self, key: str, default: int) -> int:
        """A whole number from 0 to 1,000,000."""
        text = self.text(key, str(default))
        if text.isascii() and text.isdigit() and len(text) < 8 and int(text) <= 1_000_000:
            return int(text)
        self.error(key, f"{self._name(key)} is {text!r}", "write a whole number from 0 to 1000000")
        return default

    def choice(self, key: str, choices: Iterable[str], default: str) -> str:
        """One of ``choices``, in whatever case it is written."""
        known = list(choices)
        text = self.text(key, default).lower()
        if text in known:
            return text
        self.error(key, f"{self._name(key)} is {text!r}", _suggestion(text, known))
        return default

    def priority(self, key: str) -> Priority:
        names = [*(priority.name.lower() for priority in Priority), "info"]
        return Priority.parse(self.choice(key, names, "debug")) or Priority.DEBUG

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of texts; a single text is a list of one."""
        node = self._value(key)
        if node is None:
            return default
        items = node.items if isinstance(node, Sequence) else (node,)
        for item in items:
            if not isinstance(item, Scalar):
                self.error(key, f"{self._name(key)} must be a list of texts", node=item)
        return tuple(self._harmless(key, item) for item in items if isinstance(item, Scalar))

    def paths(self, key: str) -> tuple[Path, ...]:
        """Paths; a relative one starts from the configuration file's folder, ``~`` is the user's home."""
        return tuple(self.resolved(text) for text in self.texts(key))

    def resolved(self, text: str) -> Path:
        try:
            path = Path(text).expanduser()
        except RuntimeError:  # no such user: leave the name as it is, opening it will say so
            path = Path(text)
        return Path(self._source.name).parent / path

    def error(self, key: str, message: str, hint: str = "", node: YamlNode | None = None) -> None:
        self.report.error(INVALID, message, self._span(key, node), ("key", self._name(key)), hint)

    def unsupported(self, key: str, message: str) -> None:
        self.report.warning(UNSUPPORTED, message, self._span(key, None), ("key", self._name(key)))

    def refuse_unknown(self) -> None:
        """Reports each key that nothing asked for as an error."""
        for name, _ in self._node.entries:
            if name.value not in self._read:
                message = f"{self._name(name.value)} is no setting"
                self.error(name.value, message, _suggestion(name.value, self._read), node=name)

    def warn_unknown(self) -> None:
        for name, _ in self._node.entries:
            if name.value not in self._read:
                span = Span(self._source, name.start, name.end)
                key = self._name(name.value)
                self.report.warning(UNKNOWN_KEY, f"{key} has no effect here", span, ("key", key))

    def _harmless(self, key: str, node: Scalar) -> str:
        """The text of a value; an error if it holds a zero byte, which no path or name can."""
        if "\0" in node.value:
            self.error(key, f"{self._name(key)} holds a zero byte", node=node)
        return node.value.replace("\0", "")

    def _name(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _value(self, key: str) -> YamlNode | None:
        self._read[key] = None
        node = self._node.get(key)
        return None if isinstance(node, Scalar) and node.is_null else node

    def _span(self, key: str, node: YamlNode | None) -> Span:
        place = node or self._node.get(key) or self._node
        return Span(self._source, place.start, place.end)


def open_settings(name: str, text: str, report: Report) -> Section | None:
    """The file's mapping, or None after an error in ``report``."""
    source = SourceFile(name, text.removeprefix("\ufeff"))
    try:
        documents = compose(source.text)
    except YamlError as error:
        report.error("CONFIG_YAML", error.message, Span(source, error.offset, error.offset + 1), hint=error.hint)
        return None
    if not documents or (isinstance(documents[0], Scalar) and documents[0].is_null):
        return Section(report, source, Mapping((), 0, 0))
    if len(documents) > 1 or not isinstance(documents[0], Mapping):
        report.error(INVALID, "the configuration must be one document of keys and values", Span(source, 0, 1))
        return None
    for key in repeated_keys(documents[0]):
        span = Span(source, key.start, key.end)
        report.error(INVALID, f"the key {key.value!r} is there twice", span, ("key", key.value), "remove one of them")
    return Section(report, source, documents[0])


def _suggestion(text: str, known: Iterable[str]) -> str:
    words = list(known)
    close = get_close_matches(text, words, 1)
    return f"did you mean {close[0]}?" if close else "one of " + ", ".join(words)
