"""Each error and warning: its code, its place, and that the good rules load all the same."""

from __future__ import annotations

import pytest
from engine_support.rules import REST, codes, load_marked, load_text, names, place, rule

GOOD = rule("evt.type = open", name="Good")

ERRORS = {
    "no YAML": ("LOAD_ERR_YAML_PARSE", "- rule: «[x\n"),
    "not a list": ("LOAD_ERR_YAML_VALIDATE", "«rule: x\n"),
    "a single value": ("LOAD_ERR_YAML_VALIDATE", "«hello\n"),
    "item not a mapping": ("LOAD_ERR_YAML_VALIDATE", f"{GOOD}- «text\n"),
    "no name": ("LOAD_ERR_YAML_VALIDATE", f'{GOOD}- rule: «""\n  condition: evt.type = open\n  {REST}\n'),
    "missing keys": ("LOAD_ERR_YAML_VALIDATE", f"{GOOD}- rule: «R\n  condition: evt.type = open\n  output: x\n"),
    "macro without condition": ("LOAD_ERR_YAML_VALIDATE", f"{GOOD}- macro: «m\n"),
    "items not a list": ("LOAD_ERR_YAML_VALIDATE", f"{GOOD}- list: l\n  items: «a\n"),
    "an item of a list not a text": ("LOAD_ERR_YAML_VALIDATE", f"{GOOD}- list: l\n  items: [a, «[b]]\n"),
    "priority": ("LOAD_ERR_YAML_VALIDATE", GOOD + rule("evt.type = open").replace("INFO", "«URGENT")),
    "enabled": ("LOAD_ERR_YAML_VALIDATE", GOOD + rule("evt.type = open", extra="enabled: «maybe")),
    "key twice": ("LOAD_ERR_YAML_VALIDATE", GOOD + rule("evt.type = open", extra="«condition: evt.type = close")),
    "condition syntax": ("LOAD_ERR_COMPILE_CONDITION", GOOD + rule("evt.type = open and «)")),
    "unknown field": ("LOAD_ERR_COMPILE_CONDITION", GOOD + rule("evt.type = open and «proc.nmae = x")),
    "folded condition": (
        "LOAD_ERR_COMPILE_CONDITION",
        GOOD + rule(">\n    evt.type = open and\n    (fd.name = a or\n      «proc.nmae = x)"),
    ),
    "regular expression": ("LOAD_ERR_COMPILE_CONDITION", GOOD + rule('evt.type = open and fd.name regex «"("')),
    "unknown macro": ("LOAD_ERR_VALIDATE", GOOD + rule("evt.type = open and «nothing_so")),
    "unknown output field": (
        "LOAD_ERR_COMPILE_OUTPUT",
        GOOD + rule("evt.type = open").replace("o %proc.name", "'it''s %«proc.nmae'"),
    ),
    "macro in a rule": (
        "LOAD_ERR_COMPILE_CONDITION",
        GOOD + rule("evt.type = open and m") + "- macro: m\n  condition: «proc.nmae = x\n",
    ),
    "macro syntax": (
        "LOAD_ERR_COMPILE_CONDITION",
        GOOD + rule("evt.type = open and m") + "- macro: m\n  condition: proc.name exists «= x\n",
    ),
    "macro sees none after it": (
        "LOAD_ERR_VALIDATE",
        f"{GOOD}- macro: a\n  condition: «b\n- macro: b\n  condition: proc.name = x\n{rule('evt.type = open and a')}",
    ),
    "macro loop": (
        "LOAD_ERR_VALIDATE",
        f"{GOOD}- macro: a\n  condition: proc.name = x\n- macro: b\n  condition: «a\n- macro: a\n  condition: b\n"
        + rule("evt.type = open and b"),
    ),
    "append to nothing": (
        "LOAD_ERR_VALIDATE",
        f"{GOOD}- rule: «R\n  condition: and evt.type = open\n  override: {{condition: append}}\n",
    ),
    "enable nothing": ("LOAD_ERR_VALIDATE", f"{GOOD}- rule: «R\n  enabled: false\n  override: {{enabled: replace}}\n"),
    "both ways to append": (
        "LOAD_ERR_YAML_VALIDATE",
        f"{GOOD}- rule: Good\n  condition: or evt.type = close\n  append: «true\n  override: {{condition: append}}\n",
    ),
    "override of a missing key": (
        "LOAD_ERR_YAML_VALIDATE",
        f"{GOOD}- rule: Good\n  condition: or evt.type = close\n  override: {{condition: append, «output: append}}\n",
    ),
    "key without override": (
        "LOAD_ERR_YAML_VALIDATE",
        f"{GOOD}- rule: Good\n  condition: or evt.type = close\n  «output: x\n  override: {{condition: append}}\n",
    ),
    "append to what cannot": (
        "LOAD_ERR_YAML_VALIDATE",
        f"{GOOD}- rule: Good\n  priority: ERROR\n  override: {{«priority: append}}\n",
    ),
    "override neither append nor replace": (
        "LOAD_ERR_YAML_VALIDATE",
        f"{GOOD}- rule: Good\n  priority: ERROR\n  override: {{priority: «prepend}}\n",
    ),
    "other source": (
        "LOAD_ERR_VALIDATE",
        rule("evt.type = open") + rule("ka.verb = get", extra="source: «k8s_audit") + GOOD,
    ),
    "engine version": ("LOAD_ERR_VALIDATE", f"- required_engine_version: «0.64.0\n{GOOD}"),
    "engine number": ("LOAD_ERR_VALIDATE", f"- required_engine_version: «64\n{GOOD}"),
    "engine version form": ("LOAD_ERR_YAML_VALIDATE", f"- required_engine_version: «new\n{GOOD}"),
    "plugin version form": (
        "LOAD_ERR_VALIDATE",
        f"- required_plugin_versions:\n  - name: json\n    version: «x\n{GOOD}",
    ),
    "plugin named twice": (
        "LOAD_ERR_VALIDATE",
        "- required_plugin_versions:\n  - {name: json, version: 0.7.0, alternatives: [«{name: json, version: 1.0.0}]}\n"
        + GOOD,
    ),
    "plugin without version": ("LOAD_ERR_YAML_VALIDATE", f"- required_plugin_versions: [«{{name: json}}]\n{GOOD}"),
    "empty condition": ("LOAD_ERR_YAML_VALIDATE", GOOD + rule('«""')),
    "empty output": ("LOAD_ERR_YAML_VALIDATE", GOOD + rule("evt.type = open").replace("o %proc.name", '«""')),
    "empty description": ("LOAD_ERR_YAML_VALIDATE", GOOD + rule("evt.type = open").replace("desc: d", 'desc: «""')),
    "unknown macro in a macro that nothing uses": (
        "LOAD_ERR_VALIDATE",
        f"{GOOD}- macro: m\n  condition: proc.name = x and «nothing_so\n",
    ),
    "append of no key": ("LOAD_ERR_VALIDATE", f"{GOOD}- rule: Good\n  append: «true\n"),
    "list to append without items": ("LOAD_ERR_YAML_VALIDATE", f"{GOOD}- list: l\n  append: «true\n"),
    "append under another source": (
        "LOAD_ERR_VALIDATE",
        f"{GOOD}- rule: Good\n  source: «k8s_audit\n  condition: or evt.type = close\n"
        "  override: {condition: append}\n",
    ),
    "list in itself": (
        "LOAD_ERR_VALIDATE",
        f"{GOOD}- list: a\n  items: [x]\n- list: b\n  items: [a]\n- list: «a\n  items: [b]\n",
    ),
    "manifest version": (
        "LOAD_ERR_YAML_VALIDATE",
        "apiVersion: «tiercel.dev/v9\nkind: SecurityRule\nspec: {rules: []}\n---\n" + GOOD,
    ),
    "manifest without rules": (
        "LOAD_ERR_YAML_VALIDATE",
        "apiVersion: tiercel.dev/v1alpha1\nkind: SecurityRule\nspec: «{}\n---\n" + GOOD,
    ),
}


