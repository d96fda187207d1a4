"""What is let in, what is refused, and what is said of it."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_support.rule_objects import BAD, GOOD, SYSTEM, macro, of, rule

from tiercel_engine.rules.objects import RuleObject
from tiercel_operator.admission.review import LONGEST_WARNING, MOST_ERRORS, MOST_WARNINGS, NotAReview, review


def asked(new: RuleObject, old: RuleObject | None = None, kind: str = "SecurityRule", **more: Any) -> dict[str, Any]:
    """The AdmissionReview for an object, as the API server sends it."""

    def manifest(object_: RuleObject) -> dict[str, Any]:
        metadata = {"name": object_.name, "namespace": object_.namespace, "uid": "1"}
        return {"apiVersion": "tiercel.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": object_.spec}

    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "tiercel.dev", "version": "v1alpha1", "kind": kind},
        "operation": "CREATE" if old is None else "UPDATE",
        "namespace": new.namespace,
        "name": new.name,
        "object": manifest(new),
        "oldObject": None if old is None else manifest(old),
        **more,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def answered(new: RuleObject, *others: RuleObject, old: RuleObject | None = None) -> dict[str, Any]:
    body = asked(new, old)
    before = copy.deepcopy(body)
    answer = review(body, others)
    assert body == before
    assert answer["response"]["uid"] == body["request"]["uid"]
    assert "patch" not in answer["response"]
    return answer["response"]


def message(response: Mapping[str, Any]) -> str:
    assert not response["allowed"]
    assert response["status"]["code"] == 422
    return str(response["status"]["message"])


def test_a_good_object_is_let_in() -> None:
    assert answered(of("shop", "a", rule("r", GOOD))) == {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "allowed": True,
    }


def test_a_bad_one_is_refused_with_the_place() -> None:
    text = message(answered(of("shop", "a", rule("r", BAD))))
    assert text.split("\n") == [
        "rule r: there is no field proc.nmae (did you mean proc.name?)",
        "    condition: evt.type = open and proc.nmae = x",
        "                                   ^~~~~~~~~",
    ]


def test_the_place_is_seen_in_a_long_line_too() -> None:
    condition = " or ".join(f"evt.type = open and proc.name = name{number}" for number in range(500))
    text = message(answered(of("shop", "a", rule("r", f"({condition}) and proc.nmae = x and ({condition})"))))
    _, line, mark = text.split("\n")
    start = mark.index("^")
    assert line[start : start + len(mark.strip())] == "proc.nmae"
    assert len(line) < 200


def test_what_it_uses_is_found_in_its_namespace_and_the_systems_alone() -> None:
    uses = of("shop", "a", rule("r", "mine"))
    defined = macro("mine", GOOD)
    assert answered(uses, of("shop", "m", defined))["allowed"]
    assert answered(uses, of(SYSTEM, "m", defined))["allowed"]
    assert message(answered(uses, of("bank", "m", defined))).startswith("rule r: there is no macro mine")
    assert message(answered(uses, of("shop", "m", defined, suspend=True))).startswith("rule r: there is no macro mine")


def test_a_macro_that_no_rule_uses_is_checked() -> None:
    text = message(answered(of("shop", "a", rule("r", GOOD), macro("mine", BAD))))
    assert text.split("\n")[:2] == [
        "macro mine: there is no field proc.nmae (did you mean proc.name?)",
        "    condition: evt.type = open and proc.nmae = x",
    ]
    assert "there is no macro other" in message(answered(of("shop", "a", macro("mine", f"{GOOD} and other"))))
    assert answered(of("shop", "a", macro("mine", f"{GOOD} and other")), of(SYSTEM, "m", macro("other", GOOD)))[
        "allowed"
    ]
    # of one that uses it, only the one that is wrong is told
    assert message(answered(of("shop", "a", macro("mine", BAD), macro("uses", "mine")))).count("proc.nmae = x") == 1


def test_a_list_that_no_rule_uses_is_checked() -> None:
    itself = [{"list": "a", "items": ["x"]}, {"list": "b", "items": ["a"]}, {"list": "a", "items": ["b"]}]
    assert "list a: the list contains itself, through b" in message(answered(of("shop", "a", *itself)))
    assert "items" in message(answered(of("shop", "a", {"list": "a", "items": "x"})))


def test_macros_for_fields_that_may_be_unknown_are_let_in() -> None:
    """Those of rules of another source, and of rules that say so: here, and in another object."""
    for more in ({"source": "k8s_audit"}, {"skip-if-unknown-filter": True}):
        macros = macro("mine", BAD), macro("uses", "mine and evt.type = open")
        assert answered(of("shop", "a", *macros, rule("r", "uses", **more)))["allowed"]
        old = of("shop", "a", *macros)
        new = of("shop", "a", *macros, rule("more", GOOD))
        assert answered(new, of("shop", "z", rule("r", "uses", **more)), old=old)["allowed"]


def test_a_name_that_another_object_has_is_refused() -> None:
    text = message(answered(of("shop", "b", rule("r", GOOD)), of("shop", "a", rule("r", GOOD))))
    assert text.startswith("rule r: SecurityRule shop/a has a rule of this name already (give it another name)")
    assert answered(of("shop", "b", rule("r", GOOD)), of(SYSTEM, "a", rule("r", GOOD)))["allowed"]


def test_what_goes_wrong_with_others_is_a_warning() -> None:
    old, new = of(SYSTEM, "m", macro("mine", GOOD), macro("other", GOOD)), of(SYSTEM, "m", macro("other", GOOD))
    uses = of("shop", "a", rule("r", "deep and proc.name = x"), macro("deep", "mine"))
    wrong = of("bank", "a", rule("r", BAD))
    response = answered(new, old, uses, wrong, old=old)
    assert response["allowed"]
    first, second = response["warnings"]
    assert first.startswith("this breaks SecurityRule shop/a: rule r: a macro or list that the rule uses has an error")
    assert second.startswith("this breaks SecurityRule shop/a: macro deep: there is no macro mine")
    # suspending takes the macro away as well, and a name that is taken breaks who had it
    suspended = RuleObject(SYSTEM, "m", {**old.spec, "suspend": True})
    assert answered(suspended, old, uses, old=old)["warnings"]
    taken = answered(of("shop", "0", rule("r", GOOD)), of("shop", "a", rule("r", GOOD)))
    assert taken["warnings"] == [
        "this breaks SecurityRule shop/a: rule r: SecurityRule shop/0 has a rule of this name already (give it another "
        "name)"
    ]


def test_an_object_that_is_stored_already_can_be_labelled_suspended_and_deleted() -> None:
    bad = of("shop", "a", rule("r", BAD), rule("s", GOOD))
    assert answered(bad, old=bad) == {"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": True}
    suspended = RuleObject("shop", "a", {**bad.spec, "suspend": True})
    assert answered(suspended, old=bad)["allowed"]
    explicit = RuleObject("shop", "a", {**bad.spec, "suspend": False})
    assert answered(suspended, old=explicit)["allowed"]
    deletion = asked(bad, operation="DELETE", object=None)
    assert review(deletion, [])["response"]["allowed"]


def test_a_suspended_object_has_to_be_right_too() -> None:
    assert "proc.nmae" in message(answered(of("shop", "a", rule("r", BAD), suspend=True)))
    changed = of("shop", "a", rule("r", BAD), suspend=True)
    assert "proc.nmae" in message(answered(changed, old=of("shop", "a", rule("r", GOOD))))
    # and to be taken back into force
    assert "proc.nmae" in message(answered(of("shop", "a", rule("r", BAD), suspend=False), old=changed))


def test_its_own_tests_are_run() -> None:
    def tested(*expect: str, event: Any = None) -> dict[str, Any]:
        tests = [{"name": "t", "event": event or {"evt.type": "open"}, "expect": list(expect)}]
        return answered(of("shop", "a", rule("r", GOOD), tests=tests))

    assert tested("r")["allowed"]
    assert message(tested()) == "test t fails: r matched, which is not expected"
    assert message(tested("r", event={"evt.type": "connect"})).startswith("test t fails: r did not match: ")
    text = message(tested("r", event={"proc.nmae": "x"}))
    assert text.startswith("test t: proc.nmae is no field (did you mean proc.name?)\n    proc.nmae: x\n    ^")


def test_a_test_of_a_rule_that_another_object_defines() -> None:
    change = {"rule": "r", "condition": "and proc.name = x", "override": {"condition": "append"}}
    tests = [{"name": "t", "event": {"evt.type": "open", "proc.name": "x"}, "expect": ["r"]}]
    assert answered(of("shop", "b", change, tests=tests), of("shop", "a", rule("r", GOOD)))["allowed"]


def test_warnings_are_few_and_short() -> None:
    response = answered(of("shop", "a", *(rule(f"r{number} {'x' * 300}", "proc.name = x") for number in range(30))))
    assert response["allowed"]
    assert len(response["warnings"]) == MOST_WARNINGS
    assert all(len(warning) <= LONGEST_WARNING for warning in response["warnings"])
    assert response["warnings"][-1] == "and 21 more"


def test_errors_are_bounded() -> None:
    text = message(answered(of("shop", "a", *(rule(f"r{number} {'x' * 3000}", BAD) for number in range(300)))))
    assert text.count("there is no field proc.nmae") == MOST_ERRORS - 1
    assert text.endswith("and 281 more")
    assert len(text) < 20_000


def noise(kibibytes: int) -> str:
    """Text that compresses to half of its size."""
    return random.Random(1).randbytes(kibibytes * 512).hex()


def test_what_exceeds_the_budget_of_its_namespace_is_refused() -> None:
    others = [
        of("shop", "b", rule("b", GOOD, output=noise(200))),
        of("bank", "b", rule("b", GOOD, output=noise(400))),
        of("shop", "c", rule("c", GOOD, output=noise(400)), suspend=True),
    ]
    large = of("shop", "a", rule("r", GOOD, output=noise(400)))
    text = message(answered(large, *others))
    assert text.startswith("with this SecurityRule of 400 KiB, 22")
    budget = "200 objects, 1,024 KiB, 256 KiB compressed, 2,048 KiB with descriptions and tests"
    assert f"the namespace has more than {budget} (remove or shorten some)" in text
    assert answered(of("shop", "a", rule("r", GOOD, desc=noise(400))), *others)["allowed"], "no agent gets that"
    assert not answered(of("shop", "a", rule("r", GOOD, desc=noise(1900))), *others)["allowed"], "the operator does"
    assert answered(of("shop", "a", *large.spec["rules"], suspend=True), *others)["allowed"]
    assert answered(of("other", "a", *large.spec["rules"]), *others)["allowed"]
    assert answered(of(SYSTEM, "a", *large.spec["rules"]), *others)["allowed"]

    larger = of("shop", "a", rule("r", GOOD, output=noise(401)))
    smaller = of("shop", "a", rule("r", GOOD, output=noise(399)))
    assert answered(smaller, *others, large, old=large)["allowed"], "else it could never be made right"
    assert not answered(larger, *others, large, old=large)["allowed"]


def test_what_is_nested_too_deeply_is_refused_with_the_place() -> None:
    values: list[Any] = []
    for _ in range(120):
        values = [values]
    text = message(answered(of("shop", "a", rule("r", GOOD, exceptions=[{"name": "x", "values": values}]))))
    assert text == "spec.rules[0].exceptions[0].values[0][0]… is nested deeper than 64 levels"
    sink = asked(of("shop", "a", slack={"url": values}), kind="AlertSink")
    assert "nested deeper than 64 levels" in message(review(sink, ())["response"])


HOSTILE = "\x1b[31m\u202e\n\x00\u200bäx"


@pytest.mark.parametrize(
    "items",
    [
        [rule(HOSTILE, BAD)],
        [rule("r", f'evt.type = open and proc.nmae = "{HOSTILE}"')],
        [rule("r", f'{GOOD} and proc.name = "{HOSTILE}"', priority=HOSTILE)],
        [rule("r", GOOD, **{HOSTILE: "x"}), rule("bad", BAD)],
        [rule("r", HOSTILE)],
        [{HOSTILE: HOSTILE}],
    ],
)
def test_nothing_in_an_answer_drives_a_terminal(items: list[dict[str, Any]]) -> None:
    tests = [{"name": HOSTILE, "event": {HOSTILE: HOSTILE, "proc.name": HOSTILE}, "expect": [HOSTILE]}]
    response = answered(of("shop", "a", *items, tests=tests))
    texts = [*message(response).split("\n"), *response.get("warnings", ())]
    assert all(character.isprintable() for text in texts for character in text)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "x",
        {},
        {"kind": "AdmissionReview"},
        {"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": {"uid": "1"}},
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"},
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": 3}},
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": []},
        asked(of("shop", "a"), object=None),
        asked(of("shop", "a"), object={"metadata": 3}),
        asked(of("shop", "a"), namespace=None),
    ],
)
def test_what_is_no_review_is_an_error(body: Any) -> None:
    with pytest.raises(NotAReview, match="must"):
        review(body, [])


def test_other_kinds_are_let_in() -> None:
    for kind in ({"group": "apps", "version": "v1", "kind": "SecurityRule"}, None, {"group": "tiercel.dev"}):
        response = review(asked(of("shop", "a", rule("r", BAD)), **{"kind": kind}), [])["response"]  # type: ignore[arg-type]
        assert response["allowed"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(JSON, JSON, JSON)
def test_whatever_a_spec_says_there_is_an_answer(rules: Any, tests: Any, suspend: Any) -> None:
    spec = {"rules": rules, "tests": tests, "suspend": suspend, "selector": tests}
    other = RuleObject("shop", "z", {"rules": tests, "suspend": rules})
    assert isinstance(answered(RuleObject("shop", "a", spec), other)["allowed"], bool)


def test_a_sink_is_refused_like_a_rule() -> None:
    bad = RuleObject("shop", "s", {"file": {"path": f"/{HOSTILE}"}, "events": {}})
    text = review(asked(bad, kind="AlertSink"), [])["response"]["status"]["message"]
    assert text.startswith("spec has events, file: exactly one is needed")
    suspended = RuleObject("shop", "s", {**bad.spec, "suspend": True})
    assert review(asked(suspended, bad, kind="AlertSink"), [])["response"]["allowed"]
    hostile = RuleObject("shop", "s", {"http": {"url": f"http://{HOSTILE}127.0.0.1"}})
    assert review(asked(hostile, kind="AlertSink"), [])["response"]["status"]["message"].isprintable()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"stdout": {}}, "spec.stdout: a sink of this namespace can't touch the node"),
        ({"events": {}, "throttle": {"window": "0s"}}, "spec.throttle.window is zero"),
        ({"events": {}, "format": "template", "template": f"{{{{ {HOSTILE} }}}}"}, "spec.template: line 1, column 4:"),
        ({"events": {}, "silences": [{"until": HOSTILE}]}, "spec.silences[0].until is no time"),
    ],
)
def test_what_a_sink_s_schema_lets_through_is_refused(spec: dict[str, Any], said: str) -> None:
    text = review(asked(RuleObject("shop", "s", spec), kind="AlertSink"), [])["response"]["status"]["message"]
    assert text.startswith(said)
    assert text.isprintable()
