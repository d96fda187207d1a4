"""Tests on the names of files as patterns that the kernel's automaton can run.

The value is an absolute, cleaned path. A test on a part of it (``fd.directory``, ``fd.filename``) becomes a test on the
whole path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tiercel_agent.filter.automaton import ANY, NAME, Gap, Pattern
from tiercel_engine.condition import Atom, Constant, FieldOperand, ListConstants, Operator, Quantifier
from tiercel_engine.patterns import compile_glob
from tiercel_engine.regexes import Regexes

_GLOB = frozenset("*?[")
_REGEX = re.compile(r"[\w/ @%,:;=~<>#&\"'!-]*", re.ASCII)
_REPEATS = frozenset("*+?{")

Elements = tuple[bytes | Gap, ...]


@dataclass(frozen=True, slots=True)
class NameTest:
    """A test as patterns. It holds if one of the patterns does; if it is ``negated``, where none does.

    Not ``exact``: the patterns hold for all names that the test holds for, and for some others.
    """

    patterns: tuple[Pattern, ...]
    exact: bool = True
    negated: bool = False

    @property
    def floats(self) -> bool:
        """Whether some pattern doesn't begin with a literal. Such patterns have an automaton of their own: together
        with the others, their states would be repeated for each prefix among those."""
        return any(
            pattern.ignore_case or (bool(pattern.elements) and isinstance(pattern.elements[0], Gap))
            for pattern in self.patterns
        )


UNCLEAN: tuple[Pattern, ...] = (
    *(Pattern((ANY, part, ANY)) for part in (b"//", b"/./", b"/../")),
    *(Pattern((ANY, part)) for part in (b"/", b"/.", b"/..")),
)
"""Patterns of names that aren't clean. The result of a test on such a name is not the result for the file."""


def name_test(atom: Atom) -> NameTest | None:
    """The test as patterns; None if the name alone doesn't decide anything about it."""
    left, constants = atom.left, atom.right
    if not isinstance(left, FieldOperand) or not isinstance(constants, tuple):
        return None
    if not isinstance(constants, ListConstants):
        return _name_test(atom, left, constants)
    key = name_test, left.key, atom.operator, atom.quantifier
    if key not in constants.made:
        constants.made[key] = _name_test(atom, left, constants)
    test: NameTest | None = constants.made[key]
    return test


def _name_test(atom: Atom, left: FieldOperand, constants: Sequence[Constant]) -> NameTest | None:
    if len(constants) != 1 and (atom.quantifier not in (None, Quantifier.ANY_OF) or atom.operator is Operator.NE):
        return None
    texts = [constant for constant in constants if isinstance(constant, str)]
    if len(texts) != len(constants) or not all(map(_is_text, texts)):
        return None
    return _TESTS.get(left.key, _whole)(atom.operator, texts)


def _is_text(constant: str) -> bool:
    """Whether the constant compares as bytes in the same way as it does as text. Not so for bytes that aren't UTF-8 and
    the characters that replace them, and for NUL."""
    return "\0" not in constant and "\ufffd" not in constant and not re.search("[\ud800-\udfff]", constant)


def _patterns(of: Callable[[str], Iterable[Elements]], constants: Sequence[str]) -> NameTest:
    return NameTest(tuple(Pattern(_joined(elements)) for constant in constants for elements in of(constant)))


def _joined(elements: Elements) -> Elements:
    """The elements without empty literals."""
    return tuple(element for element in elements if element != b"")


def _whole(operator: Operator, constants: Sequence[str]) -> NameTest | None:
    match operator:
        case Operator.EXISTS:
            return NameTest((Pattern((ANY,)),))
        case Operator.EQ | Operator.IN | Operator.INTERSECTS:
            return _patterns(lambda text: [(text.encode(),)], constants)
        case Operator.NE:
            test = _patterns(lambda text: [(text.encode(),)], constants)
            return NameTest(test.patterns, negated=True)
        case Operator.STARTSWITH:
            return _patterns(lambda text: [(text.encode(), ANY)], constants)
        case Operator.ENDSWITH:
            return _patterns(lambda text: [(ANY, text.encode())], constants)
        case Operator.CONTAINS:
            return _patterns(lambda text: [(ANY, text.encode(), ANY)], constants)
        case Operator.ICONTAINS:
            folded = tuple(Pattern(_joined((ANY, text.encode(), ANY)), ignore_case=True) for text in constants)
            return NameTest(folded)
        case Operator.PMATCH:
            return _together(_prefix(text) for text in constants)
        case Operator.GLOB:
            return _together(_glob(text, ANY) for text in constants)
        case Operator.REGEX:
            return _together(_regex(text) for text in constants)
    return None


