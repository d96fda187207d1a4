"""Which alerts a sink gets, and which of them are silenced at present."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tiercel_agent.sinks.model import BadSink, SinkSettings
from tiercel_engine.alert import Alert
from tiercel_engine.patterns import compile_glob
from tiercel_engine.priority import Priority
from tiercel_engine.regexes import PatternError
from tiercel_engine.resources.alert_sink import Match, Matcher, Silence
from tiercel_engine.resources.labels import LabelSelector
from tiercel_engine.scope import LabelOperator, LabelTest

NAMESPACE = "k8s.ns.name"
_LABELS = "k8s.pod.labels"

Test = Callable[[Alert], bool]


def field_text(alert: Alert, name: str) -> str | None:
    """A field of the alert as text; None if the alert doesn't have it."""
    value = alert.origin_fields.get(name, alert.output_fields.get(name))
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, list):
        return ",".join(map(str, value))
    return ("false", "true")[value] if isinstance(value, bool) else str(value)


def accepts(settings: SinkSettings) -> Test:
    """Whether the sink gets an alert: one of a tenant gets those of its own namespace's pods, whatever it asks for.

    Raises BadSink for globs that can't be read.
    """
    tests = list(_tests(settings.spec.match))
    if settings.spec.match is not None and settings.spec.match.minimum_priority is not None:
        least = Priority.parse(settings.spec.match.minimum_priority.value)
        assert least is not None
        tests.insert(0, lambda alert: alert.priority <= least)
    if not settings.trusted:
        namespace = settings.namespace
        tests.insert(0, lambda alert: alert.output_fields.get(NAMESPACE) == namespace)
    return _all(tests)


@dataclass(frozen=True, slots=True)
class Silences:
    """Those of a sink, with the time in seconds since the epoch until which each holds."""

    each: Sequence[tuple[float, Test]]

    def holds(self, alert: Alert, now: float) -> bool:
        """Whether the alert is to be kept back at ``now``, in seconds since the epoch."""
        return any(now < until and test(alert) for until, test in self.each)


def silences(specs: Sequence[Silence]) -> Silences:
    """Raises BadSink for what can't be read."""
    return Silences([(_time(silence.until), _all(list(_tests(silence.matcher)))) for silence in specs])


def _time(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadSink(f"a silence ends at {text[:40]!r}: write a time such as 2026-01-31T12:00:00Z") from None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _tests(matcher: Matcher | Match | None) -> list[Test]:
    if matcher is None:
        return []
    tests: list[Test] = []
    if matcher.rules:
        rules = _globs(matcher.rules)
        tests.append(lambda alert: rules(alert.rule))
    if matcher.tags:
        tags = frozenset(matcher.tags)
        tests.append(lambda alert: not tags.isdisjoint(alert.tags))
    if matcher.namespaces:
        tests.append(_field(NAMESPACE, _globs(matcher.namespaces)))
    if matcher.pods is not None:
        tests.append(_of_labels(matcher.pods))
    tests += [_field(name, _globs((glob,))) for name, glob in (matcher.fields or {}).items()]
    return tests


def _field(name: str, test: Callable[[str], bool]) -> Test:
    def holds(alert: Alert) -> bool:
        text = field_text(alert, name)
        return text is not None and test(text)

    return holds


def _globs(patterns: Sequence[str]) -> Callable[[str], bool]:
    plain = frozenset(pattern for pattern in patterns if not set("*?[\\") & set(pattern))
    try:
        globs = [compile_glob(pattern) for pattern in patterns if pattern not in plain]
    except PatternError as error:
        raise BadSink(f"a glob of match can't be read: {error}") from error
    return lambda text: text in plain or any(glob(text) for glob in globs)


def _of_labels(selector: LabelSelector) -> Test:
    tests = [LabelTest(key, LabelOperator.IN, (value,)) for key, value in (selector.match_labels or {}).items()]
    tests += [LabelTest(each.key, each.operator, each.values or ()) for each in selector.match_expressions]

    def holds(alert: Alert) -> bool:
        # Labels of pods only: what happened on the host has none, and isn't selected by the lack of one either.
        if alert.output_fields.get(NAMESPACE) is None:
            return False
        labels = _labels(field_text(alert, _LABELS) or "")
        return all(test.holds(labels) for test in tests)

    return holds


def _labels(text: str) -> Mapping[str, str]:
    """The field's ``name:value, name:value``: neither part can have a colon or comma in it."""
    pairs = (pair.strip().partition(":") for pair in text.split(",") if pair.strip())
    return {key: value.strip() for key, _, value in pairs}


def _all(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda alert: all(test(alert) for test in tests)
