"""Tests of rules, and the outcomes of running them."""

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
    """The tests of one manifest. ``rules`` are the names of the rules that it defines or changes. ``scope`` is the
    condition of the manifest's scope, None for everything."""

    rules: tuple[str, ...]
    scope: Node | None
    tests: tuple[RuleTest, ...]


@dataclass(frozen=True, slots=True)
class RuleTests:
    """The good tests of one or several files, and the errors of the others.

    ``untested`` are the names of the files without tests.
    """

    suites: tuple[Suite, ...] = ()
    errors: tuple[Diagnostic, ...] = ()
    untested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a test. Its texts come from the manifest: escape them before printing.

    ``matched`` are the rules of the manifest that match the event. ``missing`` are expected rules that don't match,
    ``unexpected`` are matching rules that are not expected. ``message`` says why, and is "" if the test passed.
    """

    test: RuleTest
    passed: bool
    matched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    message: str = ""
