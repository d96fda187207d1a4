"""The answers to the API server, which asks before it stores a SecurityRule or an AlertSink.

An object is refused if it has an error of its own, with everything that the engine says about it, or if its own tests
fail. If it causes errors in other objects, that is a warning: the user may intend it. Objects are never changed.

Never refused are deletions; changes that leave the spec as it is, so that an object that was stored while nobody
checked it can still be labelled and lose its finalizers; and changes that only set ``suspend: true``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from tiercel_engine.api_group import API_GROUP
from tiercel_engine.diagnostics import Diagnostic
from tiercel_engine.nesting import read_json, too_deep
from tiercel_engine.printable import printable
from tiercel_engine.resources.alert_sink import ALERT_SINK
from tiercel_engine.rule_tests import run, tests_of
from tiercel_engine.rules.documents.reader import MANIFEST_KIND
from tiercel_engine.rules.objects import Resolved, RuleObject, one_line, refusal, resolve
from tiercel_engine.scope import SYSTEM_NAMESPACE
from tiercel_operator.cluster.budgets import NOTHING, TENANT, Size, budget_of, fits, size_of, total_of
from tiercel_operator.rules.dependents import dependents, suspended
from tiercel_operator.sinks.checks import sink_errors

REVIEW_VERSION: Final = "admission.k8s.io/v1"
REVIEW_KIND: Final = "AdmissionReview"
MOST_WARNINGS: Final = 10
LONGEST_WARNING: Final = 256
"""Characters. The API server cuts warnings, and leaves out what is beyond 4 KiB."""
MOST_ERRORS: Final = 20
_LONGEST_TEXT = 500
_LONGEST_LINE = 160
_BEFORE_THE_PLACE = 60
_FOR_OTHERS = ("LOAD_UNUSED_MACRO", "LOAD_UNUSED_LIST")
"""Warnings that are left out here: lists and macros are shared, and objects that use them may be applied later."""


class NotAReview(ValueError):
    """The request is no AdmissionReview; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Texts that can be shown on a terminal. Errors may have several lines. Without errors the object is allowed."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def review(body: Mapping[str, Any], others: Iterable[RuleObject], tenant: Size = TENANT) -> dict[str, Any]:
    """The answer to an AdmissionReview, both as JSON. ``others`` are the SecurityRules of all namespaces; the one in
    question may be among them. ``tenant`` is the budget of a namespace that isn't the system's. Raises NotAReview."""
    request = _request(body)
    return answer(request["uid"], _verdict(request, others, tenant))


def reviewed(body: bytes, namespace: str, others: Iterable[RuleObject], tenant: Size) -> bytes:
    """The same as ``review`` for the text of an AdmissionReview, as it is done by a worker. ``others`` are what
    ``concerned`` gives for the namespace. If the text is no AdmissionReview of that namespace, the answer has only
    ``notAReview``, which says why."""
    try:
        content = read_json(body)
        if namespace and _request(content).get("namespace") != namespace:
            raise NotAReview(f"the request isn't about the namespace {namespace}")
        return orjson.dumps(review(content, others, tenant))
    except NotAReview as error:
        return orjson.dumps({"notAReview": str(error)})
    except ValueError as error:
        return orjson.dumps({"notAReview": f"the body must be JSON: {error}"})


def concerned(others: Iterable[RuleObject], namespace: str) -> list[RuleObject]:
    """Those SecurityRules that a review of an object of a namespace may look at."""
    if namespace in ("", SYSTEM_NAMESPACE):  # definitions of the system's namespace are visible everywhere
        return list(others)
    return [other for other in others if other.namespace in (namespace, SYSTEM_NAMESPACE)]


def answer(uid: str, verdict: Verdict) -> dict[str, Any]:
    """The answer with this verdict to the request of this id, as JSON."""
    response: dict[str, Any] = {"uid": uid, "allowed": not verdict.errors}
    if verdict.errors:
        message = "\n".join(_at_most(MOST_ERRORS, verdict.errors))
        response["status"] = {"status": "Failure", "code": 422, "reason": "Invalid", "message": message}
    if verdict.warnings:
        response["warnings"] = _at_most(MOST_WARNINGS, [_line(text, LONGEST_WARNING) for text in verdict.warnings])
    return {"apiVersion": REVIEW_VERSION, "kind": REVIEW_KIND, "response": response}


def _request(body: object) -> Mapping[str, Any]:
    if not isinstance(body, Mapping) or body.get("kind") != REVIEW_KIND or body.get("apiVersion") != REVIEW_VERSION:
        raise NotAReview(f"the body must be an {REVIEW_KIND} of {REVIEW_VERSION}")
    request = body.get("request")
    if not isinstance(request, Mapping) or not isinstance(request.get("uid"), str) or not request["uid"]:
        raise NotAReview(f"the {REVIEW_KIND} must have a request with a uid")
    return request


def _verdict(request: Mapping[str, Any], others: Iterable[RuleObject], tenant: Size) -> Verdict:
    if request.get("operation") not in ("CREATE", "UPDATE"):
        return Verdict()
    asked = request.get("kind")
    group, kind = (asked.get("group"), asked.get("kind")) if isinstance(asked, Mapping) else (None, None)
    if group != API_GROUP or kind not in (MANIFEST_KIND, ALERT_SINK.kind):
        return Verdict(warnings=(f"tiercel checks only {MANIFEST_KIND} and {ALERT_SINK.kind} of {API_GROUP}",))
    new, old = _object(request, "object"), _object(request, "oldObject")
    if new is None:
        raise NotAReview(f"the {REVIEW_KIND} must have an object of a name and a namespace")
    if old is not None and new.spec == old.spec:
        return Verdict()
    suspending = old is not None and new.spec == {**old.spec, "suspend": True}
    if kind == MANIFEST_KIND:
        there = [other for other in others if other.origin != new.origin and not suspended(other)]
        excess = "" if suspended(new) else _excess(new, old, there, budget_of(new.namespace, tenant))
        return Verdict((excess,)) if excess else _rules_verdict(new, old, there, suspending)
    return Verdict(() if suspending else tuple(map(_line, sink_errors(new.spec, new.namespace))))


