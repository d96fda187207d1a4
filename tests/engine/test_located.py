from __future__ import annotations

import re

import pytest

from tiercel_engine.located import located
from tiercel_engine.units import seconds


def test_an_error_of_our_own_is_where_it_was_raised() -> None:
    with pytest.raises(ValueError, match="no duration") as caught:
        seconds("soon")
    assert re.fullmatch(r"ValueError at tiercel_engine/units\.py:\d+", located(caught.value))


def test_an_error_of_a_library_is_there_and_at_the_line_that_led_to_it() -> None:
    with pytest.raises(TypeError) as caught:
        seconds(3)  # type: ignore[arg-type]
    text = located(caught.value)
    assert re.fullmatch(r"TypeError at re/__init__\.py:\d+, called at tiercel_engine/units\.py:\d+", text), text


def test_an_error_that_was_never_raised_has_only_a_type() -> None:
    assert located(KeyError("secret")) == "KeyError"
