"""The live tests that a run of few kernels leaves out are there, or a selection would say of tests what isn't so."""

from __future__ import annotations

import pytest
from guest_support.visits import SMOKE_FILES, SMOKE_LEAVES_OUT
from guests.places import CHECKOUT


@pytest.mark.parametrize("test", SMOKE_LEAVES_OUT)
def test_what_is_left_out_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert file in SMOKE_FILES
    assert f"\ndef {name.partition('[')[0]}(" in (CHECKOUT / file).read_text()
