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
    name, ``error`` the type of an exception.
    """

    cause: LossCause
    rule: str = ""
    output: str = ""
    sink: str = ""
    error: str = ""
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
    LossCause.EVALUATION_FAILED: "events",
    LossCause.RECORDING_FAILED: "events",
    LossCause.OUTPUT_FAILED: "alerts",
    LossCause.SINK_FAILED: "alerts",
    LossCause.TOO_MANY_ALERTS: "alerts",
}


def describe(loss: Loss) -> str:
    """In words, such as ``system calls, because the ring buffer was full``, and where."""
    return f"{_what(loss)}{_where(loss.by)}"


def _where(by: LostBy) -> str:
    if by.pod:
        return f", in pod {by.pod}" + (f", container {by.container}" if by.container else "")
    if by.container:
        return f", in container {by.container}"
    return f", in cgroup {by.cgroup}" if by.cgroup else ""


def _what(loss: Loss) -> str:
    match loss.cause:
        case LossCause.CALL_BUFFER_FULL:
            return "system calls, because the ring buffer was full"
        case LossCause.PROCESS_BUFFER_FULL:
            return "process starts and ends, because the ring buffer was full"
        case LossCause.CALLS_SKIPPED:
            return "system calls of any kind, for which the kernel didn't run our program"
        case LossCause.PROCESSES_SKIPPED:
            return "process starts and ends, for which the kernel didn't run our program"
        case LossCause.RATE_LIMIT:
            return f"system calls that {repr(loss.rule) if loss.rule else 'several rules'} may match: too many at once"
        case LossCause.UNREADABLE_RECORD:
            return "records that could not be read"
        case LossCause.LOOKUP_UNANSWERED:
            return "look-ups that a file server or a process did not answer in time: events lack names"
        case LossCause.EVALUATION_FAILED:
            return f"events that could not be evaluated: {loss.error}"
        case LossCause.RECORDING_FAILED:
            return "events for the recording: it was too slow or failed"
        case LossCause.OUTPUT_FAILED:
            return f"alerts for output {loss.output}: it was too slow or failed"
        case LossCause.SINK_FAILED:
            return f"alerts for sink {loss.sink}: it failed for too long, or refused them"
        case LossCause.TOO_MANY_ALERTS:
            return "alerts for all sinks: there were too many at once"


def listed(losses: Losses) -> str:
    """In words, each with its count."""
    return ", ".join(f"{count} ({describe(loss)})" for loss, count in losses.items())
