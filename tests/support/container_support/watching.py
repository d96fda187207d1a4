"""What the fixture ``watch`` gives to tests."""

from __future__ import annotations

from collections.abc import Callable

from live_support.watching import Watching

Watch = Callable[..., Watching]
"""Begins to watch: with the text of rules, the paths of runtimes' sockets, and ``WorkloadSettings`` by keyword."""
