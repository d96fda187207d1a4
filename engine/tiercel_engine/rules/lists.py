"""Expands lists: replaces the names of other lists among their items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tiercel_engine.language.named_lists import NamedLists
from tiercel_engine.rules.definitions import Definition, Definitions
from tiercel_engine.rules.documents.decoding import VALIDATE
from tiercel_engine.rules.documents.items import ListItem
from tiercel_engine.rules.documents.report import Report

MAX_ITEMS = 100_000
"""The most items of one list, including those of the lists in it."""
MAX_TOTAL = 1_000_000
"""The most items of all lists together."""


@dataclass(frozen=True, slots=True)
class Lists:
    """``items`` has the items of each list, ``used`` the lists that other lists use, ``broken`` those with an error."""

    items: NamedLists
    used: frozenset[str]
    broken: frozenset[str]


def expand_lists(definitions: Definitions, report: Report) -> Lists:
    """The lists, in which each item that names an earlier list is replaced by the items of that list.

    A list is broken if it is too large, contains itself through other lists, or contains a broken list.
    """
    defined = definitions.lists
    broken = {name for kind, name in definitions.broken if kind == "list" and name not in defined}
    expanded: dict[str, tuple[str, ...]] = dict.fromkeys(broken, ())
    used: set[str] = set()
    total = 0
    for name in defined:
        # A list that is defined again may use later lists, so the lists that it names are expanded first.
        stack = [name]
        opened: set[str] = set()
        while stack:
            current = stack[-1]
            if current in expanded:
                stack.pop()
                continue
            definition = defined[current]
            items = definition.item.items or ()
            inner = {item for item in items if item in broken or _sees(defined, definition, item)}
            used |= inner
            waiting = sorted(item for item in inner if item not in expanded)
            if waiting and current not in opened:
                opened.add(current)
                stack.extend(waiting)
                continue
            stack.pop()
            if waiting:
                message = f"the list contains itself, through {waiting[0]}"
                report.error(VALIDATE, message, definition.item.span, ("list", current))
                broken.add(current)
            expanded[current] = _expand(items, {item: expanded.get(item, ()) for item in inner})
            total += len(expanded[current])
            if len(expanded[current]) > MAX_ITEMS or total > MAX_TOTAL:
                limit = MAX_ITEMS if len(expanded[current]) > MAX_ITEMS else MAX_TOTAL
                message = f"more than {limit} items with the lists in it"
                report.error(VALIDATE, message, definition.item.span, ("list", current))
                total -= len(expanded[current])
                broken.add(current)
            if current in broken or inner & broken:
                broken.add(current)
                expanded[current] = ()
    return Lists(NamedLists(expanded), frozenset(used), frozenset(broken))


def _sees(definitions: Mapping[str, Definition[ListItem]], definition: Definition[ListItem], item: str) -> bool:
    return item in definitions and definitions[item].place < definition.seen_from and item != definition.item.name


def _expand(items: tuple[str, ...], inner: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The items with the inner lists replaced. Stops as soon as there are too many."""
    result: list[str] = []
    for item in items:
        if item in inner:
            result.extend(inner[item])
        else:
            result.append(item)
        if len(result) > MAX_ITEMS:
            break
    return tuple(result)
