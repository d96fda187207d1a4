"""Checking the SecurityRules of a namespace, as a worker does it: their rules are resolved, and their tests run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tiercel_engine.diagnostics import Diagnostic
from tiercel_engine.language.withheld import Withheld
from tiercel_engine.located import located
from tiercel_engine.matching.requirements import event_types, fields
from tiercel_engine.rendering.output import compile_output
from tiercel_engine.rule import Origin, Rule
from tiercel_engine.rule_tests import run, tests_of
from tiercel_engine.rules.carried import carried
from tiercel_engine.rules.objects import ResolvedObject, RuleObject, one_line, resolve
from tiercel_operator.rules.checked import CheckedObject, CheckedRule, Finding, TestOutcome, to_json


def check(objects: Sequence[RuleObject], shared: Sequence[RuleObject]) -> bytes:
    """The JSON of what is known of the objects, which are of one namespace. ``shared`` are those of the system's
    namespace with the lists and macros that they may use."""
    return to_json(checked(objects, shared))


def checked(objects: Sequence[RuleObject], shared: Sequence[RuleObject]) -> dict[Origin, CheckedObject]:
    """The same as ``check``, as values."""
    resolved = resolve([*shared, *map(carried, objects)]).objects
    # a rule that an object changes, and tests, may be defined by another object of its namespace
    rules = [rule for each in objects for rule in resolved[each.origin].rules]
    return {each.origin: _object(each, resolved[each.origin], rules) for each in objects}


def definitions(objects: Iterable[RuleObject]) -> list[RuleObject]:
    """Of these objects only the lists and macros, which rules of other namespaces may use."""
    return [
        RuleObject(each.namespace, each.name, {"rules": items}) for each in objects if (items := _definitions(each))
    ]


def _definitions(rule_object: RuleObject) -> list[object]:
    items = rule_object.spec.get("rules")
    return [item for item in items if isinstance(item, dict) and "rule" not in item] if isinstance(items, list) else []


def _object(rule_object: RuleObject, resolved: ResolvedObject, rules: Iterable[Rule]) -> CheckedObject:
    if resolved.failed:
        return CheckedObject(failure=one_line(resolved.errors[0]))
    outcomes, errors, failure = _tested(rule_object, rules, resolved.withheld)
    return CheckedObject(
        rules=tuple(CheckedRule(rule.name, rule.enabled, _types(rule), _fields(rule)) for rule in resolved.rules),
        errors=tuple(_findings(resolved.errors)),
        warnings=tuple(_findings(resolved.warnings)),
        tests=outcomes,
        test_errors=errors,
        tests_failure=failure,
    )


def _tested(
    rule_object: RuleObject, rules: Iterable[Rule], withheld: Withheld | None
) -> tuple[tuple[TestOutcome, ...], tuple[str, ...], str]:
    """The outcomes of an object's tests, errors in them, and why they could not be run, "" if they could."""
    if not rule_object.spec.get("tests"):
        return (), (), ""
    try:
        tests = tests_of(rule_object)
        outcomes = run(tests, rules, withheld)
    except Exception as error:  # of one object that nobody foresaw: the others of its namespace go on
        return (), (), f"the object can't be handled: {located(error)} (change it, and please report this)"
    told = tuple(TestOutcome(each.test.name, each.passed, each.message) for each in outcomes)
    return told, tuple(map(one_line, tests.errors)), ""


def _findings(diagnostics: Iterable[Diagnostic]) -> Iterator[Finding]:
    for each in diagnostics:
        yield Finding(each.item_type, each.item_name, each.message, each.hint, one_line(each))


def _fields(rule: Rule) -> frozenset[str]:
    return frozenset(fields(rule.condition)) | compile_output(rule.output).fields


def _types(rule: Rule) -> frozenset[str]:
    """The types of events that the rule can match."""
    return event_types(rule.condition, rule.source)
