"""From frozen dataclasses to a structural OpenAPI schema for a CustomResourceDefinition.

The types say most of it. What they can't say stands beside them::

    name: str = field(metadata=says("The test's name.", max_length=256))
    by: tuple[Annotated[str, Says(max_length=128)], ...] = field(default=(), metadata=says("Fields."))

A field without a default is required. A Python default stays in Python: the API server adds nothing to an object that
is applied, unless ``says(default=…)`` says so.
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
    """A rule in CEL on ``self``, and the error message for when it is false. API servers before 1.25 ignore it.

    It can't see keys that aren't declared, nor values without a type.
    """

    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Says:
    """What a schema says in addition to the type. Attributes that are None are left out.

    ``name`` is the key in JSON, if it isn't the Python name in camelCase. ``map_keys`` are the keys by which entries of
    a list are told apart. With ``keeps_unknown`` the API server keeps keys that it doesn't know, so that the operator
    can refuse them.
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
        """The keywords of the schema."""
        given = {_camel_case(each.name): getattr(self, each.name) for each in fields(self) if each.name not in _SPECIAL}
        keywords = {key: value for key, value in given.items() if value is not None}
        if self.map_keys:
            keywords |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(self.map_keys)}
        if self.keeps_unknown:
            keywords |= {_PRESERVE: True}
        return keywords | _validations(self.validations or ())


_SPECIAL: Final = frozenset({"name", "map_keys", "validations", "keeps_unknown"})


def _as_metadata(make: Callable[_P, Says]) -> Callable[_P, Mapping[str, Says]]:
    return lambda *args, **kwargs: {_KEY: make(*args, **kwargs)}


says = _as_metadata(Says)
"""Makes a ``Says`` as the metadata of a dataclass's field."""


def exactly_one(names: Iterable[str]) -> str:
    """A CEL expression that is true if exactly one of the properties is there."""
    return " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names) + " == 1"


def schema_of(kind: object) -> Schema:
    """The schema of a dataclass, or of a type that its fields may have. Raises TypeError for another type."""
    if kind in _SCALARS:
        return dict(_SCALARS[kind])
    arguments = get_args(kind)
    match get_origin(kind):
        case origin if origin is Annotated:
            schema = schema_of(arguments[0])
            for note in arguments[1:]:
                schema |= note.keywords()
            return schema
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
    """A field of a dataclass, with what its schema and its JSON need."""

    name: str
    key: str
    """Its name in JSON."""
    type: object
    required: bool
    default: object
    says: Says


@cache
def members(kind: type) -> tuple[Member, ...]:
    """The fields of a dataclass."""
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
    schema: Schema = {"type": "object", "description": " ".join((inspect.getdoc(kind) or "").split())}
    required = [member.key for member in members(kind) if member.required]
    if required:
        schema["required"] = required
    schema["properties"] = {member.key: schema_of(member.type) | member.says.keywords() for member in members(kind)}
    return schema | _validations(getattr(kind, "VALIDATIONS", ()))


def _union(choices: list[object]) -> Schema:
    if set(choices) == {int, str}:
        return {"x-kubernetes-int-or-string": True}
    (only,) = choices
    return schema_of(only)


def _validations(rules: Iterable[Cel]) -> Schema:
    validations = [{"rule": each.rule, "message": each.message} for each in rules]
    return {"x-kubernetes-validations": validations} if validations else {}
