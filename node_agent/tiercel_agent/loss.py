"""What was lost on the way from the kernel to the sinks, as values. Only ``describe`` makes text of it, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tiercel_engine.resources.node_agent import LossCause


@dataclass(frozen=True, slots=True)
class LostBy:
    """Where events were lost: the path of a cgroup, printable and perhaps cut, the short id of a container, and a pod
    as ``namespace/name``. What isn't known is ""."""

    cgroup: str = ""
    container: str = ""
    pod: str = ""


NOT_KNOWN = LostBy()


@dataclass(frozen=True, slots=True)
class Loss:
    """A cause, and whom it concerns; names that it has nothing to do with are "".

    ``rule`` is a rule's key: "" where it isn't known which rules the lost calls could match. ``output`` is the name of
    an output of this agent's own, ``sink`` an AlertSink as ``namespace/name`` or a sink of this agent's own by its
    name, ``error`` the type of an exception. ``namespace`` is the one whose rules alone it concerns.
    """

    cause: LossCause
    rule: str = ""
    output: str = ""
    sink: str = ""
    error: str = ""
    namespace: str = ""
    by: LostBy = NOT_KNOWN

    @property
    def unit(self) -> str:
        """What is counted: calls, processes, records, look-ups, events or alerts."""
        return _UNITS[self.cause]


Losses = Mapping[Loss, int]
"""How much was lost, in total since the agent's start unless it is said otherwise."""

_UNITS = {
    LossCause.CALL_BUFFER_FULL: "calls",
    LossCause.PROCESS_BUFFER_FULL: "processes",
    LossCause.CALLS_SKIPPED: "calls",
    LossCause.PROCESSES_SKIPPED: "processes",
    LossCause.RATE_LIMIT: "calls",
    LossCause.UNREADABLE_RECORD: "records",
    LossCause.LOOKUP_UNANSWERED: "lookups",
    LossCause.PROCESS_TABLE_FULL: "processes",
    LossCause.EVALUATION_FAILED: "events",
    LossCause.EVALUATION_BUDGET_EXCEEDED: "events",
    LossCause.ALERT_BUDGET_EXCEEDED: "alerts",
    LossCause.RECORDING_FAILED: "events",
    LossCause.OUTPUT_FAILED: "alerts",
    LossCause.SINK_FAILED: "alerts",
    LossCause.TOO_MANY_ALERTS: "alerts",
}


_TEXTS = {
    LossCause.CALL_BUFFER_FULL: "system calls, because the ring buffer was full",
    LossCause.PROCESS_BUFFER_FULL: "process starts and ends, because the ring buffer was full",
    LossCause.CALLS_SKIPPED: "system calls of any kind, for which the kernel didn't run our program",
    LossCause.PROCESSES_SKIPPED: "process starts and ends, for which the kernel didn't run our program",
    LossCause.RATE_LIMIT: "system calls that {rule} may match: too many at once",
    LossCause.UNREADABLE_RECORD: "records that could not be read",
    LossCause.LOOKUP_UNANSWERED: "look-ups that a file server or a process did not answer in time: events lack names",
    LossCause.PROCESS_TABLE_FULL: "process starts that were forgotten, because there were too many: events lack what "
    "is executed",
    LossCause.EVALUATION_FAILED: "events that could not be evaluated: {error}",
    LossCause.EVALUATION_BUDGET_EXCEEDED: "events that rules of namespace {namespace} did not see: they take too long",
    LossCause.ALERT_BUDGET_EXCEEDED: "alerts of rules of namespace {namespace}: they raise more than they may",
    LossCause.RECORDING_FAILED: "events for the recording: it was too slow or failed",
    LossCause.OUTPUT_FAILED: "alerts for output {output}: it was too slow or failed",
    LossCause.SINK_FAILED: "alerts for sink {sink}: it failed for too long, or refused them",
    LossCause.TOO_MANY_ALERTS: "alerts for all sinks: there were too many at once",
}


def describe(loss: Loss) -> str:
    """In words, such as ``system calls, because the ring buffer was full``, and where."""
    what = _TEXTS[loss.cause].format(
        rule=repr(loss.rule) if loss.rule else "several rules",
        output=loss.output,
        sink=loss.sink,
        error=loss.error,
        namespace=loss.namespace,
    )
    return f"{what}{_where(loss.by)}"


def _where(by: LostBy) -> str:
    if by.pod:
        return f", in pod {by.pod}" + (f", container {by.container}" if by.container else "")
    if by.container:
        return f", in container {by.container}"
    return f", in cgroup {by.cgroup}" if by.cgroup else ""


def listed(losses: Losses) -> str:
    """In words, each with its count."""
    return ", ".join(f"{count} ({describe(loss)})" for loss, count in losses.items())
