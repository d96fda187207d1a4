"""What restricts detection or delivery on this node, as values. Only ``describe`` makes text of it, for people."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_engine.resources.node_agent import WarningKind


@dataclass(frozen=True, slots=True)
class AgentWarning:
    """``names`` are those of the rules, fields, outputs, sinks or objects concerned; ``detail`` is the namespace whose
    budget is exceeded, or what the kernel, a runtime, the API or a disk says of it, in its own words."""

    kind: WarningKind
    names: tuple[str, ...] = ()
    detail: str = ""


_TEXTS = {
    WarningKind.FIELDS_WITHOUT_SOURCE: "{detail}: rules that ask for {names} can't match",
    WarningKind.RUNTIME_FAILS: "containers are named as far as they are known: {detail}",
    WarningKind.UNKNOWN_CONTAINERS: "containers that no runtime vouches for: {names}",
    WarningKind.LOOKUPS_UNANSWERED: "files or processes don't answer, so that events lack names: {names}",
    WarningKind.KUBERNETES_FAILS: "the Kubernetes API can't be read, pods are named as far as they are known: {detail}",
    WarningKind.OUTPUT_LOSES_ALERTS: "output {names} has lost alerts: the agent's log tells why",
    WarningKind.SINK_LOSES_ALERTS: "sink {names} has lost alerts: the agent's log tells why",
    WarningKind.SPOOL_UNUSABLE: "alerts that wait for sinks are in memory and not on the disk: {detail}",
    WarningKind.RULES_UNREAD: "the files of rules can't be read, their disk doesn't answer: {names}: the rules stay",
}


def describe(warning: AgentWarning) -> str:
    """One line for people."""
    names, detail = warning.names, warning.detail
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    match warning.kind:
        case WarningKind.TOO_MANY_RULES:
            return f"too many rules for the kernel, every call that they ask for goes to user space: {names[0]}{more}"
        case WarningKind.FILTER_BUDGET_EXCEEDED:
            return (
                f"the rules of namespace {detail} exceed its budget in the kernel's filter, "
                f"more calls of its pods go to user space for these: {names[0]}{more}"
            )
        case WarningKind.NODE_NAME_DIFFERS:
            pod, node = names
            return f"{pod} runs here, and is none of the pods of {node}: is this node {node}?"
        case kind:
            return _TEXTS.get(kind, "{detail}").format(names=", ".join(names), detail=detail)
