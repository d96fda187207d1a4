"""docs/reference is what the code says now."""

from __future__ import annotations

import pytest
from reference_pages import FOLDER, PAGES, page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says_now(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == page(name), "run `make reference` and commit what it wrote"


def test_there_is_no_page_that_nothing_makes() -> None:
    assert {file.name for file in FOLDER.iterdir()} == set(PAGES)
