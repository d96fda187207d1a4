"""Tests that stand in manifests: how they are read, what passes, and why others fail."""

from __future__ import annotations

from typing import Any

import pytest

from tiercel_engine import rule_tests
from tiercel_engine.diagnostics import Diagnostic, render
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.rule_tests import Outcome
from tiercel_engine.rule_tests.reading import MAX_EVENT, MAX_FIELDS, MAX_NAME, MAX_TESTS
from tiercel_engine.rules import RulesFile, load
from tiercel_engine.rules.objects import RuleObject, resolve

MANIFEST = """\
apiVersion: tiercel.dev/v1alpha1
kind: SecurityRule
metadata: {{name: r, namespace: {namespace}}}
spec:
  selector: {selector}
  rules:
  - list: shells
    items: [bash, sh]
  - rule: Shell
    desc: d
    condition: evt.type = execve and container.id != host and proc.name in (shells)
    output: o
    priority: NOTICE
  - rule: Shadow
    desc: d
    condition: evt.type = openat and fd.name = /etc/shadow and fd.num > 2
    output: o
    priority: NOTICE
  - rule: "Off"
    desc: d
    condition: evt.type = execve
    output: o
    priority: NOTICE
    enabled: false
  tests:
"""
FIRST_TEST = MANIFEST.count("\n") + 1
SHELL = "evt.type: execve, proc.name: bash, container.id: 3f29aa01c8d7"


def manifest(tests: str, namespace: str = "tiercel-system", selector: str = "{}") -> RulesFile:
    return RulesFile("r.yaml", MANIFEST.format(namespace=namespace, selector=selector) + tests)


def outcomes(*files: RulesFile) -> tuple[Outcome, ...]:
    """What comes of files in which nothing is wrong."""
    loaded, tests_read = load(files), rule_tests.read_tests(files)
    assert (loaded.errors, tests_read.errors) == ((), ())
    return rule_tests.run(tests_read, loaded.rules)


def outcome(event: str, expect: str, namespace: str = "tiercel-system", selector: str = "{}") -> Outcome:
    (result,) = outcomes(manifest(f"  - {{name: t, event: {{{event}}}, expect: {expect}}}\n", namespace, selector))
    return result


def errors(tests: str) -> tuple[Diagnostic, ...]:
    return rule_tests.read_tests([manifest(tests)]).errors


def error(tests: str) -> Diagnostic:
    (problem,) = errors(tests)
    return problem


@pytest.mark.parametrize(
    ("event", "expect"),
    [
        (SHELL, "[Shell]"),
        (f"{SHELL}, user.name: root, source: syscall", '["Shell"]'),
        (f"{SHELL}, proc.aname: [bash, sshd], evt.buffer: '00ff', evt.is_open_read: false", "[Shell, Shell]"),
        (SHELL.replace("bash", "zsh"), "none"),
        (SHELL.replace("bash", "zsh"), "[]"),
        ("proc.name: bash, container.id: 3f29aa01c8d7", "none"),
        ("", "none"),
        ("evt.type: openat, fd.name: /etc/shadow, fd.num: 3", "[Shadow]"),
        ("evt.type: openat, fd.name: /etc/shadow, fd.num: 0x3", "[Shadow]"),
        ("evt.type: openat, fd.name: /etc/shadow, fd.num: ", "none"),
        ("evt.type: openat, fd.name: /etc/shadow", "none"),
        ("evt.type: openat, fd.name: /tmp/x, fd.realname: /etc/shadow, fd.num: 3", "[Shadow]"),
    ],
)
def test_what_passes(event: str, expect: str) -> None:
    result = outcome(event, expect)
    assert (result.passed, result.missing, result.unexpected, result.message) == (True, (), (), "")


