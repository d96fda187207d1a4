"""What tests of delivery share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from agent_support.logged import logged


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The lines that the agent's log gets meanwhile."""
    with logged() as lines:
        yield lines
