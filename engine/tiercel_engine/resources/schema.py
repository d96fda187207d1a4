"""Frozen dataclasses as a structural OpenAPI schema, as a CustomResourceDefinition has it.

The types say most of it; what they can't say stands beside them::

    name: str = field(metadata=says("The test's name.", max_length=256))
    by: tuple[Annotated[str, Says(max_length=128)], ...] = field(default=(), metadata=says("Fields."))

A field without a default is required. A Python default stays in Python: the API server adds nothing to what was
applied, unless ``says(default=…)`` has it do so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, ParamSpec, Union, get_args, get_origin, get_type_hints

Schema = dict[str, Any]

_P = ParamSpec("_P")

_KEY: Final = "says"
_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_SCALARS: Mapping[object, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number"},
    object: {_PRESERVE: True},
}


@dataclass(frozen=True, slots=True)
class Cel:
    """A rule in CEL on ``self``, and what is told when it is false. Older API servers than 1.25 take no notice of it.

    Keys that aren't declared, and values without a type, can't be seen by it.
    """

    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Says:
    """What a schema says besides the type. What is None isn't said.

    ``name`` is the key in JSON, where it isn't the Python name in camelCase; ``map_keys`` tell a list's entries apart;
    ``keeps_unknown``: the API server leaves keys in that it doesn't know, for who reads them to refuse.
    """

    description: str | None = None
    _: KW_ONLY
    name: str | None = None
    default: object = None
    format: Literal["date-time"] | None = None
    pattern: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    min_properties: int | None = None
    max_properties: int | None = None
    nullable: bool | None = None
    keeps_unknown: bool = False
    map_keys: tuple[str, ...] | None = None
    validations: tuple[Cel, ...] | None = None

    def keywords(self) -> Schema:
        found = {_camel_case(each.name): getattr(self, each.name) for each in fields(self) if each.name not in _SPECIAL}
        found = {key: value for key, value in found.items() if value is not None}
        if self.map_keys:
            found |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(self.map_keys)}
        if self.keeps_unknown:
            found |= {_PRESERVE: True}
        return found | _validations(self.validations or ())


_SPECIAL: Final = frozenset({"name", "map_keys", "validations", "keeps_unknown"})


def _as_metadata(make: Callable[_P, Says]) -> Callable[_P, Mapping[str, Says]]:
    return lambda *args, **kwargs: {_KEY: make(*args, **kwargs)}


says = _as_metadata(Says)
"""The same as a dataclass field's metadata."""


def exactly_one(names: Iterable[str]) -> str:
    """A CEL expression that is true if one of the properties is there, and no other of them."""
    return " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names) + " == 1"


def schema_of(kind: object) -> Schema:
    """The schema of a type: a dataclass, or what its fields may be."""
    if kind in _SCALARS:
        return dict(_SCALARS[kind])
    arguments = get_args(kind)
    match get_origin(kind):
        case origin if origin is Annotated:
            found = schema_of(arguments[0])
            for note in arguments[1:]:
                found |= note.keywords()
            return found
        case origin if origin in (Union, UnionType):
            return _union([each for each in arguments if each is not NoneType])
        case origin if origin is tuple:
            return {"type": "array", "items": schema_of(arguments[0]), "x-kubernetes-list-type": "atomic"}
        case origin if origin is Mapping:
            if arguments[1] is object:
                return {"type": "object", _PRESERVE: True}
            return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"type": "string", "enum": [member.value for member in kind]}
    if isinstance(kind, type) and is_dataclass(kind):
        return _object(kind)
    raise TypeError(f"no schema for {kind!r}")


@dataclass(frozen=True, slots=True)
class Member:
    """A dataclass's field, as its schema and its JSON have it."""

    name: str
    key: str
    """In JSON."""
    type: object
    required: bool
    default: object
    says: Says


@cache
def members(kind: type) -> tuple[Member, ...]:
    types = get_type_hints(kind, include_extras=True)
    return tuple(_member(field, types[field.name]) for field in fields(kind))


def _member(field: Field[Any], kind: object) -> Member:
    said: Says = field.metadata.get(_KEY, Says())
    required = field.default is MISSING
    return Member(field.name, said.name or _camel_case(field.name), kind, required, field.default, said)


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _object(kind: type) -> Schema:
    found: Schema = {"type": "object", "description": " ".join((inspect.getdoc(kind) or "").split())}
    required = [member.key for member in members(kind) if member.required]
    if required:
        found["required"] = required
    found["properties"] = {member.key: schema_of(member.type) | member.says.keywords() for member in members(kind)}
    return found | _validations(getattr(kind, "VALIDATIONS", ()))


def _union(choices: list[object]) -> Schema:
    if set(choices) == {int, str}:
        return {"x-kubernetes-int-or-string": True}
    (only,) = choices
    return schema_of(only)


def _validations(rules: Iterable[Cel]) -> Schema:
    found = [{"rule": each.rule, "message": each.message} for each in rules]
    return {"x-kubernetes-validations": found} if found else {}
