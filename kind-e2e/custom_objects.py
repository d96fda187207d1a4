"""SecurityRules and AlertSinks as texts to apply, and what the operator writes into their status."""

from __future__ import annotations

from typing import Any

import yaml
from cluster_support.custom_resources import custom_object, rule
from deployment import Kubectl


def manifest(kind: str, name: str, namespace: str, **spec: Any) -> str:
    return yaml.safe_dump(custom_object(kind, name, namespace, **spec))


def rule_manifest(name: str, namespace: str, condition: str, rule_name: str = "Seen", **spec: Any) -> str:
    """A SecurityRule with one rule, whose output is the command line."""
    item = rule(rule_name, condition, output="%proc.cmdline", priority="WARNING")
    return manifest("SecurityRule", name, namespace, rules=[item], **spec)


def status(kubectl: Kubectl, kind: str, name: str, namespace: str) -> dict[str, Any]:
    """The status of what was applied last; {} as long as it is of an earlier generation."""
    body = kubectl.read(kind.lower(), name, "-n", namespace)
    written: dict[str, Any] = body.get("status") or {}
    return written if written.get("observedGeneration") == body.get("metadata", {}).get("generation") else {}


def condition(kubectl: Kubectl, type_: str, kind: str, name: str, namespace: str) -> tuple[str, ...]:
    """Status and reason of a condition; () as long as there is none."""
    conditions = status(kubectl, kind, name, namespace).get("conditions") or ()
    return next(((each["status"], each["reason"]) for each in conditions if each["type"] == type_), ())


def is_ready(kubectl: Kubectl, name: str, namespace: str) -> bool:
    """Whether a SecurityRule is."""
    return condition(kubectl, "Ready", "SecurityRule", name, namespace)[:1] == ("True",)
