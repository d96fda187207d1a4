"""What rules files mean: order, redefinition, append, override, lists, macros, manifests."""

from __future__ import annotations

import pytest
from engine_support.rules import REST, STOCK_FOLDER, STOCK_SYSCALL, codes, load_text, matching, names, rule
from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.priority import Priority
from tiercel_engine.rules import RulesFile, load, read_rules


def test_a_rule_has_what_its_item_says() -> None:
    text = (
        "- rule: Shell\n  desc: A shell.\n  condition: evt.type = execve\n  output: shell %proc.name\n"
        "  priority: warning\n  tags: [a, b, a]\n  source: syscall\n  enabled: false\n"
    )
    (rule,) = load_text(text).rules
    assert (rule.name, rule.description, rule.output) == ("Shell", "A shell.", "shell %proc.name")
    assert (rule.priority, rule.tags, rule.source, rule.enabled) == (
        Priority.WARNING,
        ("a", "b"),
        "syscall",
        False,
    )
    assert str(rule.location) == "rules.yaml:1:9"


@pytest.mark.parametrize("condition", ["evt.type = signaldeliver", "evt.type in (mmap2, page_fault) and proc.name = x"])
def test_a_rule_that_could_never_alert_is_an_error(condition: str) -> None:
    loaded = load_text(rule(condition) + rule("evt.type = open", "Other"))
    (error,) = loaded.errors
    assert str(error.location) == "rules.yaml:2:14"
    assert "only hold for events that are not observed" in error.message
    assert names(loaded) == ["Other"]


def test_a_rule_that_names_other_event_types_too_is_good() -> None:
    loaded = load_text(rule("evt.type in (signaldeliver, open, fcntl)"))
    assert loaded.errors == ()
    assert [warning.code for warning in loaded.warnings] == ["LOAD_UNKNOWN_ITEM"]


def test_the_line_break_of_a_folded_output_is_not_printed() -> None:
    text = "- rule: R\n  desc: d\n  condition: evt.type = open\n  output: >\n    one\n    two\n  priority: INFO\n"
    assert load_text(text).rules[0].output == "one two"


def test_defining_again_replaces_and_keeps_the_first_place() -> None:
    text = rule("evt.type = open", "A") + rule("evt.type = open", "B") + rule("evt.type = close", "A")
    loaded = load_text(text)
    assert names(loaded) == ["A", "B"]
    assert matching(loaded, evt_type="close") == ["A"]
    assert matching(loaded, evt_type="open") == ["B"]


@pytest.mark.parametrize("way", ["append: true", "override: {condition: append}"])
def test_an_appended_condition_is_text_after_a_blank(way: str) -> None:
    text = rule("evt.type = open or evt.type = close") + f"- rule: R\n  condition: and proc.name = x\n  {way}\n"
    loaded = load_text(text)
    assert matching(loaded, evt_type="open", proc_name="y") == ["R"]  # `and` binds tighter than `or`
    assert matching(loaded, evt_type="close", proc_name="y") == []
    assert matching(loaded, evt_type="close", proc_name="x") == ["R"]


def test_an_error_in_an_appended_condition_stands_where_it_was_written() -> None:
    files = [
        RulesFile("a.yaml", rule("evt.type = open")),
        RulesFile("b.yaml", "- rule: R\n  condition: >\n    and\n    proc.nmae = x\n  override: {condition: append}\n"),
    ]
    (error,) = load(files).errors
    assert str(error.location) == "b.yaml:4:5"
    assert error.source_line == "    proc.nmae = x"


def test_override_replaces_and_appends_key_by_key() -> None:
    text = rule("evt.type = open", extra="tags: [a]") + (
        "- rule: R\n  output: and %fd.name\n  desc: more\n  tags: [b]\n  priority: ERROR\n  enabled: false\n"
        "  condition: evt.type = close\n"
        "  override: {output: append, desc: append, tags: append, priority: replace, enabled: replace,"
        " condition: replace}\n"
    )
    loaded = load_text(text)
    (merged,) = loaded.rules
    assert codes(loaded) == []
    assert (merged.output, merged.description, merged.tags) == (
        "o %proc.name and %fd.name",
        "d more",
        ("a", "b"),
    )
    assert (merged.priority, merged.enabled) == (Priority.ERROR, False)


def test_an_override_may_name_the_source_that_the_rule_has() -> None:
    loaded = load_text(
        rule("evt.type = open")
        + "- rule: R\n  source: syscall\n  condition: evt.type = close\n  override: {condition: replace}\n"
    )
    assert loaded.errors == ()
    assert matching(loaded, evt_type="close") == ["R"]


