"""The models as the JSON of the API, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from tiercel_engine.resources.schema import members

_T = TypeVar("_T")


def to_json(value: Any) -> Any:
    """A model as dicts, lists and scalars. Optional keys that have their default are left out."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            member.key: to_json(each)
            for member in members(type(value))
            if (each := getattr(value, member.name)) != member.default or member.required
        }
    match value:
        case Enum():
            return value.value
        case tuple() | list():
            return [to_json(each) for each in value]
        case Mapping():
            return {key: to_json(each) for key, each in value.items()}
    return value


def from_json(kind: type[_T], found: object) -> _T:
    """A model from what the API server has, which has checked it. Raises ValueError for what it would have refused."""
    made: _T = _read(kind, found, "")
    return made


def _read(kind: Any, found: Any, where: str) -> Any:
    arguments = get_args(kind)
    match get_origin(kind):
        case origin if origin is Annotated:
            return _read(arguments[0], found, where)
        case origin if origin in (Union, UnionType):
            choices = tuple(each for each in arguments if each is not NoneType)
            return _read(choices[0], found, where) if len(choices) == 1 else _checked(choices, found, where)
        case origin if origin is tuple:
            _checked((list, tuple), found, where)
            return tuple(_read(arguments[0], each, f"{where}[{index}]") for index, each in enumerate(found))
        case origin if origin is Mapping:
            _checked((Mapping,), found, where)
            return {key: _read(arguments[1], each, f"{where}.{key}") for key, each in found.items()}
    if is_dataclass(kind):
        return _object(kind, found, where)
    if issubclass(kind, Enum):
        return kind(_checked((str,), found, where))
    return _checked((kind,), found, where)


def _object(kind: Any, found: Any, where: str) -> Any:
    _checked((Mapping,), found, where)
    values = {}
    for member in members(kind):
        if found.get(member.key) is not None:
            values[member.name] = _read(member.type, found[member.key], f"{where}.{member.key}")
        elif member.required:
            raise ValueError(f"{where}.{member.key} is missing")
    return kind(**values)


def _checked(kinds: tuple[Any, ...], found: Any, where: str) -> Any:
    if not isinstance(found, kinds) or (isinstance(found, bool) and not {bool, object} & {*kinds}):
        raise ValueError(f"{where or 'it'} must be {' or '.join(each.__name__ for each in kinds)}")
    return found
