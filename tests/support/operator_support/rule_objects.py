"""SecurityRules for tests, in few words."""

from __future__ import annotations

from typing import Any

from tiercel_engine.rules.objects import RuleObject

SYSTEM = "tiercel-system"
GOOD = "evt.type = open"
BAD = "evt.type = open and proc.nmae = x"


def rule(name: str, condition: str, **more: Any) -> dict[str, Any]:
    return {"rule": name, "desc": "d", "condition": condition, "output": "o", "priority": "NOTICE", **more}


def macro(name: str, condition: str) -> dict[str, Any]:
    return {"macro": name, "condition": condition}


def of(namespace: str, name: str, *items: Any, **spec: Any) -> RuleObject:
    return RuleObject(namespace, name, {"rules": list(items), **spec})
