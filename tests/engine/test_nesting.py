"""JSON that is nested as deeply as the API server stores it."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.nesting import MOST_LEVELS, READ_LEVELS, bounded, read_json, too_deep

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


def levels(value: Any) -> int:
    """How many levels of collections a value has."""
    count, waiting = 0, [value]
    while waiting := [each for each in waiting if isinstance(each, (list, dict))]:
        waiting = [inner for each in waiting for inner in (each.values() if isinstance(each, dict) else each)]
        count += 1
    return count


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


@given(JSON)
def test_what_is_nested_as_usual_is_read_as_it_is(value: Any) -> None:
    assert read_json(json.dumps(value).encode()) == value
    assert bounded(value) == value
    assert too_deep(value) == ""


@pytest.mark.parametrize("depth", [300, 1000, 9_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"]\\"}": [1, ', "]}]")])
def test_of_what_is_nested_deeply_the_first_levels_are_kept(depth: int, opening: str, closing: str) -> None:
    inner = "1" if opening.startswith("{") else ""
    deep = opening * depth + (inner or "[]") + closing * depth
    text = f'{{"items": [{{"name": "a]]]"}}, {{"name": "b", "deep": {deep}, "rest": "]"}}, {{"name": "c"}}]}}'
    value = read_json(text.encode())
    one, other, last = value["items"]
    assert (one, last) == ({"name": "a]]]"}, {"name": "c"})
    assert (other["name"], other["rest"]) == ("b", "]")
    assert levels(value) == READ_LEVELS
    assert too_deep(other) != "", "what was cut can still be told"
    assert orjson.loads(orjson.dumps(value)) == value


def test_what_is_no_json_is_an_error() -> None:
    for text in (b"", b"[", b'{"a"', b"\xff", b"[" * 5000, b'"' + b"\\" * 999):
        with pytest.raises(ValueError, match=r"."):
            read_json(text)


def test_what_is_no_json_takes_no_longer_than_other_text() -> None:
    """Each quotation mark could begin a string that has no end."""
    for text in (b'"' + b'\\"' * 1_000_000, b'["' * 1_000_000, b'"\\' * 1_000_000):
        with pytest.raises(ValueError, match=r"."):
            read_json(text)


def test_a_copy_is_plain_and_bounded() -> None:
    deep: Any = ()
    for _ in range(5000):
        deep = MappingProxyType({"a": (deep,)})
    copy = bounded(deep)
    assert levels(copy) == READ_LEVELS
    assert orjson.dumps(copy)


def test_the_place_and_the_limit_are_told() -> None:
    spec = {"rules": [{"rule": "r", "exceptions": [{"values": json.loads(nested(MOST_LEVELS - 6))}]}]}
    assert too_deep({"spec": spec}) == ""
    spec["rules"].append({"exceptions": [{"values": json.loads(nested(MOST_LEVELS - 5))}]})
    assert too_deep({"spec": spec}) == "spec.rules[1].exceptions[0].values[0][0]… is nested deeper than 64 levels"
