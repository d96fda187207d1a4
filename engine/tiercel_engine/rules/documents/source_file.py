"""The text of a rules file, and places in it."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from tiercel_engine.diagnostics import Location
from tiercel_engine.rules.documents.document import BLANKS, BLOCK_STYLES, Scalar

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


@dataclass(frozen=True, eq=False)
class SourceFile:
    """The name and the text of a file. ``text`` has no byte order mark."""

    name: str
    text: str

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINE_BREAK.finditer(self.text))]

    def location(self, offset: int) -> Location:
        """The line and column of an offset, which counts characters."""
        line = bisect_right(self._line_starts, offset)
        return Location(self.name, line, offset - self._line_starts[line - 1] + 1)

    @cached_property
    def _lines(self) -> dict[int, str]:
        return {}

    def line(self, number: int) -> str:
        """The text of a line, counted from 1, without its line break. A line always gives the same object."""
        if number not in self._lines:
            starts = self._line_starts
            end = starts[number] if number < len(starts) else len(self.text)
            self._lines[number] = self.text[starts[number - 1] : end].rstrip("\r\n")
        return self._lines[number]


@dataclass(frozen=True, slots=True)
class Span:
    """The characters of a file from ``start`` to before ``end``."""

    source: SourceFile
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Part:
    """A scalar whose text is at ``offset`` of a ``SourceText``."""

    offset: int
    source: SourceFile
    scalar: Scalar


@dataclass(frozen=True, slots=True)
class SourceText:
    """A text that is made of scalars of one or several files, and where each of its characters comes from."""

    text: str = ""
    parts: tuple[Part, ...] = field(default=())

    def joined(self, other: SourceText) -> SourceText:
        """This text, a blank, and ``other``: the result of appending to a condition or an output."""
        shift = len(self.text) + 1
        moved = tuple(Part(part.offset + shift, part.source, part.scalar) for part in other.parts)
        return SourceText(f"{self.text} {other.text}", self.parts + moved)

    def span(self, start: int, end: int) -> Span:
        """The place of the characters from ``start`` to ``end``, up to the end of the scalar in which they begin."""
        starts = [part.offset for part in self.parts]
        part = self.parts[max(0, bisect_right(starts, start) - 1)]
        offsets = _source_offsets(part.source, part.scalar)
        last = len(part.scalar.value)
        first = min(start - part.offset, last)
        behind = min(max(end - part.offset, first), last)
        begin = offsets[first]
        return Span(part.source, begin, max(begin + 1, offsets[behind - 1] + 1 if behind > first else begin + 1))


def source_text(source: SourceFile, scalar: Scalar) -> SourceText:
    """The text of one scalar."""
    return SourceText(scalar.value, (Part(0, source, scalar),))


@lru_cache(maxsize=4)
def _source_offsets(source: SourceFile, scalar: Scalar) -> array[int]:
    """The offset in the file of each character of the scalar's value, and of its end.

    Folding and quoting change only blanks and escapes. So the characters that are not blank are in the file in the
    same order. The offset of a blank is the one after the character before it.
    """
    written = _written_characters(source.text, scalar)
    position = scalar.start if scalar.style in BLOCK_STYLES or not scalar.style else scalar.start + 1
    if scalar.style in BLOCK_STYLES and written:
        position = written[0]
    offsets = array("I")
    count = 0
    for character in scalar.value:
        if character not in BLANKS and count < len(written):
            offsets.append(written[count])
            position = written[count] + 1
            count += 1
        else:
            offsets.append(position)
            if position < scalar.end and source.text[position] in " \t":
                position += 1
    trailing = offsets and scalar.value[-1] in BLANKS
    end = written[-1] + 1 if written and trailing else position
    offsets.append(end)
    return offsets


def _written_characters(text: str, scalar: Scalar) -> array[int]:
    """The offsets in the file of those characters of a scalar's value that are not blank."""
    start, end = scalar.start, scalar.end
    if scalar.style in BLOCK_STYLES:
        header = _LINE_BREAK.search(text, start)
        start = header.end() if header else end
    if scalar.style == '"':
        return _double_quoted(text, start + 1, end - 1)
    if scalar.style == "'":
        return _single_quoted(text, start + 1, end - 1)
    return array("I", (offset for offset in range(start, end) if text[offset] not in BLANKS))


def _single_quoted(text: str, start: int, end: int) -> array[int]:
    offsets = array("I")
    offset = start
    while offset < end:
        if text[offset] not in BLANKS:
            offsets.append(offset)
        offset += 2 if text[offset] == "'" else 1
    return offsets


def _double_quoted(text: str, start: int, end: int) -> array[int]:
    offsets = array("I")
    offset = start
    while offset < end:
        if text[offset] != "\\":
            if text[offset] not in BLANKS:
                offsets.append(offset)
            offset += 1
            continue
        letter = text[offset + 1]
        digits = _HEX_DIGITS.get(letter, 0)
        if digits:
            blank = chr(int(text[offset + 2 : offset + 2 + digits], 16)) in BLANKS
        else:
            blank = letter in "tnrNLP" or letter in BLANKS
        if not blank:
            offsets.append(offset)
        offset += 2 + digits
    return offsets
