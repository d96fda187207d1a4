"""Text that is safe to show: text that an attacker wrote must not control a terminal, or mislead who reads a log."""

from __future__ import annotations

import re
from unicodedata import category

# Cc control, Cf format (bidi overrides, zero width), Cs surrogate, Co private use, Cn unassigned, Zl and Zp line ends.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# One character class and no repeated alternatives, so that matching takes linear time for every text.
_SUSPECT = re.compile(r"[^ -~]")
# Surrogates that don't stand for a byte. JSON can contain them; PEP 383 uses U+DC80 to U+DCFF only.
_STRAY_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def _show(match: re.Match[str]) -> str:
    character = match[0]
    if category(character) not in _HIDDEN:
        return character
    if character in _NAMED:
        return _NAMED[character]
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if category(character) not in _HIDDEN:
        return character
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def printable_json(document: bytes) -> bytes:
    """The same JSON document with hidden characters written as escapes, so that it can be shown on a terminal.

    JSON itself requires that for U+0000 to U+001F only. A JSON reader gets the same text either way.
    """
    if document.isascii() and b"\x7f" not in document:
        return document
    return _SUSPECT.sub(_escape, document.decode()).encode()


def valid(text: str) -> str:
    """The text with U+FFFD for every byte sequence that was not UTF-8. It can be encoded as UTF-8 without error."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _STRAY_SURROGATE.sub("\ufffd", text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text


def printable(text: str) -> str:
    r"""The text as one line without characters that a terminal or a log interprets.

    Invalid UTF-8 becomes U+FFFD. Control characters, ANSI codes, bidi overrides, zero-width characters and line
    separators become visible escapes: ``\n``, ``\x1b``, ``\u202e``. A backslash stays as it is: the result is for
    people, and cannot be turned back into the original text.
    """
    if text.isascii() and text.isprintable():
        return text
    return _SUSPECT.sub(_show, valid(text))