def test_to_replace_a_macro_or_list_is_to_define_it_even_if_it_is_new() -> None:
    loaded = load_text(
        "- list: l\n  items: [open]\n  override: {items: replace}\n"
        "- macro: m\n  condition: evt.type in (l)\n  override: {condition: replace}\n" + rule("m")
    )
    assert (loaded.errors, loaded.warnings) == ((), ())
    assert matching(loaded, evt_type="open") == ["R"]


def test_an_empty_override_is_as_none() -> None:
    loaded = load_text(rule("evt.type = open") + rule("evt.type = close", extra="override:"))
    assert loaded.errors == ()
    assert matching(loaded, evt_type="close") == ["R"]


def test_items_with_nothing_in_them_are_passed_over() -> None:
    loaded = load_text("-\n" + rule("evt.type = open") + "- ~\n- null\n")
    assert (codes(loaded), names(loaded)) == ([], ["R"])


def test_a_macro_that_only_rules_of_an_unknown_source_use_may_name_their_fields() -> None:
    loaded = load_text("- macro: m\n  condition: ka.verb = get\n" + rule("m", extra="source: k8s_audit"))
    assert codes(loaded) == ["LOAD_UNKNOWN_SOURCE"]


def test_enabled_alone_switches_a_known_rule_off_and_on() -> None:
    off = rule("evt.type = open") + "- rule: R\n  enabled: false\n"
    assert [rule.enabled for rule in load_text(off).rules] == [False]
    on = off + "- rule: R\n  enabled: true\n  override: {enabled: replace}\n"
    assert [rule.enabled for rule in load_text(on).rules] == [True]


def test_enabling_an_unknown_rule_is_an_error() -> None:
    assert codes(load_text("- rule: R\n  enabled: false\n"))[0] == "LOAD_ERR_VALIDATE"


def test_lists_and_macros_are_appended_to_and_name_earlier_ones() -> None:
    text = (
        "- list: a\n  items: [x]\n- list: b\n  items: [a, y]\n- list: b\n  items: [z]\n  append: true\n"
        "- macro: m\n  condition: proc.name in (b)\n- macro: m\n  condition: or proc.name = w\n"
        "  override: {condition: append}\n"
    ) + rule("evt.type = open and m")
    loaded = load_text(text)
    for name in "xyzw":
        assert matching(loaded, evt_type="open", proc_name=name) == ["R"]
    assert matching(loaded, evt_type="open", proc_name="a") == []


def test_a_list_does_not_see_later_ones() -> None:
    text = "- list: b\n  items: [a]\n- list: a\n  items: [x]\n" + rule("evt.type = open and proc.name in (b)")
    loaded = load_text(text)
    assert matching(loaded, evt_type="open", proc_name="a") == ["R"]
    assert matching(loaded, evt_type="open", proc_name="x") == []


def test_a_macro_that_is_defined_again_sees_what_came_in_between() -> None:
    text = (
        "- macro: a\n  condition: proc.name = x\n- macro: b\n  condition: proc.name = y\n- macro: a\n  condition: b\n"
    ) + rule("evt.type = open and a")
    assert matching(load_text(text), evt_type="open", proc_name="y") == ["R"]


def test_a_rule_sees_macros_and_lists_that_follow_it_even_in_later_files() -> None:
    later = "- macro: m\n  condition: proc.name in (l)\n- list: l\n  items: [x]\n"
    loaded = load([RulesFile("a", rule("evt.type = open and m")), RulesFile("b", later)])
    assert matching(loaded, evt_type="open", proc_name="x") == ["R"]


@pytest.mark.parametrize("version", ["0.63.0", "0.31.2", "63", "13", '"0.57.0"'])
def test_engine_versions_up_to_this_one_are_met(version: str) -> None:
    plugins = "- required_plugin_versions:\n  - {name: x, version: 0.1.0, alternatives: [{name: y, version: 1.0.0}]}\n"
    text = f"- required_engine_version: {version}\n{plugins}" + rule("evt.type = open")
    assert codes(load_text(text)) == []


def test_capture_keys_are_accepted() -> None:
    assert codes(load_text(rule("evt.type = open", extra="capture: true\ncapture_duration: 5000"))) == []


def test_a_broken_file_takes_no_other_with_it() -> None:
    files = [RulesFile("bad.yaml", "- rule: [\n"), RulesFile("good.yaml", rule("evt.type = open"))]
    loaded = load(files)
    assert names(loaded) == ["R"]
    assert [error.location.file for error in loaded.errors] == ["bad.yaml"]


