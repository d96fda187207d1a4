"""Which of many rules are to be looked at when one object changes.

Resolving a thousand objects takes long; nearly all of their rules neither use what the object defines nor are changed
by it. This leaves them out. Lists and macros stay: the object may use any of them.
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
"""No name of a macro or list that a condition can use has one of these, or a blank."""


def dependents(new: RuleObject, old: RuleObject | None, others: Iterable[RuleObject]) -> list[RuleObject]:
    """Of the others what the change of an object has to do with. Resolved together with it, the same of its rules are
    wrong as among all of them, and the same of their items become wrong by the change."""
    if new.namespace != SYSTEM_NAMESPACE:  # what the system defines is seen everywhere
        others = (other for other in others if other.namespace in (new.namespace, SYSTEM_NAMESPACE))
    own = [item for found in (new, old) if found is not None for item in _items(found)]
    items = [(other, list(_items(other))) for other in others]
    names = _changed(new, old)
    _add_users(names, [item for found in (own, *(found for _, found in items)) for item in found])
    rules = {item.name for item in own}
    kept = ((other, [item.content for item in found if item.concerns(names, rules)]) for other, found in items)
    return [
        replace(other, spec={"selector": other.spec.get("selector"), "rules": rules}) for other, rules in kept if rules
    ]


def suspended(found: RuleObject) -> bool:
    return bool(found.spec.get("suspend"))


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
    """The names of what one of the two defines otherwise than the other, or at another place."""
    before, after = (
        [] if found is None or suspended(found) else [(item.name, item.content) for item in _items(found)]
        for found in (old, new)
    )
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    rest = 0
    while rest < min(len(before), len(after)) - same and before[-1 - rest] == after[-1 - rest]:
        rest += 1
    return {name for found in (before, after) for name, _ in found[same : len(found) - rest]}


def _add_users(names: set[str], items: list[_Item]) -> None:
    """Adds the names of the lists and macros that use one of the names, directly or by others."""
    terms = [item for item in items if item.kind != "rule"]
    while users := [term for term in terms if term.name not in names and not term.words.isdisjoint(names)]:
        names.update(term.name for term in users)


def _items(found: RuleObject) -> Iterator[_Item]:
    rules = found.spec.get("rules")
    for item in rules if isinstance(rules, list) else ():
        if isinstance(item, Mapping):
            for kind in _KINDS:
                if item.get(kind) is not None:
                    yield _Item(kind, str(item[kind]), frozenset(_words(item)), item)
                    break


def _words(content: object) -> Iterator[str]:
    """The words of all texts in it, however deep."""
    waiting = [content]
    while waiting:
        match waiting.pop():
            case str(text):
                yield from text.translate(_BETWEEN_WORDS).split()
            case Mapping() as found:
                waiting.extend(found.values())
            case list(found):
                waiting.extend(found)
