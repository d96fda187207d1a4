"""Conditions become trees; what is no condition gets an error that points at its place."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.condition import Operator, Quantifier
from tiercel_engine.language import ConditionError, parse, print_condition
from tiercel_engine.language.parser import MAX_DEPTH, MAX_LENGTH
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

STOCK = Path(__file__).parents[4] / "shared" / "falco-rules"

A, B, C = MacroName("a"), MacroName("b"), MacroName("c")
NAME = FieldRef("proc.name")
EQ = Operator.EQ


def error_of(text: str) -> ConditionError:
    with pytest.raises(ConditionError) as caught:
        parse(text)
    return caught.value


@contextmanager
def frames_left(count: int) -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + count)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a", A),
        ("a and b or c", Or((And((A, B)), C))),
        ("a or b and c", Or((A, And((B, C))))),
        ("a and (b or c)", And((A, Or((B, C))))),
        ("a or b or c", Or((A, B, C))),
        ("a and (b and c)", And((A, And((B, C))))),
        ("((a))", A),
        ("not a and b", And((Not(A), B))),
        ("not (a and b)", Not(And((A, B)))),
        ("not(a)or(b)and(c)", Or((Not(A), And((B, C))))),
        ("not not a", A),
        ("not not not a", Not(A)),
        ("not (not a)", Not(Not(A))),
        ("\n a\tand\r\n b \f", And((A, B))),
        ("nota and or_b", And((MacroName("nota"), MacroName("or_b")))),
    ],
)
def test_boolean_structure(text: str, tree: Expr) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("proc.name=bash", Check(NAME, EQ, Word("bash"))),
        ("proc.name == bash", Check(NAME, EQ, Word("bash"))),
        ("proc.name!=bash", Check(NAME, Operator.NE, Word("bash"))),
        ("evt.dir=<", Check(FieldRef("evt.dir"), EQ, Word("<"))),
        ("evt.dir=>", Check(FieldRef("evt.dir"), EQ, Word(">"))),
        ("fd.name=~/x", Check(FieldRef("fd.name"), EQ, Word("~/x"))),
        ("fd.num>=-1", Check(FieldRef("fd.num"), Operator.GE, Word("-1"))),
        ("fd.num <0x1F", Check(FieldRef("fd.num"), Operator.LT, Word("0x1F"))),
        ("fd.name startswith /healthz?", Check(FieldRef("fd.name"), Operator.STARTSWITH, Word("/healthz?"))),
        ("proc.name = and", Check(NAME, EQ, Word("and"))),
        ("proc.name exists", Check(NAME, Operator.EXISTS)),
        (
            "proc.name in(a,'b c', \"\")",
            Check(NAME, Operator.IN, WordList((Word("a"), Word("b c", True), Word("", True)))),
        ),
        ("proc.name in ()", Check(NAME, Operator.IN, WordList(()))),
        ("proc.name in shells", Check(NAME, Operator.IN, Word("shells"))),
        ("fd.name pmatch (/etc)", Check(FieldRef("fd.name"), Operator.PMATCH, WordList((Word("/etc"),)))),
        ("proc.name = anyof (a, b)", Check(NAME, EQ, WordList((Word("a"), Word("b"))), Quantifier.ANY_OF)),
        ("proc.name glob allof patterns", Check(NAME, Operator.GLOB, Word("patterns"), Quantifier.ALL_OF)),
        ("proc.name = oneof", Check(NAME, EQ, Word("oneof"))),
        ("proc.name = oneof or a", Or((Check(NAME, EQ, Word("oneof")), A))),
        ("proc.aname[2] exists", Check(FieldRef("proc.aname", "2"), Operator.EXISTS)),
        ("container.mount.dest[/proc*] = a", Check(FieldRef("container.mount.dest", "/proc*"), EQ, Word("a"))),
        ('proc.env["A ]"] = a', Check(FieldRef("proc.env", "A ]"), EQ, Word("a"))),
        ("proc.name = val(proc.pname)", Check(NAME, EQ, ValueOf(FieldRef("proc.pname")))),
        ("tolower( proc.name ) = a", Check(Call("tolower", (NAME,)), EQ, Word("a"))),
        (
            "len(b64(proc.name)) > len(proc.pname)",
            Check(Call("len", (Call("b64", (NAME,)),)), Operator.GT, Call("len", (FieldRef("proc.pname"),))),
        ),
        (
            "join('-', (proc.name, 1)) in (a)",
            Check(
                Call("join", (Word("-", True), ArgumentList((NAME, Word("1"))))), Operator.IN, WordList((Word("a"),))
            ),
        ),
        (
            'getopt(x.y, "nt:")[t] = v',
            Check(Call("getopt", (FieldRef("x.y"), Word("nt:", True)), "t"), EQ, Word("v")),
        ),
    ],
)
def test_checks(text: str, tree: Expr) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r'"a\"b"', 'a"b'),
        (r"'a\'b'", "a'b"),
        (r"'a\"b'", 'a"b'),
        (r'"a\\"', "a\\"),
        (r'"\n\t\r\b\f\/"', "\n\t\r\b\f/"),
        (r'"\ "', "\\"),
        (r'"\xff"', "\udcff"),
        (r'"\xc3\xa9"', "é"),
        ('"two\nlines"', "two\nlines"),
    ],
)
def test_quoted_values(written: str, text: str) -> None:
    assert parse(f"proc.name = {written}") == Check(NAME, EQ, Word(text, True))


def test_spans_are_offsets_into_the_text() -> None:
    text = "  a or not proc.aname[1]  startswith 'x y'  "
    tree = parse(text)
    assert isinstance(tree, Or)
    negation = tree.operands[1]
    assert isinstance(negation, Not)
    check = negation.operand
    assert isinstance(check, Check)
    assert isinstance(check.right, Word)
    assert text[tree.start : tree.end] == text.strip()
    assert text[negation.start : negation.end] == "not proc.aname[1]  startswith 'x y'"
    assert text[check.left.start : check.left.end] == "proc.aname[1]"
    assert text[check.operator_start : check.operator_end] == "startswith"
    assert text[check.right.start : check.right.end] == "'x y'"


# text with the place of the error between « and », what the message says, what the hint says
ERRORS = [
    ("«»", "empty", "evt.type"),
    ("«  »", "empty", ""),
    ("«proc.name»", "expected an operator after proc.name", "proc.name = value"),
    ("«proc.name» and a", "expected an operator after proc.name", ""),
    ("proc.name «contain» x", "expected an operator after proc.name, not `contain`", "did you mean `contains`?"),
    ("proc.name «matches» x", "expected an operator", "did you mean `regex`?"),
    ("proc.name «=~» x", "expected an operator", "did you mean `regex`?"),
    ("proc.name «not» in (a)", "expected an operator", "write `not proc.name …`"),
    ("proc.aname «[»2] = a", "expected an operator", "no blank"),
    ('proc.name «contains»"x"', "must be followed by a blank", ""),
    ("proc.name «=»", "`=` must be followed by a value", ""),
    ("proc.name «=» and a", "`=` must be followed by a value", "quotes"),
    ("proc.name «= (»a, b)", "`=` takes one value", "write `field in (…)`"),
    ("proc.name «startswith (»a, b)", "takes one value", "write `startswith anyof (…)`"),
    ("proc.name = a«,» b", "expected `and`, `or` or the end", "in (a, b)"),
    ("proc.args contains --x«=»y", "expected `and`, `or` or the end", "quotes"),
    ("proc.name = a «b» and c", "expected `and`, `or` or the end", "quotes"),
    ("a «&&» b", "expected `and`, `or` or the end", "write `and`"),
    ("a «AND» b", "expected `and`, `or` or the end", "write `and`"),
    ("«!» a", "expected an expression", "write `not`"),
    ("procname «=» bash", "expected `and`, `or` or the end", "the name of a field has a dot"),
    ("a «and»", "`and` must be followed by an expression", ""),
    ("a or «or» b", "expected an expression after `or`", ""),
    ("a «and»=b", "`and` must be followed by a blank", ""),
    ("a and «not»", "`not` must be followed by an expression", ""),
    ("(«and» a", "expected an expression after `(`", ""),
    ("(«)»", "expected an expression after `(`", "empty parentheses"),
    ("a and «(»b or (c)", "`(` is never closed", "add `)`"),
    ("a«)»", "closes nothing", ""),
    ("«port-forward» and a", "neither a field nor a macro", "letters, digits"),
    ("proc.name = «'»abc", "never closed", ""),
    ("proc.name = '«\\d»+'", "not an escape sequence", "\\\\d"),
    ("proc.name = '«\\x»g0'", "two hexadecimal digits", ""),
    ("proc.name in (a «b»)", "expected `,` or `)`", "quotes"),
    ("proc.name in (a,«)»", "expected a value", ""),
    ("proc.name in «(»a, b", "never closed", ""),
    ('proc.name in «"a"»', "takes a list", 'write `in ("a")`'),
    ("proc.name «in»", "must be followed by a list", ""),
    ("proc.name in («tolower»(x.y))", "cannot stand in a list", ""),
    ("proc.name = anyof «val»(x.y)", "cannot stand in a list", ""),
    ("proc.aname«[2» = a", "expected `]`", ""),
    ("proc.aname«[» 2] = a", "expected an argument after `[`", "blanks"),
    ("proc.aname«[»] = a", "expected an argument after `[`", ""),
    ("«tolwer»(proc.name) = a", "no transformer", "did you mean `tolower(`?"),
    ("proc.name = «foo»(a)", "no transformer", "quotes"),
    ("«val»(proc.name) = a", "right of an operator only", ""),
    ("proc.name = val(«a»)", "takes the name of a field", "val(proc.pname)"),
    ("len«(»proc.name", "never closed", ""),
    ("len(«bash») > 2", "takes fields, transformers and quoted text", 'write "bash" in quotes'),
    ("len(proc.name «proc.pname») > 1", "expected `)`", ""),
]


@pytest.mark.parametrize(("marked", "message", "hint"), ERRORS, ids=[marked for marked, _, _ in ERRORS])
def test_an_error_points_at_its_place(marked: str, message: str, hint: str) -> None:
    start, end = marked.index("«"), marked.index("»") - 1
    error = error_of(marked.replace("«", "").replace("»", ""))
    assert message in error.message
    assert hint in error.hint
    assert (error.start, error.end) == (start, end)


def test_messages_show_hostile_text_harmlessly() -> None:
    for text in ("proc.name \x1b[31m x", "a \u202eb", "a\udcff", "(" + "é" * 5000 + ")", "proc.name x" + "y" * 100_000):
        error = error_of(text)
        assert (error.message + error.hint).replace("…", "").isprintable()
        assert len(error.message) < 300
        assert len(error.hint) < 300


def test_what_is_no_unicode_text_is_refused() -> None:
    error = error_of("proc.name = \ud800")
    assert (error.start, error.end) == (12, 13)


def test_a_condition_that_is_too_long_is_refused_unread() -> None:
    assert f"more than the {MAX_LENGTH}" in error_of("(" * (10 << 20)).message
    longest = "a or ".ljust(MAX_LENGTH - 1) + "b"
    assert parse(longest) == Or((A, B))


@pytest.mark.parametrize(("opening", "closing"), [("(", ")"), ("not (", ")"), ("a or b and (", ")")])
def test_depth_is_bounded_and_takes_no_stack(opening: str, closing: str) -> None:
    with frames_left(60):
        assert parse(opening * MAX_DEPTH + "a" + closing * MAX_DEPTH)
        error = error_of(opening * 10_000 + "a" + closing * 10_000)
    assert f"deeper than {MAX_DEPTH} levels" in error.message
    assert error.start == len(opening) * (MAX_DEPTH + 1) - 1


def test_depth_counts_transformers() -> None:
    half = MAX_DEPTH // 2

    def nested(transformers: int) -> str:
        call = "tolower(" * transformers + "proc.name" + ")" * transformers
        return "(" * half + call + " = a" + ")" * half

    assert parse(nested(half))
    assert "deeper" in error_of(nested(half + 1)).message
    assert "deeper" in error_of("proc.name = " + "len(" * 10_000).message


def test_wide_conditions_are_flat() -> None:
    tree = parse(" or ".join(f"proc.name = p{number}" for number in range(10_000)))
    assert isinstance(tree, Or)
    assert len(tree.operands) == 10_000
    names = ", ".join(f"p{number}" for number in range(50_000))
    check = parse(f"proc.name in ({names})")
    assert isinstance(check, Check)
    assert isinstance(check.right, WordList)
    assert len(check.right.words) == 50_000
    assert parse("not " * 100_001 + "a") == Not(A)


TOKENS = """and or not ( ) in intersects pmatch exists = == != < <= contains regex anyof oneof allof val( len( join(
    tolower( proc.name proc.aname[1] [ ] " ' \\ , a.b macro 0x1 1e5 \\x \\" 'a b' "\\xff" é ! =~"""
tokens = st.sampled_from([*TOKENS.split(), "\x00", "\u2028", "\udcff"])


@given(st.one_of(st.text(), st.lists(tokens, max_size=30).map(" ".join), st.lists(tokens, max_size=30).map("".join)))
def test_any_text_gives_a_tree_or_a_condition_error(text: str) -> None:
    try:
        tree = parse(text)
    except ConditionError as error:
        assert 0 <= error.start <= error.end <= len(text)  # noqa: PT017
        assert error.message  # noqa: PT017
        return
    assert parse(print_condition(tree)) == tree


@pytest.mark.stock
@pytest.mark.skipif(not STOCK.is_dir(), reason="the stock Falco rules are not beside the checkout")
def test_every_stock_condition_parses() -> None:
    read = 0
    for path in STOCK.glob("*.yaml"):
        for item in yaml.safe_load(path.read_text(encoding="utf-8")):
            if "condition" in item:
                tree = parse(item["condition"])
                assert parse(print_condition(tree)) == tree
                read += 1
    assert read > 500