@pytest.mark.parametrize(
    ("event", "expect", "missing", "unexpected", "message"),
    [
        (
            SHELL.replace("bash", "zsh"),
            "[Shell]",
            ("Shell",),
            (),
            'Shell did not match: proc.name in ("bash", "sh") does not hold, proc.name is "zsh"',
        ),
        (SHELL, "none", (), ("Shell",), "Shell matched, which is not expected"),
        (
            "evt.type: openat, fd.name: /etc/shadow",
            "[Shadow]",
            ("Shadow",),
            (),
            "Shadow did not match: fd.num > 2 does not hold, fd.num has no value",
        ),
        (
            SHELL,
            "[Shadow]",
            ("Shadow",),
            ("Shell",),
            'Shadow did not match: evt.type = "openat" does not hold, evt.type is "execve"; '
            "Shell matched, which is not expected",
        ),
        (SHELL, "[Shell, 'Off']", ("Off",), (), "Off did not match: it is disabled"),
    ],
)
def test_why_a_test_fails(
    event: str, expect: str, missing: tuple[str, ...], unexpected: tuple[str, ...], message: str
) -> None:
    result = outcome(event, expect)
    assert (result.passed, result.missing, result.unexpected, result.message) == (False, missing, unexpected, message)


def test_the_place_of_a_test_is_that_of_its_name() -> None:
    location = outcome(SHELL, "[Shell]").test.location
    assert (location.file, location.line, location.column) == ("r.yaml", FIRST_TEST, 12)


def test_a_rule_must_match_under_one_name_of_a_file() -> None:
    file = manifest("  - {name: t, event: {evt.type: openat, fd.name: /a, fd.realname: /b}, expect: [Both]}\n")
    both = "  - {rule: Both, desc: d, condition: fd.name = /a and fd.name = /b, output: o, priority: INFO}\n  tests:\n"
    (result,) = outcomes(RulesFile(file.name, file.text.replace("  tests:\n", both)))
    assert result.message == (
        "Both did not match: fd.name = \"/b\" holds under the file's resolved name alone, and others don't"
    )


def test_an_expected_rule_with_an_error_was_not_loaded_and_others_are_tested() -> None:
    text = manifest(f"  - {{name: t, event: {{{SHELL}}}, expect: [Shell, Shadow]}}\n").text.replace("fd.num >", "x >")
    files = [RulesFile("r.yaml", text)]
    loaded = load(files)
    (result,) = rule_tests.run(rule_tests.read_tests(files), loaded.rules)
    assert (len(loaded.errors), result.matched, result.missing) == (1, ("Shell",), ("Shadow",))
    assert "Shadow did not match: it was not loaded" in result.message


def test_other_manifests_rules_count_neither_as_matched_nor_as_expected() -> None:
    first = manifest(f"  - {{name: t, event: {{{SHELL}}}, expect: [Shell]}}\n")
    other = "- {rule: Other, desc: d, condition: evt.type = execve, output: o, priority: INFO}\n"
    (result,) = outcomes(first, RulesFile("other.yaml", other))
    assert result.passed
    (unknown,) = rule_tests.read_tests(
        [manifest("  - {name: t, event: {}, expect: [Other]}\n"), RulesFile("other.yaml", other)]
    ).errors
    assert unknown.message == "the manifest has no rule Other"


def test_lists_are_shared_and_a_change_of_anothers_rule_is_tested_where_it_stands() -> None:
    change = (
        "apiVersion: tiercel.dev/v1alpha1\nkind: SecurityRule\nspec:\n  rules:\n"
        "  - {list: shells, items: [zsh], override: {items: append}}\n"
        "  - {rule: Shell, condition: and user.name != me, override: {condition: append}}\n"
        "  tests:\n"
        f"  - {{name: a, event: {{{SHELL.replace('bash', 'zsh')}, user.name: you}}, expect: [Shell]}}\n"
        f"  - {{name: b, event: {{{SHELL}, user.name: me}}, expect: none}}\n"
    )
    assert [result.passed for result in outcomes(manifest(""), RulesFile("change.yaml", change))] == [True, True]


WEB = "{pods: {matchLabels: {app: web}}}"


