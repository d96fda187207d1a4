"""Tests of rules as they were read, and what came of running them."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_engine.condition import Node
from tiercel_engine.diagnostics import Diagnostic, Location
from tiercel_engine.event import Event


@dataclass(frozen=True, slots=True)
class RuleTest:
    """An event, and the names of the rules that must match it."""

    name: str
    event: Event
    expect: tuple[str, ...]
    location: Location


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of one manifest. ``rules`` are the names of the rules that it defines or changes, ``scope`` is the
    condition that says where they watch, None for everywhere."""

    rules: tuple[str, ...]
    scope: Node | None
    tests: tuple[RuleTest, ...]


@dataclass(frozen=True, slots=True)
class RuleTests:
    """The good tests of one or several files, and what is wrong with others.

    ``untested`` are the names of the files in which no test stands.
    """

    suites: tuple[Suite, ...] = ()
    errors: tuple[Diagnostic, ...] = ()
    untested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a test. Texts hold what the manifest says: escape them before printing.

    ``matched`` are the rules of the manifest that match the event. ``missing`` of them should have and didn't,
    ``unexpected`` did and should not have; ``message`` tells why, and is "" for a test that passed.
    """

    test: RuleTest
    passed: bool
    matched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    message: str = ""