@pytest.mark.parametrize(("code", "text"), ERRORS.values(), ids=ERRORS.keys())
def test_error(code: str, text: str) -> None:
    loaded, expected = load_marked(text)
    assert (loaded.errors[0].code, place(loaded.errors[0])) == (code, expected), loaded.errors
    assert len(loaded.errors) == 1
    assert loaded.errors[0].message
    assert ("Good" in names(loaded)) == ("Good" in text)


USED = rule("evt.type = open")

WARNINGS = {
    "unknown source": ("LOAD_UNKNOWN_SOURCE", USED + rule("ka.verb = get", name="K", extra="source: «k8s_audit")),
    "comparison with NA": ("LOAD_UNSAFE_NA_CHECK", rule('evt.type = open and proc.name != «"<NA>"')),
    "every event type": ("LOAD_NO_EVTTYPE", rule("«proc.name = x")),
    "most event types": ("LOAD_NO_EVTTYPE", rule("«not evt.type in (open, close)")),
    "unknown filter": (
        "LOAD_UNKNOWN_FILTER",
        USED + rule("evt.type = open and «proc.nmae = x", name="S", extra="skip-if-unknown-filter: true"),
    ),
    "unknown filter in a macro": (
        "LOAD_UNKNOWN_FILTER",
        "- macro: m\n  condition: «proc.nmae = x\n"
        + rule("evt.type = open and m", name="S", extra="skip-if-unknown-filter: true"),
    ),
    "unknown filter in an output": (
        "LOAD_UNKNOWN_FILTER",
        USED
        + rule("evt.type = open", name="S", extra="skip-if-unknown-filter: true").replace(
            "o %proc.name", "o %«foo.bar"
        ),
    ),
    "empty override": ("LOAD_UNKNOWN_KEY", rule("evt.type = open", extra="override: «{}")),
    "field that touches text": (
        "LOAD_COMPILE_CONDITION",
        rule("evt.type = open").replace("%proc.name", "%«proc.namefoo"),
    ),
    "container.info": ("LOAD_DEPRECATED_ITEM", rule("evt.type = open").replace("%proc.name", "«%container.info")),
    "direction in an output": ("LOAD_DEPRECATED_ITEM", rule("evt.type = open").replace("%proc.name", "%«evt.dir")),
    "unused macro": ("LOAD_UNUSED_MACRO", f"{USED}- macro: «m\n  condition: proc.name = x\n"),
    "unused list": ("LOAD_UNUSED_LIST", f"{USED}- list: «l\n  items: [x]\n"),
    "unknown item": ("LOAD_UNKNOWN_ITEM", f"{USED}- «lists: l\n  items: [x]\n"),
    "other manifest": ("LOAD_UNKNOWN_ITEM", f"apiVersion: v1\nkind: «Namespace\n---\n{USED}"),
    "append: true": (
        "LOAD_DEPRECATED_ITEM",
        f"{USED}- rule: R\n  condition: and proc.name = x\n  append: «true\n",
    ),
    "enabled alone": ("LOAD_DEPRECATED_ITEM", f"{USED}- rule: «R\n  enabled: false\n"),
    "unknown key": ("LOAD_UNKNOWN_KEY", rule("evt.type = open", extra="«tag: [x]")),
    "key without effect": (
        "LOAD_UNKNOWN_KEY",
        f"{USED}- rule: R\n  condition: and proc.name = x\n  «priority: ERROR\n  append: true\n",
    ),
}


