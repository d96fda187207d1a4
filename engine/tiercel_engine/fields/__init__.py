"""The one registry of fields: validation, documentation, evaluation and compilers read it."""

from __future__ import annotations

from collections.abc import Mapping

from tiercel_engine.fields.model import Argument, ArgumentKind, Field, FieldType, Multiplicity, Stage, key

REGISTRY: Mapping[str, Field] = {}
"""Every field by name, in the order of the documentation."""


def lookup(name: str) -> Field | None:
    """The field of that name, or None. ``evt.arg.<name>`` is a family: any name after it is a field."""
    return REGISTRY.get(name)


__all__ = ["REGISTRY", "Argument", "ArgumentKind", "Field", "FieldType", "Multiplicity", "Stage", "key", "lookup"]
