"""From the models to the JSON of the API, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from tiercel_engine.resources.schema import members

_T = TypeVar("_T")


def to_json(value: Any) -> Any:
    """A model as dicts, lists and scalars. Optional keys whose value is the default are left out."""
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


def from_json(kind: type[_T], value: object) -> _T:
    """A model from the JSON of an object. Raises ValueError for JSON that the API server would have refused."""
    model: _T = _read(kind, value, "")
    return model


def _read(kind: Any, value: Any, where: str) -> Any:
    arguments = get_args(kind)
    match get_origin(kind):
        case origin if origin is Annotated:
            return _read(arguments[0], value, where)
        case origin if origin in (Union, UnionType):
            choices = tuple(each for each in arguments if each is not NoneType)
            return _read(choices[0], value, where) if len(choices) == 1 else _checked(choices, value, where)
        case origin if origin is tuple:
            _checked((list, tuple), value, where)
            return tuple(_read(arguments[0], each, f"{where}[{index}]") for index, each in enumerate(value))
        case origin if origin is Mapping:
            _checked((Mapping,), value, where)
            return {key: _read(arguments[1], each, f"{where}.{key}") for key, each in value.items()}
    if is_dataclass(kind):
        return _object(kind, value, where)
    if issubclass(kind, Enum):
        return kind(_checked((str,), value, where))
    return _checked((kind,), value, where)


def _object(kind: Any, value: Any, where: str) -> Any:
    _checked((Mapping,), value, where)
    values = {}
    for member in members(kind):
        if value.get(member.key) is not None:
            values[member.name] = _read(member.type, value[member.key], f"{where}.{member.key}")
        elif member.required:
            raise ValueError(f"{where}.{member.key} is missing")
    return kind(**values)


def _checked(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, kinds) or (isinstance(value, bool) and not {bool, object} & {*kinds}):
        raise ValueError(f"{where or 'it'} must be {' or '.join(each.__name__ for each in kinds)}")
    return value
