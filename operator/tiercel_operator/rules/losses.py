"""Which rules a loss of events can concern."""

from __future__ import annotations

from collections.abc import Iterable

from tiercel_engine.resources.node_agent import LossCause
from tiercel_engine.rule import Origin, rule_key
from tiercel_operator.cluster.objects import Lost
from tiercel_operator.rules.checked import CheckedRule

_EXECUTIONS = frozenset({"execve", "execveat"})
_OF_PROCESSES = ("proc.", "thread.")
_OF_NAMES = ("fd.", "fs.", "proc.", "user.", "group.", "evt.arg", "evt.abspath", "evt.info")
"""Fields whose values are looked up, or are made of such."""


def concerns(lost: Lost, rules: Iterable[CheckedRule], origin: Origin) -> bool:
    """Whether some of the rules of a SecurityRule may have missed an event, or something of one."""
    if lost.namespace:
        return lost.namespace == origin.namespace
    running = [rule for rule in rules if rule.enabled]
    if lost.rule:
        return any(rule_key(rule.name, origin) == lost.rule for rule in running)
    return any(_can_be_of(lost.cause, rule) for rule in running)


def _can_be_of(cause: LossCause, rule: CheckedRule) -> bool:
    """Whether what was lost can be of the rule, though it isn't known which rule's it was."""
    match cause:
        case LossCause.PROCESS_BUFFER_FULL | LossCause.PROCESSES_SKIPPED:
            return not _EXECUTIONS.isdisjoint(rule.types) or _reads(rule, _OF_PROCESSES)
        case LossCause.PROCESS_TABLE_FULL:
            return _reads(rule, _OF_PROCESSES)
        case LossCause.LOOKUP_UNANSWERED:
            return _reads(rule, _OF_NAMES)
        case _:
            return bool(rule.types)


def _reads(rule: CheckedRule, prefixes: tuple[str, ...]) -> bool:
    return any(field.startswith(prefixes) for field in rule.fields)