@pytest.mark.parametrize(
    ("namespace", "selector", "where", "inside"),
    [
        ("shop", "{}", "", True),
        ("shop", "{}", "k8s.pod.name: p", True),
        ("shop", "{}", "k8s.ns.name: shop", True),
        ("shop", "{}", "k8s.ns.name: bank", False),
        ("shop", "{}", "k8s.ns.name: ", False),
        ("shop", "{}", "container.id: host", False),
        ("shop", WEB, "", True),
        ("shop", WEB, "k8s.pod.label.app: web, k8s.ns.name: shop", True),
        ("shop", WEB, "k8s.ns.name: shop", False),
        ("tiercel-system", "{}", "k8s.ns.name: bank", True),
        ("tiercel-system", "{host: true}", "", True),
        ("tiercel-system", "{host: true}", "container.id: 3f29aa01c8d7", False),
        ("tiercel-system", "{nodes: {matchNames: [a]}}", "k8s.node.name: b", False),
        ("tiercel-system", "{nodes: {matchNames: [a]}}", "container.id: host", False),
    ],
)
def test_the_scope_counts_for_events_that_say_where_they_happened(
    namespace: str, selector: str, where: str, inside: bool
) -> None:
    event = f"evt.type: openat, fd.name: /etc/shadow, fd.num: 3, {where}"
    result = outcome(event, "[Shadow]", namespace, selector)
    assert result.passed is inside
    assert inside or "Shadow did not match: the event is not where the manifest's rules watch: " in result.message
    assert outcome(event, "none", namespace, selector).passed is not inside


@pytest.mark.parametrize(
    ("test", "marked", "message", "hint"),
    [
        ("{name: t, event: {proc.nmae: x}, expect: none}", "proc.nmae", "no field", "did you mean proc.name?"),
        ("{name: t, event: {evt.type: exceve}, expect: none}", "exceve", "no event of the type", "did you mean execve"),
        ("{name: t, event: {proc.name: 5}, expect: none}", "5", "must be a string, not an integer", 'quotes: "5"'),
        ("{name: t, event: {proc.name: no}, expect: none}", "no}", "must be a string, not true or", 'quotes: "no"'),
        ("{name: t, event: {proc.name: [x]}, expect: none}", "[x]", "must be a string, not an array", ""),
        ("{name: t, event: {proc.name: {a: b}}, expect: none}", "{a: b}", "must be a string, not an object", ""),
        ("{name: t, event: {fd.num: x}, expect: none}", "x}", "must be an integer, not a string", ""),
        ("{name: t, event: {fd.num: '3'}, expect: none}", "'3'", "must be an integer, not a string", ""),
        ("{name: t, event: {fd.num: .inf}, expect: none}", ".inf", "must be an integer, not a string", ""),
        ("{name: t, event: {fd.num: 99999999999999999999}, expect: none}", "999", "must be an integer, not", ""),
        ("{name: t, event: {evt.buffer: xyz}, expect: none}", "xyz", "hexadecimal", ""),
        ("{name: t, event: {proc.aname: x}, expect: none}", "x}", "must be an array", ""),
        ("{name: t, event: {proc.aname: [[x]]}, expect: none}", "[[x]]", "must be a string, not an array", ""),
        ("{name: t, event: {source: k8s_audit}, expect: none}", "k8s_audit", "no source k8s_audit", "one of syscall"),
        ("{name: t, event: {proc.name: a, proc.name: b}, expect: none}", "proc.name: b", "is there twice", "remove"),
        ("{name: t, event: execve, expect: none}", "execve", "event must be a mapping, not a single value", "event: {"),
        ("{name: t, event: , expect: none}", ", expect", "event must be a mapping, not nothing", ""),
        ("{name: t, expect: none}", "t,", "has no event", "add event"),
        ("{name: t, event: {}}", "t,", "doesn't say what to expect", "expect: none"),
        ("{name: t, event: {}, expect: [Shel]}", "Shel]", "the manifest has no rule Shel", "did you mean Shell?"),
        ("{name: t, event: {}, expect: [none]}", "none]", "the manifest has no rule none", "write expect: none"),
        ("{name: t, event: {}, expect: Shell}", "Shell}", "must be a list of rules' names or none, not Shell", "write"),
        ("{name: t, event: {}, expect: }", "}\n", "must be a list of rules' names or none, not nothing", ""),
        ("{name: t, event: {}, expect: [[Shell]]}", "[Shell]]", "an entry of expect must be a text", ""),
        ("{name: t, event: {}, expects: [Shell], expect: none}", "expects", "'expects'", "did you mean expect?"),
        ("{event: {}, expect: none}", "{event", "the test has no name", "add name"),
        ("{name: '  ', event: {}, expect: none}", "'  '", "the test has no name", "write name"),
        ("{name: [t], event: {}, expect: none}", "[t]", "name must be a text", ""),
        (f"{{name: {'x' * (MAX_NAME + 1)}, event: {{}}, expect: none}}", "xxx", "200 characters at most", ""),
        ("a shell is seen", "a shell", "a test must be a mapping", "with name, event, expect"),
        ("~", "~", "a test must be a mapping, not nothing", ""),
    ],
)
def test_an_error_is_told_with_its_place_and_takes_no_other_test_with_it(
    test: str, marked: str, message: str, hint: str
) -> None:
    file = manifest(f"  - {test}\n  - {{name: good, event: {{}}, expect: none}}\n")
    tests_read = rule_tests.read_tests([file])
    (told,) = tests_read.errors
    assert message in told.message
    assert hint in told.hint
    assert told.location.line == FIRST_TEST
    assert f"  - {test}\n"[told.location.column - 1 :].startswith(marked)
    assert [good.name for suite in tests_read.suites for good in suite.tests] == ["good"]


