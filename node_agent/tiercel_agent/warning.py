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


def describe(warning: AgentWarning) -> str:
    """One line for people."""
    names, detail = warning.names, warning.detail
    match warning.kind:
        case WarningKind.TOO_MANY_RULES:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            return f"too many rules for the kernel, every call that they ask for goes to user space: {names[0]}{more}"
        case WarningKind.FILTER_BUDGET_EXCEEDED:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            return (
                f"the rules of namespace {detail} exceed its budget in the kernel's filter, "
                f"more calls of its pods go to user space for these: {names[0]}{more}"
            )
        case WarningKind.FIELDS_WITHOUT_SOURCE:
            return f"{detail}: rules that ask for {', '.join(names)} can't match"
        case WarningKind.RUNTIME_FAILS:
            return f"containers are named as far as they are known: {detail}"
        case WarningKind.UNKNOWN_CONTAINERS:
            return f"containers that no runtime vouches for: {', '.join(names)}"
        case WarningKind.LOOKUPS_UNANSWERED:
            return f"files or processes don't answer, so that events lack names: {', '.join(names)}"
        case WarningKind.KUBERNETES_FAILS:
            return f"the Kubernetes API can't be read, pods are named as far as they are known: {detail}"
        case WarningKind.NODE_NAME_DIFFERS:
            pod, node = names
            return f"{pod} runs here, and is none of the pods of {node}: is this node {node}?"
        case WarningKind.OUTPUT_LOSES_ALERTS:
            return f"output {names[0]} has lost alerts: the agent's log tells why"
        case WarningKind.SINK_LOSES_ALERTS:
            return f"sink {names[0]} has lost alerts: the agent's log tells why"
        case WarningKind.SPOOL_UNUSABLE:
            return f"alerts that wait for sinks are in memory and not on the disk: {detail}"
        case _:
            return detail
