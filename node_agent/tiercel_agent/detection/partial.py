"""Where a kernel refuses a part, the rest watches: what isn't seen, which rules that concerns, an alert of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tiercel_agent.detection.source import Concerned, Unwatched
from tiercel_agent.events.syscalls import ONLY_FAILED, SYSCALLS, Syscall
from tiercel_agent.kernel.loading.optional_programs import OPTIONAL
from tiercel_engine.alert import Alert
from tiercel_engine.event_types import SYSCALL_EVENT_TYPES
from tiercel_engine.matching.requirements import event_types
from tiercel_engine.priority import Priority
from tiercel_engine.rule import Rule

RULE = "Tiercel: not everything is watched"
_MOST_CALLS, _MOST_RULES, _MOST_FIELDS = 6, 10, 100


def families_lost(missing: Iterable[str]) -> frozenset[int]:
    """The families of calls that can't be reported without these programs."""
    return frozenset().union(*(OPTIONAL[name].families for name in missing))


def is_reported(call: Syscall, lost: frozenset[int]) -> bool:
    """Whether all of its calls come: those without a number are told by tracepoints."""
    return call.family not in lost or not any((call.numbers.x86_64, call.numbers.arm64))


def is_silent(call: Syscall, lost: frozenset[int]) -> bool:
    """Whether nothing of it comes: a successful exec is told by a tracepoint, too."""
    return not is_reported(call, lost) and not call.flags & ONLY_FAILED


def unwatched(
    missing: Mapping[str, str], rules: Sequence[Rule], wanted: frozenset[str] | None
) -> tuple[Unwatched, ...]:
    """What isn't seen without the programs ``missing``, of which each has a reason.

    ``wanted`` are the types of events that somebody asks for, None for all; programs that nobody needs are left out.
    """
    found = []
    for name, reason in missing.items():
        part = OPTIONAL[name]
        calls = tuple(
            call.name
            for call in SYSCALLS
            if not is_reported(call, part.families) and (wanted is None or call.name in wanted)
        )
        if calls or not part.families:
            found.append(Unwatched(name, reason, part.cost, calls, tuple(_concerned(rules, frozenset(calls)))))
    return tuple(found)


def _concerned(rules: Sequence[Rule], calls: frozenset[str]) -> Iterable[Concerned]:
    for rule in rules:
        types = event_types(rule.condition, rule.source)
        of = SYSCALL_EVENT_TYPES if types is None else types
        if of & calls:
            yield Concerned(rule.key, len(of & calls), len(of))


def line(part: Unwatched) -> str:
    """For the log and for people: what is lost, the rules concerned, and why."""
    costs = [part.cost] if part.cost else []
    if part.calls:
        where = " where they fail" if only_failed(part.calls) else ""
        costs.append(f"{_listed(part.calls, _MOST_CALLS)} can't be seen{where}")
    text = f"{part.reason}: {'; '.join(costs)}"
    if part.rules:
        text += f"; rules concerned: {_listed([_rule(each) for each in part.rules], _MOST_RULES)}"
    return text


def only_failed(calls: Iterable[str]) -> bool:
    """Whether what isn't seen of these calls are those that fail: a successful exec is told by a tracepoint."""
    return {call.name for call in SYSCALLS if call.flags & ONLY_FAILED}.issuperset(calls)


def _rule(rule: Concerned) -> str:
    return f"{rule.key!r} ({rule.lost} of its {rule.types} event types)"


def _listed(names: Sequence[str], most: int) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


class PartsTold:
    """Which parts, and which rules that they concern, an alert has told of."""

    def __init__(self) -> None:
        self._told: frozenset[tuple[str, str]] = frozenset()

    def news(self, parts: Sequence[Unwatched]) -> list[Unwatched]:
        """The parts with something that wasn't among those of the last call."""
        now = {part: frozenset((part.part, key) for key in ("", *(each.key for each in part.rules))) for part in parts}
        news = [part for part, keys in now.items() if not keys <= self._told]
        self._told = frozenset().union(*now.values())
        return news


def partial_alert(parts: Sequence[Unwatched], hostname: str, time: int) -> Alert:
    """``time`` is nanoseconds since the epoch. Critical where rules miss something."""
    rules = {each.key: f"{each.lost} of {each.types} event types" for part in parts for each in part.rules}
    return Alert(
        time=time,
        rule=RULE,
        priority=Priority.CRITICAL if rules else Priority.WARNING,
        source="internal",
        hostname=hostname,
        output=f"This kernel doesn't let everything be watched: {'. '.join(map(line, parts))}",
        tags=("tiercel",),
        output_fields={
            **{f"unwatched.{part.part}": ", ".join(part.calls) or part.cost for part in parts},
            **{f"unwatched.rule.{key}": told for key, told in list(rules.items())[:_MOST_FIELDS]},
        },
    )
