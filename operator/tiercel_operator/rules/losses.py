"""Which rules a loss of events can concern."""

from __future__ import annotations

from collections.abc import Iterable

from tiercel_engine.matching.requirements import event_types, fields
from tiercel_engine.rendering.output import compile_output
from tiercel_engine.resources.node_agent import LossCause
from tiercel_engine.rule import Rule
from tiercel_operator.objects import Lost

OVER_SHARE = frozenset({LossCause.EVALUATION_BUDGET_EXCEEDED, LossCause.ALERT_BUDGET_EXCEEDED})
"""What a namespace's rules don't see or tell since they take more than they may."""

_EXECUTIONS = frozenset({"execve", "execveat"})
_OF_PROCESSES = ("proc.", "thread.")
_OF_NAMES = ("fd.", "fs.", "proc.", "user.", "group.", "evt.arg", "evt.abspath", "evt.info")
"""Fields whose values are looked up, or are made of such."""


def concerns(lost: Lost, rules: Iterable[Rule], namespace: str) -> bool:
    """Whether some of the rules, which are all of one namespace, may have missed an event, or something of one."""
    if lost.namespace:
        return lost.namespace == namespace
    running = [rule for rule in rules if rule.enabled]
    if lost.rule:
        return lost.rule.startswith(f"{namespace}/") and any(rule.key == lost.rule for rule in running)
    return any(_can_be_of(lost.cause, rule) for rule in running)


def _can_be_of(cause: LossCause, rule: Rule) -> bool:
    """Whether what was lost can be of the rule, though it isn't known which rule's it was."""
    match cause:
        case LossCause.PROCESS_BUFFER_FULL | LossCause.PROCESSES_SKIPPED:
            types = event_types(rule.condition, rule.source)
            return types is None or not _EXECUTIONS.isdisjoint(types) or _reads(rule, _OF_PROCESSES)
        case LossCause.LOOKUP_UNANSWERED:
            return _reads(rule, _OF_NAMES)
        case _:
            types = event_types(rule.condition, rule.source)
            return types is None or bool(types)


def _reads(rule: Rule, prefixes: tuple[str, ...]) -> bool:
    read = fields(rule.condition) | compile_output(rule.output).fields
    return any(field.startswith(prefixes) for field in read)
