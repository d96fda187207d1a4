from __future__ import annotations

import pytest
from engine_support.rules import codes, load_marked, load_text, matching, place, rule
from hypothesis import given
from hypothesis import strategies as st


def with_exceptions(*lines: str) -> str:
    return rule("evt.type = open or evt.type = close", extra="exceptions:\n" + "\n".join(lines))


def test_a_row_excuses_what_equals_it_in_every_field() -> None:
    loaded = load_text(
        with_exceptions("- name: e", "  fields: [proc.name, fd.name]", "  values:", "  - [a, /x]", "  - [b, /y]")
    )
    assert codes(loaded) == []
    for event_type in ("open", "close"):  # the rule's own `or` does not get loose
        assert matching(loaded, evt_type=event_type, proc_name="a", fd_name="/x") == []
        assert matching(loaded, evt_type=event_type, proc_name="b", fd_name="/y") == []
        assert matching(loaded, evt_type=event_type, proc_name="a", fd_name="/y") == ["R"]
        assert matching(loaded, evt_type=event_type) == ["R"]


def test_comparisons_may_be_given_one_for_each_field() -> None:
    loaded = load_text(
        with_exceptions(
            "- name: e",
            "  fields: [proc.name, fd.name, fd.directory]",
            "  comps: [in, startswith, pmatch]",
            "  values:",
            "  - [[a, b], /x, [/etc, /usr]]",
        )
    )
    assert codes(loaded) == []
    assert matching(loaded, evt_type="open", proc_name="b", fd_name="/xyz", fd_directory="/usr/lib") == []
    assert matching(loaded, evt_type="open", proc_name="b", fd_name="/xyz", fd_directory="/usrlib") == ["R"]
    assert matching(loaded, evt_type="open", proc_name="c", fd_name="/xyz", fd_directory="/usr/lib") == ["R"]


@pytest.mark.parametrize(
    ("comps", "values"),
    [("", "[a, b c]"), ("comps: in", "[a, '\"b c\"']"), ("", "[known]"), ("", "['(a, \"b c\")']")],
)
def test_a_single_field_takes_a_set(comps: str, values: str) -> None:
    lines = ["- name: e", "  fields: proc.name", f"  values: {values}", *([f"  {comps}"] if comps else [])]
    loaded = load_text(with_exceptions(*lines) + "- list: known\n  items: [a, '\"b c\"']\n")
    assert loaded.errors == ()
    assert matching(loaded, evt_type="open", proc_name="a") == []
    assert matching(loaded, evt_type="open", proc_name="b c") == []
    assert matching(loaded, evt_type="open", proc_name="b") == ["R"]


def test_a_field_may_have_an_argument() -> None:
    loaded = load_text(with_exceptions("- name: e", "  fields: ['proc.aname[2]']", "  values: [[a]]"))
    assert codes(loaded) == []
    assert matching(loaded, evt_type="open", **{"proc.aname[2]": "a"}) == []
    assert matching(loaded, evt_type="open", **{"proc.aname[2]": "b"}) == ["R"]


def test_values_are_appended_to_an_exception_and_new_ones_added() -> None:
    text = with_exceptions("- name: e", "  fields: [proc.name]", "  values: [[a]]") + (
        "- rule: R\n  exceptions:\n  - {name: e, values: [[b]]}\n  - {name: n, fields: fd.name, values: [/z]}\n"
        "  override: {exceptions: append}\n"
    )
    loaded = load_text(text)
    assert codes(loaded) == []
    for fields in ({"proc_name": "a"}, {"proc_name": "b"}, {"fd_name": "/z"}):
        assert matching(loaded, evt_type="open", **fields) == []
    assert matching(loaded, evt_type="open", proc_name="c", fd_name="/y") == ["R"]


def test_exceptions_are_replaced() -> None:
    text = with_exceptions("- name: e", "  fields: [proc.name]", "  values: [[a]]") + (
        "- rule: R\n  exceptions: [{name: n, fields: fd.name, values: [/z]}]\n  override: {exceptions: replace}\n"
    )
    loaded = load_text(text)
    assert matching(loaded, evt_type="open", proc_name="a") == ["R"]
    assert matching(loaded, evt_type="open", fd_name="/z") == []


