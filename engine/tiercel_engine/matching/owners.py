"""Whose rules: those of the system, or of a namespace."""

from __future__ import annotations

from tiercel_engine.rule import Rule
from tiercel_engine.scope import SYSTEM_NAMESPACE

SYSTEM = ""
"""Stands for the namespace of the system's rules."""


def namespace_of(rule: Rule) -> str:
    """The namespace whose budgets a rule is charged to: ``SYSTEM``, or a namespace whose pods alone the rule
    watches."""
    return SYSTEM if rule.origin is None or rule.origin.namespace == SYSTEM_NAMESPACE else rule.origin.namespace
