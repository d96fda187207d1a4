"""Patterns for text: globs and regular expressions, which RE2 matches, and path prefixes, compared by component.

RE2 takes linear time, and works on UTF-8. Bytes that are not UTF-8 become U+FFFD, both in patterns and in values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from tiercel_engine.printable import valid
from tiercel_engine.regexes import REGEXES, PatternError, Regexes

_GLOB_CHARACTERS = frozenset("*?[")
_CLASSES = {"alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"}
_NOTHING = r"[^\x00-\x{10FFFF}]"


def compile_regex(pattern: str, *, ignore_case: bool = False, regexes: Regexes = REGEXES) -> Callable[[str], bool]:
    """A function that says whether a whole value matches an RE2 expression, which is one of ``regexes``. Raises
    PatternError.

    ``.`` matches a line break too, so that a value with a line break in it cannot evade the pattern.
    """
    matches_bytes = regexes.matcher(valid(pattern), ignore_case=ignore_case)

    def matches(value: str) -> bool:
        return matches_bytes(valid(value).encode())

    return matches


def compile_glob(pattern: str, *, ignore_case: bool = False, regexes: Regexes = REGEXES) -> Callable[[str], bool]:
    """A function that says whether a whole value matches a glob.

    Globs are read as fnmatch(3) reads them without flags: ``*`` matches ``/`` as well.
    """
    matches = compile_regex(glob_to_regex(pattern), ignore_case=ignore_case, regexes=regexes)
    prefix = _literal_prefix(pattern)
    if ignore_case or not prefix or valid(prefix) != prefix:
        return matches
    # Most values differ in their first characters. To compare those is cheaper than to call RE2.
    return lambda value: value.startswith(prefix) and matches(value)


def _literal_prefix(pattern: str) -> str:
    for index, character in enumerate(pattern):
        if character in _GLOB_CHARACTERS or character == "\\":
            return pattern[:index]
    return pattern


def glob_to_regex(pattern: str) -> str:
    """The RE2 expression of a glob (``* ? [a-z] [!a] [[:digit:]] \\x``). An unclosed bracket stands for itself."""
    pattern = valid(pattern)
    parts: list[str] = []
    index = 0
    while index < len(pattern):
        character = pattern[index]
        index += 1
        if character == "*":
            parts.append(".*")
        elif character == "?":
            parts.append(".")
        elif character == "\\" and index < len(pattern):
            parts.append(_literal(pattern[index]))
            index += 1
        elif character == "[" and (bracket := _bracket(pattern, index)) is not None:
            expression, index = bracket
            parts.append(expression)
        else:
            parts.append(_literal(character))
    return "".join(parts)


def _literal(character: str) -> str:
    return character if character.isalnum() and character.isascii() else f"\\x{{{ord(character):x}}}"


def _bracket(pattern: str, index: int) -> tuple[str, int] | None:
    """The bracket expression whose content starts at ``index``, and the index after it. None if it is not closed."""
    negated = pattern[index : index + 1] in ("!", "^")
    index += negated
    items: list[str] = []
    first = True
    while index < len(pattern):
        if pattern[index] == "]" and not first:
            content = "".join(items)
            if not content:
                return ("." if negated else _NOTHING), index + 1
            return f"[{'^' if negated else ''}{content}]", index + 1
        first = False
        if pattern.startswith("[:", index):
            end = pattern.find(":]", index)
            if end > 0 and pattern[index + 2 : end] in _CLASSES:
                items.append(pattern[index : end + 2])
                index = end + 2
                continue
        low, index = _bracket_character(pattern, index)
        high = low
        if pattern.startswith("-", index) and pattern[index + 1 : index + 2] not in ("", "]"):
            high, index = _bracket_character(pattern, index + 1)
        if low and high and low <= high:
            items.append(f"{_literal(low)}-{_literal(high)}")
    return None


def _bracket_character(pattern: str, index: int) -> tuple[str, int]:
    if pattern[index] == "\\" and index + 1 < len(pattern):
        index += 1
    return pattern[index], index + 1


class _Directory:
    """A node in a tree of path components; ``covers`` is true where a prefix ends."""

    __slots__ = ("covers", "globs", "names")

    def __init__(self) -> None:
        self.covers = False
        self.names: dict[str, _Directory] = {}
        self.globs: dict[str, tuple[Callable[[str], bool], _Directory]] = {}


def compile_path_prefixes(prefixes: Iterable[str], *, regexes: Regexes = REGEXES) -> Callable[[str], bool]:
    """A function that says whether one of the prefixes contains a path. Whole components are compared.

    A glob matches within one component. Repeated and trailing slashes make no difference. The cost depends on the
    number of components of the path and not on the number of prefixes, except that the globs of one directory are
    tried one after the other.
    """
    root = _Directory()
    for prefix in prefixes:
        node = root
        for part in filter(None, prefix.split("/")):
            if not _GLOB_CHARACTERS.isdisjoint(part):
                if part not in node.globs:
                    node.globs[part] = compile_glob(part, regexes=regexes), _Directory()
                node = node.globs[part][1]
            else:
                node = node.names.setdefault(part, _Directory())
        node.covers = True

    def covered(path: str) -> bool:
        if root.covers:
            return True
        nodes = [root]
        for part in path.split("/"):
            if not part:
                continue
            following: list[_Directory] = []
            for node in nodes:
                named = node.names.get(part)
                if named is not None:
                    if named.covers:
                        return True
                    following.append(named)
                for matches, below in node.globs.values():
                    if matches(part):
                        if below.covers:
                            return True
                        following.append(below)
            if not following:
                return False
            nodes = following
        return False

    return covered


_OF_ARGUMENTS = Regexes(2 << 20)


@lru_cache(maxsize=64)
def cached_glob(pattern: str) -> Callable[[str], bool]:
    """Like ``compile_glob``, for patterns in the arguments of fields. A pattern that is refused matches nothing."""
    try:
        return compile_glob(pattern, regexes=_OF_ARGUMENTS)
    except PatternError:
        return _nothing


def _nothing(_value: str) -> bool:
    return False