def test_an_exception_without_values_excuses_nothing_but_its_fields_are_checked() -> None:
    assert codes(load_text(with_exceptions("- name: e", "  fields: [proc.name]"))) == []
    loaded, expected = load_marked(with_exceptions("- name: e", "  fields: [proc.name, «proc.nmae]"))
    assert [(error.code, place(error)) for error in loaded.errors] == [("LOAD_ERR_VALIDATE", expected)]


@given(st.text(st.sampled_from("ab \"'\\()=,\n\x1b%*é"), min_size=1, max_size=8))
def test_no_value_is_read_as_syntax(value: str) -> None:
    import yaml

    if value[0] in "\"'" and value[-1] == value[0]:
        return  # quotes of an older way to write values
    entry = yaml.safe_dump([[value, "x"]], default_style='"', width=1000).replace("\n", "\n    ").rstrip()
    loaded = load_text(with_exceptions("- name: e", "  fields: [proc.name, fd.name]", f"  values:\n    {entry}"))
    assert loaded.errors == ()
    assert matching(loaded, evt_type="open", proc_name=value, fd_name="x") == []
    assert matching(loaded, evt_type="open", proc_name=value + "x", fd_name="x") == ["R"]
    assert matching(loaded, evt_type="open") == ["R"]


ERRORS = {
    "row too short": ["- name: e", "  fields: [proc.name, fd.name]", "  values: [[a, b], «[c]]"],
    "comps too few": ["- name: e", "  fields: [proc.name, fd.name]", "  comps: «[=]", "  values: [[a, b]]"],
    "one single, one a list": ["- name: e", "  fields: proc.name", "  comps: «[in]", "  values: [a]"],
    "no comparison": ["- name: e", "  fields: [proc.name]", "  comps: [«like]", "  values: [[a]]"],
    "no set comparison": ["- name: e", "  fields: proc.name", "  comps: «=", "  values: [a]"],
    "no row": ["- name: e", "  fields: [proc.name]", "  values: [«a]"],
    "row for a single field": ["- name: e", "  fields: proc.name", "  values: [a, «[b]]"],
    "set where one is compared": ["- name: e", "  fields: [proc.name]", "  values: [[«[a, b]]]"],
    "no fields": ["- name: «e", "  values: [[a]]"],
    "no field": ["- name: e", "  fields: [«not a field]", "  values: [[a]]"],
    "unknown field": ["- name: e", "  fields: [«proc.nmae]", "  values: [[a]]"],
    "value of another type": ["- name: e", "  fields: [fd.num]", "  values: [[1], [«x]]"],
    "no name": ["- «fields: [proc.name]", "  values: [[a]]"],
    "no mapping": ["- «e"],
    "values not a list": ["- name: e", "  fields: [proc.name]", "  values: «a"],
}


@pytest.mark.parametrize("lines", ERRORS.values(), ids=ERRORS.keys())
def test_an_error_points_at_the_entry(lines: list[str]) -> None:
    loaded, expected = load_marked(with_exceptions(*lines) + rule("evt.type = open", "Good"))
    assert [place(error) for error in loaded.errors] == [expected], loaded.errors
    assert [rule.name for rule in loaded.rules] == ["Good"]


def test_fields_of_an_exception_that_exists_cannot_be_appended() -> None:
    loaded, expected = load_marked(
        with_exceptions("- name: e", "  fields: [proc.name]", "  values: [[a]]")
        + "- rule: R\n  exceptions: [{name: e, fields: «[fd.name], values: [[b]]}]\n  override: {exceptions: append}\n"
    )
    assert [(error.code, place(error)) for error in loaded.errors] == [("LOAD_ERR_VALIDATE", expected)]


def test_appending_no_values_is_a_warning() -> None:
    loaded, expected = load_marked(
        with_exceptions("- name: e", "  fields: [proc.name]", "  values: [[a]]")
        + "- rule: R\n  exceptions: [{name: «e}]\n  override: {exceptions: append}\n"
    )
    assert [(warning.code, place(warning)) for warning in loaded.warnings] == [("LOAD_APPEND_NO_VALUES", expected)]