def test_all_errors_of_an_event_are_told() -> None:
    problems = errors("  - {name: t, event: {proc.nmae: x, fd.num: x, evt.type: x}, expect: [x, y]}\n")
    assert len(problems) == 5
    assert {(told.item_type, told.item_name) for told in problems} == {("test", "t")}


@pytest.mark.parametrize("tests", ["{}", "none", "{name: t}"])
def test_tests_that_are_no_list(tests: str) -> None:
    text = manifest("").text.replace("tests:", f"tests: {tests}")
    (told,) = rule_tests.read_tests([RulesFile("r.yaml", text)]).errors
    assert "spec.tests must be a list" in told.message


def test_the_second_of_two_tests_of_one_name_is_an_error() -> None:
    file = manifest("  - {name: t, event: {}, expect: none}\n" * 2)
    tests_read = rule_tests.read_tests([file])
    (told,) = tests_read.errors
    assert (told.message, told.location.line) == ("the manifest has another test of this name", FIRST_TEST + 1)
    assert len(tests_read.suites[0].tests) == 1


def test_what_is_too_much_is_refused() -> None:
    tests = "".join(f"  - {{name: t{number}, event: {{}}, expect: none}}\n" for number in range(MAX_TESTS + 5))
    tests_read = rule_tests.read_tests([manifest(tests)])
    assert (len(tests_read.suites[0].tests), len(tests_read.errors)) == (MAX_TESTS, 1)
    fields = ", ".join(f"evt.arg.a{number}: x" for number in range(MAX_FIELDS + 1))
    assert "500 fields at most" in error(f"  - {{name: t, event: {{{fields}}}, expect: none}}\n").message
    large = f"proc.name: {'x' * MAX_EVENT}"
    assert "larger than" in error(f"  - {{name: t, event: {{{large}}}, expect: none}}\n").message
    entries = ", ".join(["x"] * MAX_EVENT)
    assert "larger than" in error(f"  - {{name: t, event: {{proc.aname: [{entries}]}}, expect: none}}\n").message


def test_anchors_stand_for_events_and_are_counted_as_all_that_they_stand_for() -> None:
    file = manifest(
        f"  - {{name: a, event: &shell {{{SHELL}}}, expect: &names [Shell]}}\n"
        "  - {name: b, event: *shell, expect: *names}\n"
    )
    assert [result.passed for result in outcomes(file)] == [True, True]
    bomb = ", ".join(["*a"] * 1000)
    many = f"  - {{name: a, event: {{proc.aname: &a [{', '.join(['x'] * 200)}], proc.name: [{bomb}]}}, expect: none}}\n"
    assert "larger than" in error(many).message