@pytest.mark.parametrize(("code", "text"), WARNINGS.values(), ids=WARNINGS.keys())
def test_warning(code: str, text: str) -> None:
    loaded, expected = load_marked(text)
    assert loaded.errors == ()
    assert (code, expected) in [(warning.code, place(warning)) for warning in loaded.warnings], loaded.warnings
    assert {warning.code for warning in loaded.warnings} <= {code, "LOAD_DEPRECATED_ITEM"}


def test_names_that_no_condition_can_write() -> None:
    text = f"{USED}- macro: a-b\n  condition: proc.name = x\n- list: a b\n  items: [x]\n"
    places = {(warning.code, warning.location.line) for warning in load_text(text).warnings}
    assert places >= {("LOAD_INVALID_MACRO_NAME", 6), ("LOAD_INVALID_LIST_NAME", 8)}


def test_a_rule_that_is_skipped_uses_its_macros_and_lists() -> None:
    text = (
        "- list: l\n  items: [get]\n- macro: m\n  condition: ka.verb in (l)\n"
        + rule("m", extra="source: k8s_audit\nexceptions:\n- {name: e, fields: ka.verb, values: [l2]}")
        + "- list: l2\n  items: [x]\n"
    )
    assert codes(load_text(text)) == ["LOAD_UNKNOWN_SOURCE"]


def test_every_error_of_a_file_is_found_in_the_order_of_the_file() -> None:
    text = (
        rule("evt.type = open and proc.nmae = x and fd.nmae = y", name="A")
        + "- macro: m\n  condition: (\n"
        + rule("evt.type = open", name="B").replace("INFO", "URGENT").replace("%proc.name", "%")
        + rule("evt.type = open", name="Good")
        + rule("m and )", name="C")
    )
    loaded = load_text(text)
    assert [error.location.line for error in loaded.errors] == sorted(error.location.line for error in loaded.errors)
    assert [(error.item_type, error.item_name) for error in loaded.errors] == [
        ("rule", "A"),
        ("rule", "A"),
        ("macro", "m"),
        ("rule", "B"),
        ("rule", "C"),
    ]
    assert names(loaded) == ["Good"]


def test_a_bad_macro_is_reported_once_with_the_rules_that_it_takes_along() -> None:
    text = "- macro: m\n  condition: proc.nmae = x\n- macro: n\n  condition: m or fd.name = y\n"
    text += rule("evt.type = open and m", name="A") + rule("evt.type = open and n", name="B") + GOOD
    loaded = load_text(text)
    assert len(loaded.errors) == 1
    assert "left out: A, B" in loaded.errors[0].message
    assert names(loaded) == ["Good"]


def test_a_rule_with_a_broken_list_is_left_out() -> None:
    text = "- list: allowed\n  items: x\n" + rule("evt.type = open and not proc.name in (allowed)", name="A") + GOOD
    loaded = load_text(text)
    assert [(error.item_type, error.location.line) for error in loaded.errors] == [("list", 2), ("rule", 4)]
    assert names(loaded) == ["Good"]


def test_warnings_of_event_types_can_be_switched_off() -> None:
    assert codes(load_text(rule("proc.name = x", extra="warn_evttypes: false"))) == []


def test_findings_are_bounded_and_the_rest_is_counted() -> None:
    loaded = load_text("- macro: m\n" * 3000)
    assert len(loaded.errors) == 1001
    assert "2000 more errors" in loaded.errors[-1].message
