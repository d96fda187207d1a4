"""Reads YAML as plain nodes with exact positions, within limits.

The nodes are built from the events of libyaml, without recursion and without resolving types: a scalar stays a text.
The depth, the size and the expansion of aliases are limited.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tiercel_engine.nesting import MOST_LEVELS

try:
    from yaml import CLoader as _Loader
except ImportError:  # PyYAML built without libyaml
    from yaml import Loader as _Loader  # type: ignore[assignment]

MAX_NODES = 500_000
"""The most nodes of a file. An alias counts as all nodes that it stands for."""

_TOO_DEEP = f"nested deeper than {MOST_LEVELS} levels"

BLANKS = " \t\n\r\x85\u2028\u2029"
BLOCK_STYLES = ("|", ">")

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PROPERTIES = re.compile(r"(?:[&!]\S*(?:\s|#[^\n]*\n)*)+")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A single value. ``style`` is ``""`` (plain), ``'``, ``"``, ``|`` or ``>``; offsets count characters."""

    value: str
    style: str
    start: int
    end: int

    @property
    def is_null(self) -> bool:
        """Whether it is YAML's null, or nothing at all."""
        return not self.style and self.value in _NULLS


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """A list of nodes."""

    items: tuple[YamlNode, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """Keys and values. ``entries`` has each key once, in the order of the file; ``repeated`` has keys used again."""

    entries: tuple[tuple[Scalar, YamlNode], ...]
    start: int
    end: int
    repeated: tuple[Scalar, ...] = ()

    def get(self, key: str) -> YamlNode | None:
        """The value of a key, or None."""
        return next((node for name, node in self.entries if name.value == key), None)


YamlNode = Scalar | Sequence | Mapping


def repeated_keys(node: YamlNode) -> Iterator[Scalar]:
    """The repeated keys of all mappings in a node, including nested ones."""
    stack = [node]
    while stack:
        match stack.pop():
            case Mapping() as mapping:
                yield from mapping.repeated
                stack.extend(value for _, value in mapping.entries)
            case Sequence(items):
                stack.extend(items)


class YamlError(Exception):
    """A text is not YAML, or exceeds a limit. ``offset`` counts characters; ``hint`` says what would be right."""

    def __init__(self, message: str, offset: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


def compose(text: str) -> tuple[YamlNode, ...]:
    """The documents of a text, which has no byte order mark. Raises YamlError and nothing else, for every text."""
    unprintable = _UNPRINTABLE.search(text)
    if unprintable:
        raise _unprintable(unprintable)
    return _Composer(text).documents()


def _unprintable(match: re.Match[str]) -> YamlError:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        return YamlError(f"byte 0x{code - 0xDC00:02x} is not valid UTF-8", match.start(), "save the file as UTF-8")
    return YamlError(
        f"the character U+{code:04X} is not allowed in YAML",
        match.start(),
        f'remove it, or write it as "\\x{code:02x}" in double quotes' if code < 0x100 else "remove it",
    )


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been read yet."""

    event: yaml.CollectionStartEvent | None
    children: list[YamlNode] = field(default_factory=list)
    size: int = 1


class _Composer:
    def __init__(self, text: str) -> None:
        self._text = text
        self._anchors: dict[str, tuple[YamlNode, int]] = {}
        self._stack: list[_Open] = []

    def documents(self) -> tuple[YamlNode, ...]:
        documents = _Open(None)
        self._stack.append(documents)
        for event in self._events():
            if isinstance(event, yaml.ScalarEvent):
                style = event.style or ""
                start = self._content_start(event)
                scalar = Scalar(event.value, "" if style == "\0" else style, start, max(start, _index(event.end_mark)))
                self._add(scalar, 1, event.anchor)
            elif isinstance(event, yaml.CollectionStartEvent):
                if len(self._stack) > MOST_LEVELS:
                    raise YamlError(_TOO_DEEP, _index(event.start_mark))
                self._stack.append(_Open(event))
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close(event)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
        return tuple(documents.children)

    def _events(self) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(self._text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            if mark is None or (error.context_mark and mark.index >= len(self._text.rstrip())):
                mark = (
                    error.context_mark
                )  # the place of something that is never closed is more useful than the end of the file
            message = ", ".join(part for part in (error.problem, error.context) if part)
            if "maximum nesting depth" in message:  # newer versions of libyaml have a limit too, which is higher
                message = _TOO_DEEP
            raise YamlError(message, mark.index if mark else 0, _hint(self._text, error)) from None
        except yaml.YAMLError as error:
            raise YamlError(str(error), 0) from None
        except ValueError as error:  # an escape for a number beyond Unicode
            raise YamlError(f"an escape is not a character: {error}", 0) from None

    def _content_start(self, event: yaml.ScalarEvent) -> int:
        """The offset where a scalar begins, after its anchor and tag."""
        start = _index(event.start_mark)
        if event.anchor is None and event.tag is None:
            return start
        properties = _PROPERTIES.match(self._text, start)
        return min(properties.end(), _index(event.end_mark)) if properties else start

    def _add(self, node: YamlNode, size: int, anchor: str | None) -> None:
        parent = self._stack[-1]
        parent.children.append(node)
        parent.size += size
        if parent.size > MAX_NODES:
            raise YamlError(f"more than {MAX_NODES} values, aliases expanded", node.start)
        if anchor is not None:
            self._anchors[anchor] = (node, size)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self._anchors:
            raise YamlError(
                f"the alias *{event.anchor} stands for nothing", _index(event.start_mark), "anchors come first"
            )
        node, size = self._anchors[event.anchor]
        self._add(node, size, None)

    def _close(self, end: yaml.CollectionEndEvent) -> None:
        opened = self._stack.pop()
        event = opened.event
        assert event is not None
        extent = (_index(event.start_mark), _index(end.end_mark))
        if isinstance(event, yaml.SequenceStartEvent):
            self._add(Sequence(tuple(opened.children), *extent), opened.size, event.anchor)
        else:
            self._add(_mapping(opened.children, extent), opened.size, event.anchor)


def _index(mark: Any) -> int:
    """The offset of a mark. Parsed events always have one."""
    index: int = mark.index
    return index


def _mapping(children: list[YamlNode], extent: tuple[int, int]) -> Mapping:
    entries = []
    repeated = []
    seen = set()
    for key, value in zip(children[::2], children[1::2], strict=True):
        if not isinstance(key, Scalar):
            raise YamlError("a key must be a plain word", key.start)
        if key.value in seen:
            repeated.append(key)
        else:
            seen.add(key.value)
            entries.append((key, value))
    return Mapping(tuple(entries), *extent, tuple(repeated))


def _hint(text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    here = text[mark.index : mark.index + 1] if mark else ""
    problem = error.problem or ""
    if here == "\t":
        return "indent with blanks: YAML takes no tabs there"
    if "cannot start any token" in problem:
        return f"put a value that starts with {here} in quotes"
    if "mapping values are not allowed" in problem:
        return "put a value with a colon in quotes, or check the indentation"
    if "unexpected end of stream" in problem and "quoted" in (error.context or ""):
        return "close the quote"
    return ""