def _directory(operator: Operator, constants: Sequence[str]) -> NameTest | None:
    def equal(text: str) -> list[Elements]:
        if text == "/":
            return [(b"/", NAME)]
        return [(text.encode() + b"/", NAME)] if text and not text.endswith("/") else []

    match operator:
        case Operator.EXISTS:
            return NameTest((Pattern((ANY,)),))
        case Operator.EQ | Operator.IN | Operator.INTERSECTS:
            return _patterns(equal, constants)
        case Operator.NE:
            return NameTest(_patterns(equal, constants).patterns, negated=True)
        case Operator.STARTSWITH:
            return _patterns(
                lambda text: [(ANY,)] if text in ("", "/") else [(text.encode(), ANY, b"/", NAME)], constants
            )
        case Operator.CONTAINS:
            return _patterns(
                lambda text: [(ANY,)] if text in ("", "/") else [(ANY, text.encode(), ANY, b"/", NAME)], constants
            )
        case Operator.ENDSWITH:
            return _patterns(
                lambda text: [(b"/", NAME)] if text == "/" else [(ANY, text.encode() + b"/", NAME)], constants
            )
        case Operator.PMATCH:
            return _together(_prefix(text, inside=True) for text in constants)
        case Operator.GLOB:
            return _together(_glob(text, ANY, behind=(b"/", NAME), root="/") for text in constants)
    return None


def _filename(operator: Operator, constants: Sequence[str]) -> NameTest | None:
    constants = [text for text in constants if "/" not in text or operator in (Operator.GLOB, Operator.REGEX)]
    if "" in constants:
        return None
    match operator:
        case Operator.EXISTS:
            return NameTest((Pattern((ANY,)),))
        case Operator.EQ | Operator.IN | Operator.INTERSECTS:
            return _patterns(lambda text: [(ANY, b"/" + text.encode())], constants)
        case Operator.NE:
            test = _patterns(lambda text: [(ANY, b"/" + text.encode())], constants)
            return NameTest(test.patterns, negated=True)
        case Operator.STARTSWITH:
            return _patterns(lambda text: [(ANY, b"/" + text.encode(), NAME)], constants)
        case Operator.ENDSWITH:
            return _patterns(lambda text: [(ANY, b"/", NAME, text.encode())], constants)
        case Operator.CONTAINS:
            return _patterns(lambda text: [(ANY, b"/", NAME, text.encode(), NAME)], constants)
        case Operator.GLOB:
            return _together(_glob(text, NAME, before=(ANY, b"/")) for text in constants)
    return None


_TESTS = {"fd.directory": _directory, "fd.filename": _filename}


def _together(tests: Iterable[NameTest | None]) -> NameTest | None:
    all_tests = list(tests)
    patterns: list[Pattern] = []
    for test in all_tests:
        if test is None:
            return None
        patterns += test.patterns
    return NameTest(tuple(patterns), all(test is not None and test.exact for test in all_tests))


def _glob(text: str, star: Gap, before: Elements = (), behind: Elements = (), root: str | None = None) -> NameTest:
    """A glob. It is exact if ``*`` is its only special character; otherwise the pattern holds for all names with the
    same beginning.

    ``root`` is the value for files in the root folder, which the other patterns don't cover.
    """
    elements, exact = _glob_elements(text, star)
    exact = exact and bool(text)
    patterns = [Pattern(_joined((*before, *elements, *behind)))]
    if root is not None and compile_glob(text, regexes=Regexes())(root):
        patterns.append(Pattern((root.encode(), NAME)))
    if not exact and star is ANY and behind:
        patterns = [Pattern(_joined((*elements, ANY))), *patterns[1:]]
    return NameTest(tuple(patterns), exact)


def _glob_elements(text: str, star: Gap) -> tuple[Elements, bool]:
    elements: list[bytes | Gap] = []
    literal = ""
    index = 0
    while index < len(text):
        character = text[index]
        index += 1
        if character == "\\" and index < len(text):
            literal += text[index]
            index += 1
        elif character == "*":
            elements += [literal.encode(), star]
            literal = ""
        elif character in _GLOB:
            return (*elements, literal.encode(), star), False
        else:
            literal += character
    return (*elements, literal.encode()), True


def _prefix(text: str, *, inside: bool = False) -> NameTest:
    """``pmatch``: holds for the path itself and all paths below it. ``inside``: for all files in folders of which it
    holds."""
    elements: list[bytes | Gap] = []
    for part in filter(None, text.split("/")):
        below, exact = _glob_elements(part, NAME) if not _GLOB.isdisjoint(part) else ((part.encode(),), True)
        elements += [b"/", *below]
        if not exact:
            return NameTest((Pattern(_merged((*elements, ANY))),), exact=False)
    if not elements:
        return NameTest((Pattern((ANY,)),))
    all_below = Pattern(_merged((*elements, b"/", ANY)))
    return NameTest((all_below,) if inside else (Pattern(_merged(tuple(elements))), all_below))


def _merged(elements: Elements) -> Elements:
    """The elements with neighbouring literals joined."""
    merged: list[bytes | Gap] = []
    for element in elements:
        if element == b"":
            continue
        if isinstance(element, bytes) and merged and isinstance(merged[-1], bytes):
            merged[-1] += element
        else:
            merged.append(element)
    return tuple(merged)


def _regex(text: str) -> NameTest | None:
    """A regular expression: holds for names that begin with the same literal as the expression; None without a
    literal."""
    beginning = _REGEX.match(text)
    literal = beginning[0] if beginning and "|" not in text else ""
    if len(literal) < len(text) and text[len(literal)] in _REPEATS:
        literal = literal[:-1]
    return NameTest((Pattern((literal.encode(), ANY)),), exact=False) if literal else None
