"""A tree printed and read again is the same tree, typed or not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.condition import And as TypedAnd
from tiercel_engine.condition import Operator, Quantifier
from tiercel_engine.language import check, parse, print_condition, print_node
from tiercel_engine.language.lexer import is_bare_value
from tiercel_engine.language.operators import NUMERIC, QUANTIFIABLE, SET, TRANSFORMERS
from tiercel_engine.language.syntax import (
    And,
    ArgumentList,
    Call,
    Check,
    Expr,
    FieldRef,
    MacroName,
    Not,
    Or,
    ValueOf,
    Word,
    WordList,
)

KEYWORDS = {"and", "or", "not"}
simple_names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,6}", fullmatch=True).filter(lambda name: name not in KEYWORDS)
texts = st.one_of(st.text(max_size=8), st.binary(max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
numbers = st.from_regex(r"[+-]?[0-9]{1,3}|0x[0-9a-f]{1,3}", fullmatch=True).map(Word)
bare_words = st.one_of(
    st.text(max_size=8).filter(is_bare_value), simple_names, st.sampled_from(["<", ">", "anyof", "and"])
)
quoted_words = texts.map(lambda text: Word(text, True))
words = st.one_of(bare_words.map(Word), quoted_words)
word_lists = st.lists(words, max_size=4).map(lambda items: WordList(tuple(items)))
fields = st.builds(
    FieldRef, st.lists(simple_names, min_size=2, max_size=3).map(".".join), st.one_of(st.none(), texts, bare_words)
)


def _calls(inner: st.SearchStrategy[FieldRef | Call]) -> st.SearchStrategy[Call]:
    items = st.one_of(inner, fields, numbers, quoted_words)
    lists = st.lists(items, max_size=3).map(lambda members: ArgumentList(tuple(members)))
    arguments = st.lists(st.one_of(items, lists), min_size=1, max_size=3).map(tuple)
    return st.builds(Call, st.sampled_from(TRANSFORMERS), arguments, st.one_of(st.none(), texts))


calls = st.recursive(_calls(fields), _calls, max_leaves=4)
lefts = st.one_of(fields, calls)
operands = st.one_of(fields.map(ValueOf), calls)


def _operators(some: frozenset[Operator]) -> st.SearchStrategy[Operator]:
    return st.sampled_from(sorted(some, key=lambda operator: operator.value))


checks = st.one_of(
    st.builds(Check, lefts, st.just(Operator.EXISTS)),
    st.builds(Check, lefts, _operators(NUMERIC | QUANTIFIABLE), st.one_of(words, operands)),
    st.builds(Check, lefts, _operators(SET), st.one_of(word_lists, simple_names.map(Word), operands)),
    st.builds(
        Check,
        lefts,
        _operators(QUANTIFIABLE),
        st.one_of(word_lists, simple_names.map(Word)),
        st.sampled_from(Quantifier),
    ),
)


def _compound(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    several = st.lists(inner, min_size=2, max_size=4).map(tuple)
    return st.one_of(several.map(And), several.map(Or), inner.map(Not))


trees = st.recursive(st.one_of(checks, simple_names.map(MacroName)), _compound, max_leaves=12)


@given(trees)
def test_a_printed_tree_reads_as_itself(tree: Expr) -> None:
    assert parse(print_condition(tree)) == tree


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (And((MacroName("a"), Or((MacroName("b"), MacroName("c"))))), "a and (b or c)"),
        (Or((And((MacroName("a"), MacroName("b"))), MacroName("c"))), "a and b or c"),
        (Not(Not(MacroName("a"))), "not (not a)"),
        (Check(FieldRef("fd.name"), Operator.EQ, Word("\x1b[0m\n", True)), r'fd.name = "\x1b[0m\n"'),
        (Check(FieldRef("fd.name"), Operator.EQ, Word("needs quotes")), 'fd.name = "needs quotes"'),
    ],
)
def test_canonical_text(tree: Expr, text: str) -> None:
    assert print_condition(tree) == text


@pytest.mark.parametrize(
    "text",
    [
        'evt.type in ("open", "openat") and not (proc.name = "a" or proc.aname[2] startswith anyof ("x", "y"))',
        "fd.snet in (10.0.0.0/8, fd00::/8) and fd.sip = 10.0.0.1 and fd.sport = 53 and evt.is_open_read = true",
        r'evt.buffer bcontains cafe and evt.buffer startswith "\xff\"a"',
        "proc.name = val(proc.pname) and tolower(proc.name) = toupper(proc.pname) and len(proc.args) > 3",
        'join("-", (proc.name, "x")) = "a-x" and join(",", proc.aname) exists and concat(proc.name, ":") in ()',
        'getopt(fd.types, "nt:")[t] = "v"',
    ],
)
def test_a_typed_condition_reads_as_itself(text: str) -> None:
    node = check(parse(text), macros={}, lists={}).node
    assert node is not None
    assert print_node(node) == text


def test_a_typed_condition_of_any_depth_prints() -> None:
    node = check(parse("proc.name exists"), macros={}, lists={}).node
    assert node is not None
    for _ in range(5000):
        node = TypedAnd((node,))
    assert print_node(node).endswith(")")
