"""Texts that are known only in part: a rule matches unless its condition is certainly false."""

from __future__ import annotations

from typing import Any

import pytest
from engine_support.evaluation import atom, event, holds_for, operand, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from tiercel_engine.condition import And, Atom, FieldOperand, Node, Not, Operator, Or, Transformed
from tiercel_engine.evaluation.graph import Graph
from tiercel_engine.evaluation.verdicts import compile_verdicts
from tiercel_engine.fields.model import FieldType, Multiplicity
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.rendering.alerts import make_alert
from tiercel_engine.rendering.output import compile_output
from tiercel_engine.uncertain import UNKNOWN, Beginning, Ending, Uncertain, directory_of, last_component, prefixed


def matches(condition: Node, **fields: Any) -> bool:
    values = {name.replace("_", ".", 1): value for name, value in fields.items()}
    uncertain = event(values)
    uncertain.uncertain = True
    return bool(Matcher([rule(condition)]).match(uncertain))


def verdict(condition: Node, **fields: Any) -> bool | None:
    """True, False, or None where it is undecided: then both the condition and its negation match."""
    positive, negative = matches(condition, **fields), matches(Not(condition), **fields)
    assert positive or negative
    return None if positive and negative else positive


@pytest.mark.parametrize(
    ("operator", "constants", "of_beginning", "of_ending", "of_part"),
    [
        ("startswith", ["/etc"], True, None, None),
        ("startswith", ["/etc/shadow"], None, None, None),
        ("startswith", ["/usr"], False, None, None),
        ("=", ["/etc/shadow"], None, False, None),
        ("=", ["/etc/sh"], None, None, None),
        ("=", ["/x/etc/sh"], False, None, None),
        ("=", ["/usr"], False, False, None),
        ("!=", ["/usr"], True, True, None),
        ("!=", ["/etc/shadow"], None, True, None),
        ("in", ["/usr", "/etc/shadow"], None, False, None),
        ("in", ["/usr", "/bin"], False, False, None),
        ("endswith", ["/sh"], None, True, None),
        ("endswith", ["/x/etc/sh"], None, None, None),
        ("endswith", ["/passwd"], None, False, None),
        ("contains", ["tc/s"], True, True, None),
        ("contains", ["dow"], None, None, None),
        ("icontains", ["TC/S"], True, True, None),
        ("icontains", ["DOW"], None, None, None),
        ("pmatch", ["/etc"], True, None, None),
        ("pmatch", ["/etc/shadow", "/usr"], None, None, None),
        ("pmatch", ["/etc/sh"], None, None, None),
        ("pmatch", ["/usr"], False, None, None),
        ("pmatch", ["/*/x"], None, None, None),
        ("glob", ["/etc/*"], True, None, None),
        ("glob", ["/etc/\\*"], None, None, None),
        ("glob", ["*/sh"], None, True, None),
        ("regex", ["/usr.*"], None, None, None),
    ],
)
def test_each_operator(
    operator: str, constants: list[str], of_beginning: bool | None, of_ending: bool | None, of_part: bool | None
) -> None:
    condition = atom("fd.name", operator, *constants)
    found = [verdict(condition, fd_name=kind("/etc/sh")) for kind in (Beginning, Ending, Uncertain)]
    assert found == [of_beginning, of_ending, of_part]
    assert verdict(condition, fd_name=UNKNOWN) is None


def test_whether_there_is_a_value() -> None:
    condition = atom("proc.args", "exists")
    assert (verdict(condition, proc_args=Beginning("a")), verdict(condition, proc_args=UNKNOWN)) == (True, None)


def test_several_texts() -> None:
    oneof = atom("fd.name", "startswith", "/etc", "/etc/shadow", quantifier="oneof")
    assert verdict(oneof, fd_name=Beginning("/etc/sh")) is None
    assert verdict(oneof, fd_name=Beginning("/etc/shadow-")) is False
    allof = atom("fd.name", "contains", "a", "b", quantifier="allof")
    assert verdict(allof, fd_name=Beginning("/ab")) is True
    assert verdict(allof, fd_name=Beginning("/a")) is None


def test_fields_of_several_values() -> None:
    condition = atom("proc.aargs", "contains", "curl")
    assert verdict(condition, proc_aargs=["a curl", Beginning("b")]) is True
    assert verdict(condition, proc_aargs=["a", Beginning("b")]) is None
    assert verdict(condition, proc_aargs=["a", "b"]) is False
    other = atom("proc.aargs", "!=", "b")
    assert verdict(other, proc_aargs=["a", Beginning("x")]) is True
    assert verdict(other, proc_aargs=["b", Beginning("x")]) is False