def test_two_exceptions_of_one_name_are_a_warning_and_both_hold() -> None:
    loaded, expected = load_marked(
        with_exceptions("- {name: e, fields: proc.name, values: [a]}", "- {name: «e, fields: proc.name, values: [b]}")
    )
    assert [(warning.code, place(warning)) for warning in loaded.warnings] == [
        ("LOAD_EXCEPTION_NAME_NOT_UNIQUE", expected)
    ]
    assert matching(loaded, evt_type="open", proc_name="a") == matching(loaded, evt_type="open", proc_name="b") == []


def test_an_unknown_key_of_an_exception_is_a_warning() -> None:
    loaded, expected = load_marked(
        with_exceptions("- name: e", "  fields: [proc.name]", "  «value: [[a]]", "  values: [[a]]")
    )
    assert [(warning.code, place(warning)) for warning in loaded.warnings] == [("LOAD_UNKNOWN_KEY", expected)]


CODES = {
    "no fields": ("LOAD_ERR_YAML_VALIDATE", ["- name: e", "  values: [[a]]"]),
    "no name": ("LOAD_ERR_YAML_VALIDATE", ["- fields: [proc.name]", "  values: [[a]]"]),
    "lengths": ("LOAD_ERR_VALIDATE", ["- name: e", "  fields: [proc.name, fd.name]", "  values: [[a]]"]),
    "comparison": ("LOAD_ERR_VALIDATE", ["- name: e", "  fields: [proc.name]", "  comps: [like]", "  values: [[a]]"]),
    "unknown field": ("LOAD_ERR_VALIDATE", ["- name: e", "  fields: [proc.nmae]", "  values: [[a]]"]),
    "value of another type": ("LOAD_ERR_COMPILE_CONDITION", ["- name: e", "  fields: [fd.num]", "  values: [[x]]"]),
    "operator that does not fit": (
        "LOAD_ERR_COMPILE_CONDITION",
        ["- name: e", "  fields: [fd.num]", "  comps: [startswith]", "  values: [[x]]"],
    ),
}


@pytest.mark.parametrize(("code", "lines"), CODES.values(), ids=CODES.keys())
def test_errors_have_falcos_codes(code: str, lines: list[str]) -> None:
    assert [error.code for error in load_text(with_exceptions(*lines)).errors] == [code]


def test_a_new_exception_cannot_be_appended_without_values() -> None:
    loaded, expected = load_marked(
        rule("evt.type = open")
        + "- rule: R\n  exceptions: [{name: «e, fields: [proc.name]}]\n  override: {exceptions: append}\n"
    )
    assert [(error.code, place(error)) for error in loaded.errors] == [("LOAD_ERR_VALIDATE", expected)]


def test_exceptions_without_anything_in_them_are_none() -> None:
    loaded = load_text(rule("evt.type = open", extra="exceptions:"))
    assert loaded.errors == ()
    assert matching(loaded, evt_type="open") == ["R"]


@pytest.mark.parametrize(
    ("fields", "comps", "values"),
    [
        ("[proc.name, fd.name]", '[" in ", startswith anyof]', "[[[vi, vim], [/etc/, /usr/]]]"),
        ("proc.name", "startswith  anyof", "[vi, em]"),
        ("[proc.name]", '["= anyof"]', '[["(vi, vim)"]]'),
    ],
)
def test_comparisons_may_have_blanks_and_a_quantifier(fields: str, comps: str, values: str) -> None:
    loaded = load_text(with_exceptions("- name: e", f"  fields: {fields}", f"  comps: {comps}", f"  values: {values}"))
    assert loaded.errors == ()
    assert matching(loaded, evt_type="open", proc_name="vim", fd_name="/etc/x") == []
    assert matching(loaded, evt_type="open", proc_name="nano", fd_name="/etc/x") == ["R"]


@pytest.mark.parametrize("comps", ["in anyof", "> oneof", "startswith someof", "startswith any of"])
def test_a_quantifier_that_does_not_fit_is_no_comparison(comps: str) -> None:
    loaded = load_text(with_exceptions("- name: e", "  fields: proc.name", f"  comps: '{comps}'", "  values: [a]"))
    assert [error.code for error in loaded.errors] == ["LOAD_ERR_VALIDATE"]
