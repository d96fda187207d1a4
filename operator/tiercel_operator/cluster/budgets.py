"""How much of the bundle the SecurityRules of each namespace can have, and which of them exceed it.

The system's namespace comes first and has a budget of its own, so that tenants never crowd it out. Each other namespace
has a tenant's budget. If what all of them may have together is more than there is room for, the room is shared out:
who wants less than an equal share gets all that it wants, and the others get equal shares of the rest.

Within a namespace older objects come before younger ones, and those in force before suspended ones, which count because
they are checked too. So the same objects always fit, and what is created later takes none of them out of force.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import add, le, sub
from typing import Final, NamedTuple

import orjson

from tiercel_engine.rule import Origin
from tiercel_engine.rules.bundle import MOST_OF_A_PART, packed_size
from tiercel_engine.rules.objects import RuleObject
from tiercel_engine.scope import SYSTEM_NAMESPACE
from tiercel_engine.units import KIBIBYTE, MEBIBYTE
from tiercel_operator.bundle_config_maps import MOST_PARTS


class Size(NamedTuple):
    """How many objects, their bytes in the bundle when it is unpacked and as it is packed, and as they were applied,
    with descriptions and tests."""

    objects: int
    unpacked: int
    packed: int
    applied: int

    def __str__(self) -> str:
        return f"{self.objects:,} objects, {self.kibibytes}"

    @property
    def kibibytes(self) -> str:
        unpacked, packed, applied = (f"{each / KIBIBYTE:,.0f} KiB" for each in self[1:])
        return f"{unpacked}, {packed} compressed, {applied} with descriptions and tests"


def budget(objects: int, unpacked: int, packed: int) -> Size:
    """A budget. With descriptions and tests, which no agent gets, objects may have twice as many bytes."""
    return Size(objects, unpacked, packed, 2 * unpacked)


NOTHING: Final = Size(0, 0, 0, 0)
TENANT: Final = budget(200, MEBIBYTE, 256 * KIBIBYTE)
"""The budget of a namespace that isn't the system's, unless the administrator sets another. All rules that Falco comes
with need a sixth of it."""
TOTAL: Final = budget(10_000, 32 * MEBIBYTE, MOST_PARTS * MOST_OF_A_PART - KIBIBYTE)
"""What all namespaces have together: the ConfigMaps hold no more, each agent unpacks and compiles all of it, and the
operator has all of it in memory."""
SYSTEM: Final = Size(*(each // 2 for each in TOTAL))
"""The budget of the system's namespace, so that there is always as much for tenants."""


@dataclass(frozen=True, slots=True)
class Sized:
    """A SecurityRule with what its place depends on. ``created`` is in RFC 3339."""

    origin: Origin
    created: str
    suspended: bool
    size: Size

    @property
    def precedence(self) -> tuple[bool, str, str]:
        return self.suspended, self.created, self.origin.name


def over_budget(objects: Iterable[Sized], tenant: Size = TENANT) -> dict[Origin, str]:
    """The objects for which there is no room, with a message for each that says what there is, and what would be
    right."""
    members: dict[str, list[Sized]] = {}
    for each in objects:
        members.setdefault(each.origin.namespace, []).append(each)
    of_system = members.pop(SYSTEM_NAMESPACE, [])
    beyond = _beyond(of_system, SYSTEM)
    room = Size(*map(sub, TOTAL, total_of(each.size for each in of_system if each.origin not in beyond)))
    wanted = [_smaller(total_of(each.size for each in of_one), tenant) for of_one in members.values()]
    share = _smaller(tenant, Size(*map(_equal_share, room, zip(*wanted, strict=True)))) if wanted else tenant
    for of_one in members.values():
        beyond |= _beyond(of_one, share)
    return beyond


def budget_of(namespace: str, tenant: Size) -> Size:
    """The budget of a namespace. ``tenant`` is that of each that isn't the system's."""
    return SYSTEM if namespace == SYSTEM_NAMESPACE else tenant


def size_of(rule_object: RuleObject) -> Size:
    """What an object takes of its namespace's budget. Raises TypeError for what can't be JSON."""
    return Size(1, *packed_size(rule_object), len(orjson.dumps(rule_object.spec)))


def total_of(sizes: Iterable[Size]) -> Size:
    total = NOTHING
    for size in sizes:
        total = Size(*map(add, total, size))
    return total


def fits(size: Size, budget: Size) -> bool:
    return all(map(le, size, budget))


def larger(one: Size, other: Size) -> Size:
    """The larger of each number."""
    return Size(*map(max, one, other))


def _beyond(objects: Sequence[Sized], budget: Size) -> dict[Origin, str]:
    """Those objects of one namespace that don't fit into its budget beside the ones before them."""
    used = NOTHING
    beyond = []
    for each in sorted(objects, key=lambda each: each.precedence):
        with_it = total_of((used, each.size))
        if fits(with_it, budget):
            used = with_it
        else:
            beyond.append(each)
    whole = total_of(each.size for each in objects)
    excess = (
        f"all of the namespace have {whole}, and {budget} is the most (remove or shorten some; older ones come first)"
    )
    return {each.origin: f"no room for this SecurityRule of {each.size.kibibytes}: {excess}" for each in beyond}


def _smaller(one: Size, other: Size) -> Size:
    return Size(*map(min, one, other))


def _equal_share(room: int, wanted: Iterable[int]) -> int:
    """The most that each can have so that all find room, if who wants less leaves the rest to the others."""
    left = room
    sizes = sorted(wanted)
    for number, size in enumerate(sizes):
        share = left // (len(sizes) - number)
        if size > share:
            return share
        left -= size
    return room