def test_nothing_of_a_manifest_reaches_the_terminal() -> None:
    hidden = r"\e[2J\x07\x9b\u202e\u2028"
    test = f'  - {{name: "{hidden}", event: {{"{hidden}": x, proc.name: "{hidden}"}}, expect: ["{hidden}"]}}\n'
    problems = errors(test)
    assert len(problems) == 2
    for told in problems:
        assert all(character.isprintable() or character == "\n" for character in render(told))


def test_long_conditions_and_values_are_cut() -> None:
    words = ", ".join(f"w{number}" for number in range(3000))
    text = manifest(f"  - {{name: t, event: {{{SHELL.replace('bash', 'x' * 10_000)}}}, expect: [Shell]}}\n").text
    (result,) = outcomes(RulesFile("r.yaml", text.replace("[bash, sh]", f"[{words}]")))
    assert result.message.startswith('Shell did not match: proc.name in ("w0", ')
    assert len(result.message) < 600


def test_a_file_in_which_no_test_stands_is_named() -> None:
    files = [
        manifest(""),
        RulesFile("rules.yaml", "- {list: a, items: [b]}\n"),
        RulesFile("no.yaml", "{"),
        RulesFile("pod.yaml", "apiVersion: v1\nkind: Pod\nspec: {tests: [{}]}\n"),
        RulesFile("bad.yaml", manifest("  - x\n").text),
    ]
    tests_read = rule_tests.read_tests(files)
    assert tests_read.untested == ("r.yaml", "rules.yaml", "no.yaml", "pod.yaml")
    assert [told.location.file for told in tests_read.errors] == ["bad.yaml"]


def of_shop(tests: Any) -> RuleObject:
    rule = {"rule": "Shell", "desc": "d", "condition": "proc.name = bash", "output": "o", "priority": "INFO"}
    return RuleObject("shop", "r", {"rules": [rule], "tests": tests})


def of_cluster(tests: Any) -> tuple[Outcome, ...]:
    rule_object = of_shop(tests)
    return rule_tests.run(rule_tests.tests_of(rule_object), resolve([rule_object]).rules)


def test_an_object_of_the_cluster_has_the_same_tests() -> None:
    results = of_cluster(
        [
            {"name": "a", "event": {"proc.name": "bash", "container.id": "12345678e123"}, "expect": ["Shell"]},
            {"name": "b", "event": {"proc.name": "bash", "k8s.ns.name": "bank"}, "expect": "none"},
            {"name": "c\x1b\u2028\U0001f600", "event": {"proc.name": "no\x00", "fd.num": 3}, "expect": ["Shell"]},
        ]
    )
    assert [each.passed for each in results] == [True, True, False]
    assert results[0].test.event["container.id"] == "12345678e123"
    assert results[2].test.name == "c\x1b\u2028\U0001f600"
    assert results[2].test.event == {"proc.name": "no\x00", "fd.num": 3}


def test_errors_in_an_object_of_the_cluster() -> None:
    event = {"proc.name": 5, "fd.num": "3"}
    tests_read = rule_tests.tests_of(of_shop([{"name": "t", "event": event, "expect": ["Shel"]}, None, 3]))
    assert [told.message for told in tests_read.errors] == [
        "proc.name must be a string, not an integer",
        "fd.num must be an integer, not a string",
        "the manifest has no rule Shel",
        "a test must be a mapping, not nothing",
        "a test must be a mapping, not a single value",
    ]
    assert tests_read.errors[0].source_line.strip() == "proc.name: 5"


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("tests", [None, [], {}, "x", 5, [[]], [{"name": "\ud800"}], nested(60), nested(100_000)])
def test_no_object_raises(tests: Any) -> None:
    assert rule_tests.run(rule_tests.tests_of(of_shop(tests)), ()) == ()


def test_rules_match_as_they_do_when_detecting() -> None:
    file = manifest(f"  - {{name: t, event: {{{SHELL}}}, expect: none}}\n", "shop")
    (test,) = rule_tests.read_tests([file]).suites[0].tests
    test.event["k8s.ns.name"] = "shop"
    assert [rule.name for rule, _ in Matcher(load([file]).rules).match(test.event)] == ["Shell"]
