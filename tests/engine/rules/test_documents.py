from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.nesting import MOST_LEVELS
from tiercel_engine.rules.documents.document import (
    MAX_NODES,
    Mapping,
    Scalar,
    Sequence,
    YamlError,
    YamlNode,
    compose,
)
from tiercel_engine.rules.documents.source_file import SourceFile, source_text


def only_scalar(text: str) -> Scalar:
    """The value of the only key."""
    (document,) = compose(text)
    assert isinstance(document, Mapping)
    (_, value) = document.entries[0]
    assert isinstance(value, Scalar)
    return value


def written_at(text: str, word: str) -> tuple[int, int]:
    """Line and column at which the place of ``word`` in the only value is said to be."""
    source, scalar = SourceFile("f", text), only_scalar(text)
    start = scalar.value.index(word)
    span = source_text(source, scalar).span(start, start + len(word))
    assert text[span.start : span.end] == word
    location = source.location(span.start)
    return location.line, location.column


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("k: one two here\n", (1, 12)),
        ("k: one\n   two\n     here and\n", (3, 6)),
        ("k: 'it''s one\n\n  here'\n", (3, 3)),
        ('k: "a\\x41\\t\\n\\"\\\n   \\u00e9 here"\n', (2, 11)),
        ("k: |\n  one\n   two here\n", (3, 8)),
        ("k: >\n  one\n  two\n\n    and\n  here\n", (6, 3)),
        ("k: >2- # comment\n    one\n  here\n", (3, 3)),
        ("k: &anchor !!str\n  # comment\n  one here\n", (3, 7)),
        ("k: é😀 here\n", (1, 7)),
        ("k: >\r\n  one\r\n  here\r\n", (3, 3)),
    ],
)
def test_a_place_in_a_value_is_found_in_the_file_whatever_the_style(text: str, expected: tuple[int, int]) -> None:
    assert written_at(text, "here") == expected


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40).map(lambda s: s + " ~mark"),
    st.sampled_from(["'", '"', "|", ">", None]),
    st.booleans(),
)
def test_every_visible_character_of_a_value_is_found_where_it_is_written(
    value: str, style: str | None, unicode: bool
) -> None:
    text = yaml.dump({"k": value}, default_style=style, allow_unicode=unicode, width=20)
    try:
        scalar = only_scalar(text)
    except YamlError:
        return  # the writer let through what YAML forbids
    source = SourceFile("f", text)
    for offset, character in enumerate(scalar.value):
        span = source_text(source, scalar).span(offset, offset + 1)
        if character.isascii() and character.isalnum() and "\\" not in text:
            assert text[span.start] == character
    mark = scalar.value.index("~mark")
    span = source_text(source, scalar).span(mark, mark + 5)
    assert text[span.start : span.end] == "~mark"


@pytest.mark.parametrize("text", ["[" * 10_000, "- " * 10_000 + "x", "{a: " * 10_000])
def test_depth_is_bounded(text: str) -> None:
    with pytest.raises(YamlError, match=f"deeper than {MOST_LEVELS}"):
        compose(text)


def test_aliases_cannot_expand_without_bound() -> None:
    lines = ["- &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"- &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(YamlError, match=f"more than {MAX_NODES} values"):
        compose("\n".join(lines))


def test_an_alias_stands_for_what_its_anchor_marks() -> None:
    (document,) = compose("- &x {a: b}\n- *x\n")
    assert isinstance(document, Sequence)
    assert document.items[0] is document.items[1]


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("- *gone", 2, "stands for nothing"),
        ("- &a [*a]", 6, "stands for nothing"),
        ("a: \x1b[31m", 3, r"U\+001B"),
        ("é: \udcff", 3, "byte 0xff is not valid UTF-8"),
        ("a: b: c", 4, "mapping values are not allowed"),
        ("[a]: b", 0, "a key must be a plain word"),
        ('a: "\\U00200000"', 6, "escape"),
    ],
)
def test_what_is_not_yaml_is_an_error_at_its_place(text: str, offset: int, message: str) -> None:
    with pytest.raises(YamlError, match=message) as caught:
        compose(text)
    assert caught.value.offset == offset


def test_a_text_may_hold_several_documents() -> None:
    assert len(compose("---\n- a\n---\n- b\n...\n---\n")) == 3


@given(st.text(st.sampled_from("-:[]{}&*!|>'\"#%@`,?ab \n\t\r\\x0\ufeff\x85")))
def test_no_text_makes_it_raise_anything_else(text: str) -> None:
    def check(node: YamlNode) -> None:
        assert 0 <= node.start <= node.end <= len(text)
        if isinstance(node, Scalar):
            span = source_text(SourceFile("f", text), node).span(0, len(node.value))
            assert 0 <= span.start <= len(text)

    try:
        documents = compose(text)
    except YamlError:
        return
    stack = list(documents)
    while stack:
        node = stack.pop()
        check(node)
        if isinstance(node, Sequence):
            stack.extend(node.items)
        elif isinstance(node, Mapping):
            stack.extend(value for _, value in node.entries)
