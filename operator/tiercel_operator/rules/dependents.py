"""Which of many rules have to be checked again when one object changes.

Resolving a thousand objects takes long, and nearly all of their rules neither use what the object defines nor are
changed by it. Such rules are left out here. Lists and macros stay: the object may use any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tiercel_engine.rules.definitions import DEFAULT_SOURCE
from tiercel_engine.rules.objects import RuleObject
from tiercel_engine.scope import SYSTEM_NAMESPACE

_KINDS = ("rule", "macro", "list")
_BETWEEN_WORDS = str.maketrans(dict.fromkeys("()\"'=,", " "))
"""Characters that, like blanks, can't be in the name of a macro or list that a condition uses."""


def dependents(new: RuleObject, old: RuleObject | None, others: Iterable[RuleObject]) -> list[RuleObject]:
    """The other objects with only those of their items that a change of an object may affect, or that it may use.

    ``old`` is the object before the change, None if it is new. If the object is resolved together with the result, it
    has the same errors as together with all others, and causes the same errors in them.
    """
    if new.namespace != SYSTEM_NAMESPACE:  # definitions of the system's namespace are visible everywhere
        others = (other for other in others if other.namespace in (new.namespace, SYSTEM_NAMESPACE))
    own = [item for version in (new, old) if version is not None for item in _items(version)]
    items = [(other, list(_items(other))) for other in others]
    names = _changed(new, old)
    _add_users(names, [*own, *(item for _, of_other in items for item in of_other)])
    rules = {item.name for item in own}
    kept = ((other, [item.content for item in of_other if item.concerns(names, rules)]) for other, of_other in items)
    return [
        replace(other, spec={"selector": other.spec.get("selector"), "rules": rules}) for other, rules in kept if rules
    ]


def suspended(object_: RuleObject) -> bool:
    return bool(object_.spec.get("suspend"))


@dataclass(frozen=True, slots=True)
class _Item:
    kind: str
    name: str
    words: frozenset[str]
    content: Mapping[str, Any]

    def concerns(self, names: set[str], rules: set[str]) -> bool:
        return self.kind != "rule" or self._excuses or self.name in rules or not self.words.isdisjoint(names)

    @property
    def _excuses(self) -> bool:
        """Whether macros that the rule uses may have fields that aren't known."""
        return "skip-if-unknown-filter" in self.content or self.content.get("source", DEFAULT_SOURCE) != DEFAULT_SOURCE


def _changed(new: RuleObject, old: RuleObject | None) -> set[str]:
    """The names of items that the two versions define differently, or at different places."""
    before, after = (
        [] if version is None or suspended(version) else [(item.name, item.content) for item in _items(version)]
        for version in (old, new)
    )
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    rest = 0
    while rest < min(len(before), len(after)) - same and before[-1 - rest] == after[-1 - rest]:
        rest += 1
    return {name for items in (before, after) for name, _ in items[same : len(items) - rest]}


def _add_users(names: set[str], items: list[_Item]) -> None:
    """Adds the names of the lists and macros that use one of the names, directly or by others."""
    terms = [item for item in items if item.kind != "rule"]
    while users := [term for term in terms if term.name not in names and not term.words.isdisjoint(names)]:
        names.update(term.name for term in users)


def _items(object_: RuleObject) -> Iterator[_Item]:
    rules = object_.spec.get("rules")
    for item in rules if isinstance(rules, list) else ():
        if isinstance(item, Mapping):
            for kind in _KINDS:
                if item.get(kind) is not None:
                    yield _Item(kind, str(item[kind]), frozenset(_words(item)), item)
                    break


def _words(content: object) -> Iterator[str]:
    """The words of all texts in a value, at any depth."""
    waiting = [content]
    while waiting:
        match waiting.pop():
            case str(text):
                yield from text.translate(_BETWEEN_WORDS).split()
            case Mapping() as mapping:
                waiting.extend(mapping.values())
            case list(entries):
                waiting.extend(entries)
