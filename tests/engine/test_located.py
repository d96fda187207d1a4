from __future__ import annotations

import re

import pytest

from tiercel_engine.located import located
from tiercel_engine.suggestions import Suggester
from tiercel_engine.units import parse_duration


def test_an_error_of_our_own_is_where_it_was_raised() -> None:
    with pytest.raises(ValueError, match="not a duration") as caught:
        parse_duration("soon")
    assert re.fullmatch(r"ValueError at tiercel_engine/units\.py:\d+", located(caught.value))


def test_an_error_of_a_library_is_there_and_at_the_line_that_led_to_it() -> None:
    with pytest.raises(ValueError, match="cutoff") as caught:
        Suggester().similar("x", [], cutoff=2.0)
    text = located(caught.value)
    assert re.fullmatch(r"ValueError at \S*difflib\.py:\d+, called at tiercel_engine/suggestions\.py:\d+", text), text


def test_an_error_that_was_never_raised_has_only_a_type() -> None:
    assert located(KeyError("secret")) == "KeyError"
