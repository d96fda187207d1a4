"""The items of each list, with lists in lists replaced."""

from __future__ import annotations

from collections.abc import Mapping

from tiercel_engine.rules.decoding import VALIDATE
from tiercel_engine.rules.definitions import Definition
from tiercel_engine.rules.items import ListItem
from tiercel_engine.rules.report import Report

MAX_ITEMS = 100_000
"""Items of one list, those of the lists in it included."""
MAX_TOTAL = 1_000_000
"""Items of all lists together."""


def expand_lists(
    definitions: Mapping[str, Definition[ListItem]], report: Report
) -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    """The items of each list by its name, and the names of the lists that others name.

    An item that is the name of an earlier list stands for that list's items. A list that is too
    large or names itself through others is reported, and keeps the items that are plain.
    """
    expanded: dict[str, tuple[str, ...]] = {}
    used: set[str] = set()
    total = 0
    for name in definitions:
        # A list that was defined anew may see later ones, so what a list names is expanded before it.
        stack = [name]
        open_lists: set[str] = set()
        while stack:
            current = stack[-1]
            if current in expanded:
                stack.pop()
                continue
            definition = definitions[current]
            inner = [item for item in definition.item.items or () if _sees(definitions, definition, item)]
            used.update(inner)
            waiting = [item for item in dict.fromkeys(inner) if item not in expanded]
            if waiting and current not in open_lists:
                open_lists.add(current)
                stack.extend(waiting)
                continue
            if waiting:
                message = f"the list contains itself, through {waiting[0]}"
                report.error(VALIDATE, message, definition.item.span, ("list", current))
            items = _expand(definition.item.items or (), {item: expanded.get(item, ()) for item in inner})
            if len(items) > MAX_ITEMS or total + len(items) > MAX_TOTAL:
                limit = MAX_ITEMS if len(items) > MAX_ITEMS else MAX_TOTAL
                message = f"more than {limit} items with the lists in it"
                report.error(VALIDATE, message, definition.item.span, ("list", current))
                items = ()
            total += len(items)
            expanded[current] = items
            stack.pop()
    return {name: expanded[name] for name in definitions}, frozenset(used)


def _sees(definitions: Mapping[str, Definition[ListItem]], definition: Definition[ListItem], item: str) -> bool:
    return item in definitions and definitions[item].place < definition.seen_from and item != definition.item.name


def _expand(items: tuple[str, ...], inner: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The items with lists replaced, cut as soon as they are too many."""
    result: list[str] = []
    for item in items:
        if item in inner:
            result.extend(inner[item])
        else:
            result.append(item)
        if len(result) > MAX_ITEMS:
            break
    return tuple(result)
