"""Where a rule watches: scopes as conditions, and as manifests say them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.event import Event
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.rules import load
from tiercel_engine.rules.documents.files import RulesFile
from tiercel_engine.scope import LabelOperator, LabelTest, Scope

HOST = {"container.id": "host", "k8s.node.name": "node-1", "k8s.node.label.pool": "gpu"}
STANDALONE = HOST | {"container.id": "3ad7b26ded6d"}
SHOP = STANDALONE | {
    "k8s.ns.name": "shop",
    "k8s.ns.label.team": "a",
    "k8s.pod.name": "web-1",
    "k8s.pod.label.app": "web",
    "k8s.pod.label.app.kubernetes.io/name": "web",
}
BANK = STANDALONE | {"k8s.ns.name": "bank", "k8s.ns.label.team": "b", "k8s.pod.name": "db-0", "k8s.pod.label.tier": "x"}
PLACES = {"host": HOST, "standalone": STANDALONE, "shop": SHOP, "bank": BANK}

MANIFEST = """
apiVersion: tiercel.dev/v1alpha1
kind: SecurityRule
metadata: {{name: r{namespace}}}
spec:
  selector: {selector}
  rules:
  - rule: everything
    desc: a test
    condition: evt.type = open
    output: none
    priority: NOTICE
"""


def manifest(selector: str = "", namespace: str = "") -> RulesFile:
    where = f", namespace: {namespace}" if namespace else ""
    return RulesFile("rule.yaml", MANIFEST.format(namespace=where, selector=selector))


def watched(selector: str = "", namespace: str = "") -> set[str]:
    """The places where a rule with that selector matches."""
    loaded = load([manifest(selector, namespace)])
    assert loaded.errors == ()
    matcher = Matcher(loaded.rules)
    return {
        name for name, fields in PLACES.items() if matcher.match(Event("syscall", 0, {**fields, "evt.type": "open"}))
    }


EVERYWHERE = {"host", "standalone", "shop", "bank"}


@pytest.mark.parametrize(
    ("selector", "places"),
    [
        ("", EVERYWHERE),
        ("{}", EVERYWHERE),
        ("{pods: {}}", {"shop", "bank"}),
        ("{pods: {}, host: true}", {"shop", "bank", "host"}),
        ("{namespaces: {}}", {"shop", "bank"}),
        ("{pods: }", EVERYWHERE),
        ("{host: false}", {"standalone", "shop", "bank"}),
        ("{host: true}", {"host"}),
        ("{pods: {matchLabels: {app: web}}}", {"shop"}),
        ("{pods: {matchLabels: {app.kubernetes.io/name: web}}}", {"shop"}),
        ("{pods: {matchLabels: {app: web}}, host: true}", {"shop", "host"}),
        ("{pods: {matchLabels: {app: web}}, host: false}", {"shop"}),
        ("{pods: {matchLabels: {app: web, tier: x}}}", set()),
        ("{pods: {matchExpressions: [{key: app, operator: In, values: [api, web]}]}}", {"shop"}),
        ("{pods: {matchExpressions: [{key: app, operator: NotIn, values: [api, web]}]}}", {"bank"}),
        ("{pods: {matchExpressions: [{key: app, operator: Exists}]}}", {"shop"}),
        ("{pods: {matchExpressions: [{key: app, operator: DoesNotExist}]}}", {"bank"}),
        ("{pods: {matchExpressions: [{key: app, operator: DoesNotExist}]}, host: true}", {"bank", "host"}),
        ("{namespaces: {matchNames: [bank]}}", {"bank"}),
        ("{namespaces: {matchNames: []}}", set()),
        ("{namespaces: {matchLabels: {team: a}}}", {"shop"}),
        ("{namespaces: {matchLabels: {kubernetes.io/metadata.name: shop}}}", {"shop"}),
        (
            "{namespaces: {matchExpressions: "
            "[{key: kubernetes.io/metadata.name, operator: NotIn, values: [shop, kube-system]}]}}",
            {"bank"},
        ),
        ("{nodes: {matchNames: [node-1]}}", EVERYWHERE),
        ("{nodes: {matchNames: [node-2]}}", set()),
        ("{nodes: {matchLabels: {pool: gpu}}, host: true}", {"host"}),
        ("{nodes: {matchLabels: {pool: cpu}}}", set()),
    ],
)
def test_what_a_selector_selects(selector: str, places: set[str]) -> None:
    assert watched(selector) == places
    assert watched(selector, "tiercel-system") == places


@pytest.mark.parametrize(
    ("selector", "places"),
    [
        ("", {"shop"}),
        ("{pods: {matchLabels: {app: web}}}", {"shop"}),
        ("{pods: {matchLabels: {tier: x}}}", set()),
        ("{pods: {matchExpressions: [{key: tier, operator: DoesNotExist}]}}", {"shop"}),
        ("{nodes: {matchNames: [node-2]}}", set()),
    ],
)
def test_a_tenants_rule_never_leaves_its_namespace(selector: str, places: set[str]) -> None:
    assert watched(selector, "shop") == places


def test_the_scope_of_one_manifest_is_not_anothers() -> None:
    second = manifest("", "bank").text.replace("rule: everything", "rule: second")
    third = "- rule: third\n  desc: d\n  condition: evt.type = open\n  output: none\n  priority: NOTICE\n"
    text = f"{manifest('', 'shop').text}---\n{second}---\n{third}"
    loaded = load([RulesFile("rules.yaml", text)])
    matches = Matcher(loaded.rules).match(Event("syscall", 0, {**SHOP, "evt.type": "open"}))
    assert [rule.name for rule, _ in matches] == ["everything", "third"]


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("[pods]", "spec.selector must be a mapping, not a list"),
        ("{pod: {}}", "spec.selector has no 'pod'"),
        ("{pods: web}", "spec.selector.pods must be a mapping"),
        ("{pods: {labels: {app: web}}}", "spec.selector.pods has no 'labels'"),
        ("{pods: {matchNames: [web]}}", "spec.selector.pods has no 'matchNames'"),
        ("{pods: {matchLabels: [app]}}", "matchLabels must be a mapping"),
        ("{pods: {matchLabels: {app: [web]}}}", "must be a text"),
        ("{pods: {matchLabels: {app: 'not a label'}}}", "'not a label' is no value of a label"),
        ("{pods: {matchLabels: {-app: web}}}", "'-app' is no key of a label"),
        ("{pods: {matchLabels: {app: a, app: b}}}", "the key app is there twice"),
        ("{pods: {matchExpressions: {key: app}}}", "matchExpressions must be a list"),
        ("{pods: {matchExpressions: [{key: app}]}}", "needs key and operator"),
        ("{pods: {matchExpressions: [{key: app, operator: in, values: [a]}]}}", "'in' is no operator"),
        ("{pods: {matchExpressions: [{key: app, operator: In}]}}", "In needs values"),
        ("{pods: {matchExpressions: [{key: app, operator: In, values: []}]}}", "In needs values"),
        ("{pods: {matchExpressions: [{key: app, operator: Exists, values: [a]}]}}", "Exists takes no values"),
        ("{host: maybe}", "spec.selector.host must be true or false"),
        ("{nodes: {matchNames: node-1}}", "matchNames must be a list"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(selector: str, message: str) -> None:
    loaded = load([manifest(selector)])
    (error,) = loaded.errors
    assert message in error.message
    assert (error.location.line, loaded.rules) == (6, ())


@pytest.mark.parametrize("selector", ["{host: true}", "{namespaces: {matchNames: [bank]}}"])
def test_tenants_select_neither_hosts_nor_namespaces(selector: str) -> None:
    (error,) = load([manifest(selector, "shop")]).errors
    assert "in the namespace tiercel-system only" in error.message


def test_a_namespace_that_is_none() -> None:
    (error,) = load([manifest("", '"Shop/../x"')]).errors
    assert "is no name of a namespace" in error.message


def test_a_bad_selector_takes_no_other_manifest_with_it() -> None:
    text = f"{manifest('{host: maybe}').text}---\n{manifest().text}"
    loaded = load([RulesFile("rules.yaml", text)])
    assert (len(loaded.errors), [rule.name for rule in loaded.rules]) == (1, ["everything"])


KEYS = st.sampled_from(["app", "tier"])
TESTS = st.lists(
    st.one_of(
        st.builds(
            LabelTest,
            KEYS,
            st.sampled_from([LabelOperator.IN, LabelOperator.NOT_IN]),
            st.lists(st.sampled_from(["web", "x", ""]), min_size=1).map(tuple),
        ),
        st.builds(LabelTest, KEYS, st.sampled_from([LabelOperator.EXISTS, LabelOperator.DOES_NOT_EXIST])),
    ),
    max_size=3,
).map(tuple)


def holds(test: LabelTest, labels: dict[str, str]) -> bool:
    """As the API server's own selectors are documented."""
    match test.operator:
        case LabelOperator.IN:
            return labels.get(test.key) in test.values
        case LabelOperator.NOT_IN:
            return labels.get(test.key) not in test.values
        case LabelOperator.EXISTS:
            return test.key in labels
        case LabelOperator.DOES_NOT_EXIST:
            return test.key not in labels


