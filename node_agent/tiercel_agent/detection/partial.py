"""What isn't seen where a kernel refuses a part of the programs: the calls, the rules concerned, and the alert."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tiercel_agent import warning
from tiercel_agent.detection.source import Concerned, EventSource, Unwatched
from tiercel_agent.events.syscalls import ONLY_FAILED, SYSCALLS, Syscall
from tiercel_agent.kernel.loading.optional_programs import OPTIONAL
from tiercel_agent.name_list import joined
from tiercel_engine.alert import Alert
from tiercel_engine.matching.requirements import event_types
from tiercel_engine.priority import Priority
from tiercel_engine.rule import Rule

RULE = "Tiercel: not everything is watched"
_MOST_CALLS, _MOST_RULES = 6, 10  # in a line
_MOST_FIELD_CALLS, _MOST_FIELD_RULES = 50, 100


def families_lost(missing: Iterable[str]) -> frozenset[int]:
    """The families of calls that can't be reported without these programs."""
    return frozenset().union(*(OPTIONAL[name].families for name in missing))


def is_reported(call: Syscall, lost: frozenset[int]) -> bool:
    """Whether all of its calls are reported. Tracepoints report those that have no number."""
    return call.family not in lost or not any((call.numbers.x86_64, call.numbers.arm64))


def is_silent(call: Syscall, lost: frozenset[int]) -> bool:
    """Whether none of its calls is reported. A tracepoint reports an exec that succeeds."""
    return not is_reported(call, lost) and not call.flags & ONLY_FAILED


def unwatched(missing: Mapping[str, str], rules: Sequence[Rule], wanted: frozenset[str]) -> tuple[Unwatched, ...]:
    """What isn't seen without the programs ``missing``, of which each has a reason.

    ``wanted`` are the types of events that the rules ask for. Programs that they don't need are left out.
    """
    parts = []
    for name, reason in missing.items():
        part = OPTIONAL[name]
        calls = tuple(call.name for call in SYSCALLS if not is_reported(call, part.families) and call.name in wanted)
        if calls or not part.families:
            parts.append(Unwatched(name, reason, part.cost, calls, tuple(_concerned(rules, frozenset(calls)))))
    return tuple(parts)


def _concerned(rules: Sequence[Rule], calls: frozenset[str]) -> Iterable[Concerned]:
    for rule in rules:
        types = event_types(rule.condition, rule.source)
        if types & calls:
            yield Concerned(rule.key, len(types & calls), len(types))


def describe(part: Unwatched) -> str:
    """For the log and for people: what is lost, the rules concerned, and why."""
    costs = [part.cost] if part.cost else []
    if part.calls:
        where = " where they fail" if only_failed(part.calls) else ""
        costs.append(f"{joined(part.calls, _MOST_CALLS)} can't be seen{where}")
    text = f"{part.reason}: {'; '.join(costs)}"
    if part.rules:
        text += f"; rules concerned: {joined([_rule(each) for each in part.rules], _MOST_RULES)}"
    return text


def restrictions(source: EventSource) -> list[str]:
    """A line for people on each thing that restricts detection as long as the rules stay the same."""
    return [*map(warning.describe, source.lasting_warnings), *map(describe, source.unwatched())]


def only_failed(calls: Sequence[str]) -> bool:
    """Whether these calls are seen where they succeed: a tracepoint reports an exec that succeeds."""
    return bool(calls) and {call.name for call in SYSCALLS if call.flags & ONLY_FAILED}.issuperset(calls)


def _rule(rule: Concerned) -> str:
    return f"{rule.key!r} ({rule.missing} of its {rule.types} event types)"


class ReportedParts:
    """The parts, and the rules that they concern, that were in an alert."""

    def __init__(self) -> None:
        self._reported: frozenset[tuple[str, str]] = frozenset()

    def news(self, parts: Sequence[Unwatched]) -> list[Unwatched]:
        """The parts that were not in the last call, or concern a rule that they didn't concern then."""
        now = {part: frozenset((part.part, key) for key in ("", *(each.key for each in part.rules))) for part in parts}
        news = [part for part, keys in now.items() if not keys <= self._reported]
        self._reported = frozenset().union(*now.values())
        return news


def partial_alert(parts: Sequence[Unwatched], hostname: str, time: int) -> Alert:
    """``time`` is nanoseconds since the epoch. The alert is critical where rules miss something.

    Its fields are names as a text with commas: ``unwatched.parts``, and ``unwatched.calls`` and ``unwatched.rules``
    where there are any.
    """
    rules = [rule.key for part in parts for rule in part.rules]
    names = {
        "unwatched.parts": joined(part.part for part in parts),
        "unwatched.calls": joined((call for part in parts for call in part.calls), _MOST_FIELD_CALLS),
        "unwatched.rules": joined(rules, _MOST_FIELD_RULES),
    }
    return Alert(
        time=time,
        rule=RULE,
        priority=Priority.CRITICAL if rules else Priority.WARNING,
        source="internal",
        hostname=hostname,
        output=f"This kernel doesn't let everything be watched: {'. '.join(map(describe, parts))}",
        tags=("tiercel",),
        output_fields={key: text for key, text in names.items() if text},
    )
