"""Tests on names as patterns. Exact patterns hold where the test does, others hold at least there."""

from __future__ import annotations

import pytest
from engine_support.evaluation import atom
from hypothesis import given, settings
from hypothesis import strategies as st

from tiercel_agent.filter.automaton import build
from tiercel_agent.filter.name_tests import UNCLEAN, name_test
from tiercel_engine.evaluation.operators import compile_test as make_test

PARTS = st.sampled_from(["a", "b", "ab", ".ssh", "A", "x.b", "\u00e9", "*", "a b"])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
TEXTS = st.lists(
    st.sampled_from(["a", "b", "A", "/", "/a", "b/", ".ssh", "x", "*", "?", "[ab]", "[!a]", "\\a", "\u00e9", "", "."]),
    max_size=4,
).map("".join)
WORDS = ["=", "!=", "startswith", "endswith", "contains", "icontains", "glob", "iglob"]
FIELDS = ["fd.name", "fd.directory", "fd.filename", "evt.arg.filename"]


def value_of(field: str, name: str) -> str:
    directory, _, filename = name.rpartition("/")
    return {"fd.directory": directory or "/", "fd.filename": filename}.get(field, name)


def check(made, name: str) -> None:
    told = name_test(made)
    if told is None:
        return
    automaton = build(told.patterns, most_states=20_000)
    accepted = bool(automaton.accept_sets[automaton.accept(name.encode())])
    holds = make_test(made)(value_of(made.left.key, name))
    if told.exact:
        assert (accepted is not told.negated) == holds, (told, name)
    else:
        assert not told.negated
        assert accepted or not holds, (told, name)


@settings(max_examples=1500)
@given(st.sampled_from(FIELDS), st.sampled_from(WORDS), st.lists(TEXTS, min_size=1, max_size=3, unique=True), NAMES)
def test_words(field: str, operator: str, texts: list[str], name: str) -> None:
    several = operator != "!=" and len(texts) > 1
    check(atom(field, operator, *(texts if several else texts[:1]), quantifier="anyof" if several else None), name)


@settings(max_examples=1000)
@given(st.sampled_from(FIELDS), st.sampled_from(["in", "pmatch"]), st.lists(TEXTS, max_size=3, unique=True), NAMES)
def test_sets(field: str, operator: str, texts: list[str], name: str) -> None:
    check(atom(field, operator, *texts), name)


@pytest.mark.parametrize("pattern", ["/a.*", "/a/b", "/ab?", "/a|/b", ".*b", "(?i)/A", "/a{2}", "/[ab]/.*", "/a+b", ""])
@given(NAMES)
@settings(max_examples=50)
def test_regular_expressions(pattern: str, name: str) -> None:
    check(atom("fd.name", "regex", pattern), name)


@pytest.mark.parametrize("text", ["a\ufffdb", "a\0b"])
def test_what_bytes_and_text_compare_differently_is_left_to_user_space(text: str) -> None:
    assert name_test(atom("fd.name", "contains", text)) is None


@pytest.mark.parametrize(
    ("name", "is_clean"),
    [
        *((name, True) for name in ("/a/b", "/a/.b", "/a/..b")),
        *((name, False) for name in ("/a//b", "/a/./b", "/../a", "/a/", "/a/.", "/a/..", "//a")),
    ],
)
def test_names_that_are_not_cleaned_are_noticed(name: str, is_clean: bool) -> None:
    automaton = build(UNCLEAN, most_states=1000)
    assert automaton.complete
    assert bool(automaton.accept_sets[automaton.accept(name.encode())]) is not is_clean