@given(
    st.none() | TESTS,
    st.none() | st.frozensets(st.sampled_from(["shop", "bank"])),
    st.none() | st.booleans(),
    st.dictionaries(KEYS, st.sampled_from(["web", "x", "other"])),
    st.sampled_from(["host", "standalone", "shop", "bank"]),
)
def test_every_scope_selects_what_it_says(
    pods: tuple[LabelTest, ...] | None,
    namespaces: frozenset[str] | None,
    host: bool | None,
    labels: dict[str, str],
    place: str,
) -> None:
    if pods is None and namespaces is not None:
        pods = ()
    condition = Scope(namespaces=namespaces, pods=pods, host=host).condition
    selects_pods = pods is not None
    if place == "host":
        expected = host if host is not None else not selects_pods
    elif place == "standalone":
        expected = not selects_pods and host is not True
    elif not selects_pods:
        expected = host is not True
    else:
        expected = (namespaces is None or place in namespaces) and all(holds(test, labels) for test in pods or ())
    fields: dict[str, object] = {"container.id": "host" if place == "host" else "3ad7b26ded6d", "evt.type": "open"}
    if place in ("shop", "bank"):
        fields |= {"k8s.ns.name": place, "k8s.pod.name": "p"} | {f"k8s.pod.label.{k}": v for k, v in labels.items()}
    if condition is None:
        assert expected
        return
    (rule,) = load([manifest()]).rules
    scoped = type(rule)(**{name: getattr(rule, name) for name in rule.__slots__} | {"condition": condition})
    assert bool(Matcher([scoped]).match(Event("syscall", 0, fields))) is expected  # type: ignore[arg-type]
