"""What is known of a SecurityRule once it was checked: all that its status says of its rules and tests.

A worker checks it, and gives this as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from tiercel_engine.rule import Origin
from tiercel_engine.rules.objects import RuleObject


@dataclass(frozen=True, slots=True)
class CheckedRule:
    """A rule without an error. ``types`` are those of the events that it can match, ``fields`` those that its condition
    and its output read."""

    name: str
    enabled: bool
    types: frozenset[str]
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class Finding:
    """An error or a warning: of which item, the message, what would be right, and all of it in one line."""

    item_type: str
    item_name: str
    message: str
    hint: str
    line: str


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """``message`` says why a test failed."""

    name: str
    passed: bool
    message: str


@dataclass(frozen=True, slots=True)
class CheckedObject:
    """``failure`` is an error that nobody foresaw and that came of the object, so that nobody gets it; "" without one.
    ``tests_failure`` is the same of its tests."""

    rules: tuple[CheckedRule, ...] = ()
    errors: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    tests: tuple[TestOutcome, ...] = ()
    test_errors: tuple[str, ...] = ()
    failure: str = ""
    tests_failure: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for an object as it was when it was checked. Without ``checked`` the check had no result, which
    ``failure`` explains."""

    object: RuleObject
    checked: CheckedObject | None
    failure: str = ""


def to_json(objects: Mapping[Origin, CheckedObject]) -> bytes:
    return orjson.dumps([[*asdict(origin).values(), _plain(each)] for origin, each in objects.items()])


def from_json(content: bytes) -> dict[Origin, CheckedObject]:
    known: dict[tuple[str, ...], frozenset[str]] = {}
    return {Origin(namespace, name): _object(body, known) for namespace, name, body in orjson.loads(content)}


def _plain(each: CheckedObject) -> dict[str, Any]:
    rules = [[rule.name, rule.enabled, sorted(rule.types), sorted(rule.fields)] for rule in each.rules]
    return asdict(each) | {"rules": rules}


def _object(body: Mapping[str, Any], known: dict[tuple[str, ...], frozenset[str]]) -> CheckedObject:
    """``known`` has sets of types and of fields, of which many rules have the same."""

    def shared(names: Iterable[str]) -> frozenset[str]:
        key = tuple(names)
        return known.setdefault(key, frozenset(key))

    parts = {
        "rules": tuple(
            CheckedRule(name, enabled, shared(types), shared(fields)) for name, enabled, types, fields in body["rules"]
        ),
        "errors": tuple(Finding(**each) for each in body["errors"]),
        "warnings": tuple(Finding(**each) for each in body["warnings"]),
        "tests": tuple(TestOutcome(**each) for each in body["tests"]),
        "test_errors": tuple(body["test_errors"]),
    }
    return CheckedObject(**{**body, **parts})
