"""The registry of all fields. Validation, documentation, evaluation and the compilers read it.

Names, types and meanings follow Falco's documentation of supported fields (falco.org, "Supported
Fields for Conditions and Outputs"), plus ``fd.realname`` and ``fs.path.real*``. Fields are left out if an event at the
return of a system call cannot have them (latencies, poll lists, syslog messages, resource use).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType

from tiercel_engine.fields import container, evt, fd, fs, k8s, proc, user
from tiercel_engine.fields.model import (
    FAMILIES,
    Argument,
    ArgumentKind,
    Field,
    FieldType,
    Multiplicity,
    Stage,
    key,
)
from tiercel_engine.fields.stages import stage_of

REGISTRY: Mapping[str, Field] = MappingProxyType(
    {
        field.name: replace(field, stage=stage_of(field.name))
        for part in (evt, proc, user, container, k8s, fd, fs)
        for field in part.FIELDS
    }
)
"""Every field by name, in the order of the documentation."""

_LONGEST_NAME = 256


def lookup(name: str) -> Field | None:
    """The field of that name, or None if there is none.

    The members of a family (``FAMILIES``) are fields without argument: any name after ``evt.arg.`` or
    ``k8s.pod.label.`` makes one. ``evt.arg[flags]`` is the field ``evt.arg``
    with an argument; ``key`` gives both the same key.
    """
    field = REGISTRY.get(name)
    if field is not None or len(name) > _LONGEST_NAME:
        return field
    for family in FAMILIES:
        if name.startswith(f"{family}.") and len(name) > len(family) + 1:
            return _member(REGISTRY[family], name.removeprefix(f"{family}."))
    return None


def _member(family: Field, member: str) -> Field:
    """The field of one member of a family: ``evt.arg.flags`` for ``evt.arg`` and ``flags``."""
    field = replace(family, name=f"{family.name}.{member}", argument=Argument.NONE)
    if family.name == "evt.arg":
        meaning = evt.ARGUMENTS.get(member, family.meaning)
        file = member in evt.FILE_ARGUMENTS
        return replace(field, stage=stage_of(field.name), meaning=meaning, names_file=file)
    if family.name == "evt.rawarg" and member in evt.NUMERIC_ARGUMENTS:
        return replace(field, type=FieldType.INTEGER)
    return field


def documented() -> tuple[Field, ...]:
    """The fields that the documentation lists: those of the registry, and the known members of ``evt.arg``."""
    fields: list[Field] = []
    for field in REGISTRY.values():
        fields.append(field)
        if field.name == "evt.arg":
            fields.extend(_member(field, name) for name in evt.ARGUMENTS)
    return tuple(fields)


_DOCUMENTED_NAMES = tuple(field.name for field in documented())


def similar(name: str, limit: int = 3) -> list[str]:
    """At most ``limit`` names of fields that are like ``name``, the most similar first."""
    return get_close_matches(name[:_LONGEST_NAME].lower(), _DOCUMENTED_NAMES, n=limit, cutoff=0.7)


__all__ = [
    "FAMILIES",
    "REGISTRY",
    "Argument",
    "ArgumentKind",
    "Field",
    "FieldType",
    "Multiplicity",
    "Stage",
    "documented",
    "key",
    "lookup",
    "similar",
]