def test_transformers() -> None:
    def transformed(name: str, kind: FieldType = FieldType.STRING) -> Transformed:
        return Transformed(name, (operand("fd.name"),), kind, Multiplicity.ONE)

    lowered = Atom(transformed("tolower"), Operator.STARTSWITH, ("/etc",))
    assert (verdict(lowered, fd_name=Beginning("/ETC/sh")), verdict(lowered, fd_name=Beginning("/USR"))) == (
        True,
        False,
    )
    base = Atom(transformed("basename"), Operator.EQ, ("sh",))
    assert verdict(base, fd_name=Ending("x/sh")) is True
    assert verdict(base, fd_name=Beginning("/etc/sh")) is None
    assert verdict(Atom(transformed("len", FieldType.INTEGER), Operator.GT, (5,)), fd_name=Beginning("/")) is None


def test_two_fields() -> None:
    compared = Atom(operand("proc.cmdline"), Operator.EQ, FieldOperand(operand("proc.pcmdline").field))
    assert verdict(compared, proc_cmdline=Beginning("a"), proc_pcmdline="b") is None
    assert verdict(compared, proc_cmdline="a", proc_pcmdline="b") is False


def test_what_is_known_as_a_whole_is_decided() -> None:
    condition = And((atom("fd.name", "startswith", "/etc"), atom("proc.name", "=", "cat")))
    assert verdict(condition, fd_name=Beginning("/et"), proc_name="cat") is None
    assert verdict(condition, fd_name=Beginning("/et"), proc_name="ls") is False
    assert verdict(Or((condition, atom("proc.name", "=", "ls"))), fd_name=Beginning("/et"), proc_name="ls") is True


TEXTS = st.text("ab/", max_size=6)
ATOMS = st.builds(
    lambda operator, constants: atom("fd.name", operator, *constants),
    st.sampled_from(["=", "!=", "startswith", "endswith", "contains", "icontains", "glob", "pmatch", "regex"]),
    st.lists(TEXTS, min_size=1, max_size=1),
) | st.builds(
    lambda operator, constants: atom("fd.name", operator, *constants),
    st.sampled_from(["in", "pmatch"]),
    st.lists(TEXTS, min_size=1, max_size=4),
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(lambda parts: And(tuple(parts)), st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda parts: Or(tuple(parts)), st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=6,
)


@settings(max_examples=1500, deadline=None)
@given(CONDITIONS, TEXTS, TEXTS)
def test_a_rule_that_matches_the_whole_text_matches_what_is_known_of_it(
    condition: Node, known: str, missing: str
) -> None:
    for whole, part in ((known + missing, Beginning(known)), (missing + known, Ending(known))):
        if holds_for(condition, {"fd.name": whole}):
            assert matches(condition, fd_name=part)
            assert matches(condition, fd_name=Uncertain(known))
            assert matches(condition, fd_name=UNKNOWN)


@settings(max_examples=1500, deadline=None)
@given(ATOMS, TEXTS, TEXTS)
def test_an_atom_holds_where_its_verdict_is_true(condition: Atom, known: str, missing: str) -> None:
    graph = Graph()
    number = graph.add(condition)
    of = compile_verdicts(graph, [number] if isinstance(graph.parts[number], Atom) else [])
    for whole, part in ((known + missing, Beginning(known)), (missing + known, Ending(known))):
        uncertain = event({"fd.name": part})
        uncertain.uncertain = True
        verdicts = of(uncertain)
        if holds_for(condition, {"fd.name": whole}):
            assert number in verdicts.holding | verdicts.undecided
        else:
            assert number not in verdicts.holding


def test_parts_of_names() -> None:
    assert [directory_of(Ending("b/c")), directory_of(Beginning("/a/b")), directory_of("/a")] == ["b", "/a", "/"]
    assert type(directory_of(Ending("b/c"))) is Ending
    assert directory_of(Ending("c")) is UNKNOWN
    assert (last_component(Ending("b/c")), type(last_component(Ending("b/c")))) == ("c", str)
    assert last_component(Beginning("/a/b")) is UNKNOWN
    assert type(prefixed("x", Ending("y"))) is Uncertain
    assert type(prefixed("x", Beginning("y"))) is Beginning


def test_the_alert_says_so() -> None:
    long = event({"proc.cmdline": Beginning("java -cp"), "tiercel.uncertain": "arguments"})
    watching = rule(atom("proc.cmdline", "contains", "curl"))
    assert "tiercel.uncertain" not in make_alert(watching, long, compile_output("%proc.cmdline"), "node").output_fields
    long.uncertain = True
    ((_, view),) = Matcher([watching]).match(long)
    alert = make_alert(watching, view, compile_output("%proc.cmdline"), "node")
    assert alert.output_fields == {"proc.cmdline": "java -cp", "tiercel.uncertain": "arguments"}