def _object(request: Mapping[str, Any], key: str) -> RuleObject | None:
    """The object, or the one before. A sink too is taken as a namespace, a name and a spec."""
    body, namespace = request.get(key), request.get("namespace")
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    if not isinstance(body, Mapping) or not isinstance(metadata, Mapping) or not isinstance(namespace, str):
        return None
    name = metadata.get("name") or metadata.get("generateName")
    spec = body.get("spec")
    return RuleObject(namespace, name if isinstance(name, str) else "", spec if isinstance(spec, Mapping) else {})


def _rules_verdict(new: RuleObject, old: RuleObject | None, others: Iterable[RuleObject], suspending: bool) -> Verdict:
    rest = dependents(new, old, others)
    resolved = resolve([*rest, new])
    own = resolved.objects[new.origin]
    after = resolve(rest) if suspended(new) else resolved
    before = [*rest, old] if old is not None and not suspended(old) else rest
    told_of_own = (one_line(warning) for warning in own.warnings if warning.code not in _FOR_OTHERS)
    warnings = (*_spoiled(new, before, after), *told_of_own)
    if suspending:
        return Verdict(warnings=warnings)
    errors = [refusal([_shown(error)]) for error in own.errors]
    return Verdict((*errors, *failed_tests(new, resolved)), warnings)


def _excess(new: RuleObject, old: RuleObject | None, others: Iterable[RuleObject], budget: Size) -> str:
    """What is wrong with an object that exceeds its namespace's budget together with the others of the namespace. "" if
    it doesn't, and for one that is nested too deeply, which ``resolve`` tells. A change may always make an object
    smaller."""
    if too_deep({"spec": new.spec}):
        return ""
    try:
        size = size_of(new)
    except TypeError as error:
        return _line(f"the object can't be given to agents: {error}")
    if old is not None and not suspended(old) and fits(size, _size(old)):
        return ""
    used = size
    for other in others:
        if not fits(used, budget):
            break  # by how much makes no difference
        if other.namespace == new.namespace:
            used = total_of((used, _size(other)))
    if fits(used, budget):
        return ""
    return f"with this SecurityRule of {size.kibibytes} the namespace has more than {budget} (remove or shorten some)"


def _size(stored: RuleObject) -> Size:
    """What an object takes that is stored already: nothing if it can't be in a bundle."""
    try:
        return size_of(stored)
    except TypeError:
        return NOTHING


def failed_tests(new: RuleObject, resolved: Resolved) -> tuple[str, ...]:
    """What is wrong with the tests in an object's spec, and which of them fail with its rules. Tests aren't run as long
    as the object has errors: all of them would fail because of these."""
    tests = tests_of(new)
    errors = tuple(refusal([_shown(error)]) for error in tests.errors)
    if errors or resolved.objects[new.origin].errors:
        return errors
    # a rule that the object changes may be defined by another object of its namespace
    rules = [rule for rule in resolved.rules if rule.origin and rule.origin.namespace == new.namespace]
    outcomes = run(tests, rules, resolved.objects[new.origin].withheld)
    return tuple(
        _line(f"test {outcome.test.name} fails: {outcome.message}", 2 * _LONGEST_TEXT)
        for outcome in outcomes
        if not outcome.passed
    )


def _spoiled(new: RuleObject, before: Iterable[RuleObject], after: Resolved) -> Iterator[str]:
    """What is wrong with items of other objects that were right before."""
    errors = {origin: each.errors for origin, each in after.objects.items() if each.errors and origin != new.origin}
    if not errors:
        return
    earlier = resolve(before).objects
    for origin, errors_after in errors.items():
        wrong = {(error.item_type, error.item_name) for error in earlier[origin].errors}
        for error in errors_after:
            if (error.item_type, error.item_name) not in wrong:
                yield f"this breaks {MANIFEST_KIND} {origin.namespace}/{origin.name}: {one_line(error)}"


def _shown(diagnostic: Diagnostic) -> Diagnostic:
    """The diagnostic in a form that people can read: without anything that could drive a terminal, and with a long line
    cut around the place of the error."""
    line, column, width = diagnostic.source_line, diagnostic.location.column, diagnostic.width
    if len(line) > _LONGEST_LINE:
        start = max(0, min(column - 1 - _BEFORE_THE_PLACE, len(line) - _LONGEST_LINE))
        before = "…" if start else ""
        shown = line[start : start + _LONGEST_LINE]
        column += len(before) - start
        width = max(1, min(width, len(shown) - (column - len(before)) + 1))
        line = before + shown + ("…" if start + _LONGEST_LINE < len(line) else "")
    return replace(
        diagnostic,
        message=_line(diagnostic.message),
        item_name=_line(diagnostic.item_name),
        hint=_line(diagnostic.hint),
        source_line="".join(map(_one, line)),
        location=replace(diagnostic.location, column=column),
        width=width,
    )


def _one(character: str) -> str:
    """The character, or another single one in its place, so that columns stay the same."""
    shown = printable(character)
    return shown if len(shown) == 1 else "\N{REPLACEMENT CHARACTER}"


def _line(text: str, most: int = _LONGEST_TEXT) -> str:
    shown = printable(text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _at_most(most: int, texts: Iterable[str]) -> list[str]:
    every = list(texts)
    return every if len(every) <= most else [*every[: most - 1], f"and {len(every) - most + 1} more"]
