"""What a tenant is told of the system's macros and lists, which its rules may use: their names alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from operator_support.checked import planned
from operator_support.rule_objects import GOOD, SYSTEM, macro, of, rule

from tiercel_engine.rules.objects import RuleObject
from tiercel_operator.admission.review import review
from tiercel_operator.cluster.state import State
from tiercel_operator.rules.plan import Planner

SECRETS = ("secret", "fd.name", "proc.exepath", "hidden-object")
"""What is in the system's macros and lists alone, and the name of their object. The tenant's rules name none of it."""
SHARED = of(
    SYSTEM,
    "hidden-object",
    {"list": "backup_tools", "items": ["secret-backup-tool", "secret-agent"]},
    {"list": "more_tools", "items": ["backup_tools", "secret.txt"]},
    {"list": "one_tool", "items": ["secret-single"]},
    {"list": "event_names", "items": ["secretopen", "<NA>"]},
    macro("trusted", "(proc.name in (backup_tools) or fd.name startswith /secret)"),
    macro("atom", "fd.name = /secret"),
    macro("every", "fd.name = /secret and proc.exepath = /secret"),
    macro("again", "trusted"),
    macro("broken", "fd.name = /secret and secret.field = x"),
)


def asked(rules: Sequence[Any], tests: Sequence[Any]) -> RuleObject:
    return of("shop", "mine", *rules, tests=tests)


def told(own: RuleObject, *others: RuleObject) -> str:
    """All that the tenant is told: when it applies its object, and by the object's status."""
    request = {
        "uid": "1",
        "kind": {"group": "tiercel.dev", "version": "v1alpha1", "kind": "SecurityRule"},
        "operation": "CREATE",
        "namespace": own.namespace,
        "object": {"metadata": {"name": own.name, "namespace": own.namespace}, "spec": own.spec},
    }
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    state = State()
    for each in (own, SHARED, *others):
        metadata = {"namespace": each.namespace, "name": each.name, "uid": each.name, "generation": 1}
        state.take_rule({"metadata": metadata, "spec": each.spec}, exists=True)
    statuses = planned(Planner(), state).statuses
    (status,) = (write.status for write in statuses if write.origin == own.origin)
    return json.dumps([review(body, [SHARED, *others])["response"], status])


def failing(condition: str, *more: Any, expect: Sequence[str] = ("r",), **event: Any) -> RuleObject:
    """An object with a rule that doesn't match the event of its test."""
    tests = [{"name": "t", "event": {"evt.type": "open", "proc.name": "cat", **event}, "expect": list(expect)}]
    return asked([rule("r", condition), *more], tests)


@pytest.mark.parametrize(
    ("condition", "shown"),
    [
        (f"{GOOD} and trusted", "trusted does not hold"),
        (f"{GOOD} and atom", "atom does not hold"),
        ("every", "every does not hold"),
        (f"{GOOD} and again", " does not hold"),
        (f"{GOOD} and (trusted or proc.name = mine)", "(trusted) or proc.name = "),
        (f"{GOOD} and not (not trusted)", "not (not (trusted)) does not hold"),
        (f"{GOOD} and own", "(trusted) or proc.pname = "),
        (f"{GOOD} and proc.name in (backup_tools)", "proc.name in (backup_tools) does not hold, proc.name is "),
        (f"{GOOD} and proc.name in (mine, backup_tools)", "proc.name in (mine, backup_tools) does not hold"),
        (f"{GOOD} and proc.name in (more_tools)", "proc.name in (more_tools)"),
        (f"{GOOD} and proc.name in (own_tools)", "proc.name in (own_tools)"),
        (f"{GOOD} and proc.name = one_tool", "proc.name = one_tool"),
        (f"{GOOD} and proc.name startswith oneof backup_tools", ""),
    ],
)
def test_why_a_test_fails_is_told_by_the_names(condition: str, shown: str) -> None:
    own = [macro("own", "trusted or proc.pname = mine"), {"list": "own_tools", "items": ["x", "backup_tools"]}]
    text = told(failing(condition, *own))
    assert "r did not match" in text
    assert shown in text.replace('\\"', "")
    for secret in SECRETS:
        assert secret not in text


def test_exceptions_too_are_told_by_the_names() -> None:
    excused = {"name": "x", "fields": ["proc.name"], "comps": ["in"], "values": [["backup_tools"]]}
    own = asked(
        [rule("r", GOOD, exceptions=[excused])],
        [{"name": "t", "event": {"evt.type": "open", "proc.name": "secret-agent"}, "expect": ["r"]}],
    )
    text = told(own)
    assert "not (proc.name in (backup_tools))" in text or "not proc.name in (backup_tools)" in text
    assert "secret-backup-tool" not in text


@pytest.mark.parametrize(
    "condition",
    [
        f"{GOOD} and proc.pid in (backup_tools)",
        f"{GOOD} and proc.pid = one_tool",
        f"{GOOD} and proc.name = backup_tools",
        f"{GOOD} and proc.pid in (more_tools)",
        f"{GOOD} and proc.pid in (own_tools)",
        f"{GOOD} and fd.sip in (backup_tools)",
        f"{GOOD} and proc.name regex backup_tools",
        "evt.type in (event_names)",
        f"{GOOD} and proc.name in (event_names)",
        f"{GOOD} and broken",
        f"{GOOD} and proc.name in (bakup_tools)",
        f"{GOOD} and trustd",
    ],
)
def test_errors_and_warnings_tell_no_item(condition: str) -> None:
    text = told(asked([rule("r", condition), {"list": "own_tools", "items": ["1", "more_tools"]}], []))
    for secret in ("secret", "hidden-object"):
        assert secret not in text


def test_a_macro_of_the_system_that_is_extended_is_told_by_its_name() -> None:
    extended = {"macro": "trusted", "condition": "or proc.name = mine", "override": {"condition": "append"}}
    text = told(failing(f"{GOOD} and trusted", extended))
    assert "trusted does not hold" in text
    for secret in SECRETS:
        assert secret not in text


def test_what_is_the_tenants_own_is_told() -> None:
    own = [macro("trusted", "proc.name in (tools)"), {"list": "tools", "items": ["my-tool"]}]
    text = told(failing(f"{GOOD} and trusted", *own))
    assert "my-tool" in text


def test_the_system_is_told_everything() -> None:
    tests = [{"name": "t", "event": {"evt.type": "open"}, "expect": ["r"]}]
    own = of(SYSTEM, "rules", rule("r", f"{GOOD} and trusted"), tests=tests)
    assert "secret-backup-tool" in told(own)


@pytest.mark.parametrize("kind", ["rule", "macro", "list"])
def test_no_object_of_another_namespace_is_named(kind: str) -> None:
    items = {"rule": rule("x", GOOD), "macro": macro("x", GOOD), "list": {"list": "x", "items": ["y"]}}
    others = of("bank", "hidden-object", items[kind], rule("r", GOOD), macro("mine", GOOD))
    text = told(failing(f"{GOOD} and proc.name in (x) and mine", items[kind]), others)
    assert "hidden-object" not in text
    assert "bank" not in text