def test_a_manifest_contributes_its_rules_with_their_places() -> None:
    indented = "".join(f"  {line}\n" for line in rule("evt.type = open and proc.nmae = x").splitlines())
    head = "apiVersion: tiercel.dev/v1alpha1\nkind: SecurityRule\nmetadata: {name: x}\nspec:\n  rules:\n"
    loaded = load_text(f"{head}{indented}---\n{rule('evt.type = open', 'Other')}")
    assert names(loaded) == ["Other"]
    assert str(loaded.errors[0].location) == "rules.yaml:7:36"


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    text = "\N{ZERO WIDTH NO-BREAK SPACE}" + rule("evt.type = open and proc.nmae = x").replace("\n", "\r\n")
    (error,) = load_text(text).errors
    assert str(error.location) == "rules.yaml:2:34"
    assert error.source_line == "  condition: evt.type = open and proc.nmae = x"


HOSTILE = {
    "10 MB condition": rule("evt.type = open or " * 550_000 + "evt.type = open"),
    "deep parentheses": rule("(" * 10_000 + "evt.type = open" + ")" * 10_000),
    "deep YAML": "- " * 10_000,
    "aliases": "- &a [x, x]\n"
    + "".join(f"- &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghijklmnopqrstu", "bcdefghijklmnopqrstuv", strict=True)),
    "macros doubling": "- macro: m0\n  condition: proc.name = x\n"
    + "".join(f"- macro: m{n}\n  condition: m{n - 1} and m{n - 1}\n" for n in range(1, 60))
    + rule("evt.type = open and m59"),
    "lists doubling": "- list: l0\n  items: [a, b]\n"
    + "".join(f"- list: l{n}\n  items: [l{n - 1}, l{n - 1}]\n" for n in range(1, 60))
    + rule("evt.type = open and proc.name in (l59)"),
    "many appends": rule("evt.type = open")
    + "- rule: R\n  condition: or evt.type = open\n  override: {condition: append}\n" * 2000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_would_exhaust_the_machine_is_an_error(text: str) -> None:
    loaded = load([RulesFile("hostile", text), RulesFile("good", rule("evt.type = open", "Good"))])
    assert loaded.errors
    assert "Good" in names(loaded)


def test_a_long_chain_of_macros_exhausts_no_stack() -> None:
    chain = "".join(f"- macro: m{n}\n  condition: m{n - 1}\n" for n in range(1, 3000))
    text = f"- macro: m0\n  condition: proc.name = x\n{chain}" + rule("evt.type = open and m2999")
    assert names(load_text(text)) == ["R"]


@given(st.binary(max_size=200))
def test_random_bytes_never_raise(content: bytes) -> None:
    text = content.decode("utf-8", "surrogateescape")
    loaded = load_text(text)
    assert loaded.errors or not loaded.rules, "no rule comes of noise"


_KEYS = ["rule", "macro", "list", "condition", "output", "desc", "priority", "items", "append", "override", "enabled"]
_KEYS += ["exceptions", "tags", "source", "name", "fields", "comps", "values", "required_engine_version"]
_WORDS = st.sampled_from([*_KEYS, "m", "l", "R", "true", "in", "=", "proc.name", "evt.type = open", "INFO", "replace"])
_VALUES = st.recursive(
    _WORDS | st.text(max_size=5) | st.none() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=6), max_size=4))
def test_random_items_never_raise_and_every_finding_has_a_place(items: object) -> None:
    import yaml

    text = yaml.safe_dump(items)
    loaded = load_text(text)
    lines = text.split("\n")
    for diagnostic in (*loaded.errors, *loaded.warnings):
        assert 1 <= diagnostic.location.line <= len(lines)
        assert diagnostic.code.startswith("LOAD_")


@pytest.mark.stock
@pytest.mark.skipif(not STOCK_FOLDER.is_dir(), reason="the stock rule files are not beside the checkout")
@pytest.mark.parametrize(
    ("files", "count"),
    [
        *((pytest.param([name], None, id=name)) for name in (*STOCK_SYSCALL, "k8s_audit_rules")),
        pytest.param([*STOCK_SYSCALL], 93, id="system calls"),
        pytest.param([*STOCK_SYSCALL, "k8s_audit_rules"], 93, id="all"),
    ],
)
def test_stock_rules_load_without_an_error(files: list[str], count: int | None) -> None:
    read, unread = read_rules([STOCK_FOLDER / f"{name}.yaml" for name in files])
    loaded = load(read)
    assert unread == ()
    assert loaded.errors == ()
    assert count is None or len(loaded.rules) == count
    assert {warning.code for warning in loaded.warnings} <= {"LOAD_UNSAFE_NA_CHECK", "LOAD_UNKNOWN_SOURCE"}


def test_rest_is_what_a_rule_needs() -> None:
    assert codes(load_text(f"- rule: R\n  condition: evt.type = open\n  {REST}\n")) == []
