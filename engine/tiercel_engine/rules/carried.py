"""What agents need of a SecurityRule: all that decides what its rules match and what their alerts say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiercel_engine.rules.documents.reader import ITEM_KEYS, REQUIREMENTS
from tiercel_engine.rules.objects import RuleObject

_PARTS = ("selector", "rules")
_DESC = "-"
"""What stands for each description: a rule must have one, and no agent uses it."""


def carried(rule_object: RuleObject) -> RuleObject:
    """The object without what no agent uses: tests, descriptions, and keys that an item of its kind doesn't have. It
    resolves to the same rules, with the same errors."""
    parts = {key: rule_object.spec[key] for key in _PARTS if rule_object.spec.get(key) is not None}
    if isinstance(parts.get("rules"), list):
        parts["rules"] = [_item(item) if isinstance(item, Mapping) else item for item in parts["rules"]]
    return RuleObject(rule_object.namespace, rule_object.name, parts)


def _item(item: Mapping[str, Any]) -> dict[str, Any]:
    keys = next((keys for kind, keys in ITEM_KEYS.items() if kind in item), frozenset())
    requirement = next((key for key in REQUIREMENTS if key in item), None)
    if requirement is not None:  # such an item is that and nothing else
        keys = frozenset({requirement})
    kept = {key: value for key, value in item.items() if key in keys}
    if isinstance(kept.get("desc"), str) and kept["desc"]:
        kept["desc"] = _DESC
    return kept
