"""`tiercel test`: runs the tests in SecurityRule manifests."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from tiercel_engine.diagnostics import as_json, render
from tiercel_engine.printable import printable, valid
from tiercel_engine.replay import write_event
from tiercel_engine.rule_tests import Outcome, read_tests, run
from tiercel_engine.rules import load, read_rules

_MOST_OF_AN_EVENT = 500


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("as_object", "--json", is_flag=True, help="Print one JSON object: ok, tests, errors, untested.")
def test(paths: tuple[str, ...], as_object: bool) -> None:
    """Run the tests in spec.tests of SecurityRule manifests.

    The files are loaded together, in the order given, so that they share lists and macros. A folder stands for its
    .yaml and .yml files in alphabetical order.

    \b
    Exit status: 0 if all tests passed, 1 if one failed or a file has errors, 2 for wrong usage.
    """
    files, unread = read_rules(paths)
    loaded = load(files)
    tests = read_tests(files)
    errors = (*unread, *loaded.errors, *tests.errors)
    outcomes = run(tests, loaded.rules)
    ok = not errors and all(outcome.passed for outcome in outcomes)
    if as_object:
        result = {
            "ok": ok,
            "tests": [_object(outcome) for outcome in outcomes],
            "errors": [as_json(error) for error in errors],
            "untested": [valid(name) for name in tests.untested],
        }
        click.echo(json.dumps(result, indent=2))  # in ASCII, so that all kinds of control characters are escaped
    else:
        for error in errors:
            click.echo(render(error, colour=sys.stdout.isatty()))
        for outcome in outcomes:
            if not outcome.passed:
                for line in _shown(outcome):
                    click.echo(printable(line))
        click.echo(_summary(outcomes, len(errors), len(tests.untested)))
    sys.exit(0 if ok else 1)


def _fields(outcome: Outcome) -> dict[str, Any]:
    """The fields of the event, as in a recording."""
    fields: dict[str, Any] = json.loads(write_event(outcome.test.event))["fields"]
    return fields


def _object(outcome: Outcome) -> dict[str, Any]:
    test = outcome.test
    return {
        "name": valid(test.name),
        "file": valid(test.location.file),
        "line": test.location.line,
        "passed": outcome.passed,
        "event": _fields(outcome),
        "expected": [valid(name) for name in test.expect],
        "matched": [valid(name) for name in outcome.matched],
        "missing": [valid(name) for name in outcome.missing],
        "unexpected": [valid(name) for name in outcome.unexpected],
        "message": valid(outcome.message),
    }


def _shown(outcome: Outcome) -> Iterator[str]:
    test = outcome.test
    event = json.dumps(_fields(outcome), ensure_ascii=False)
    yield f"{test.location}: failed: {test.name}"
    yield f"    event:    {event if len(event) <= _MOST_OF_AN_EVENT else event[:_MOST_OF_AN_EVENT] + '…'}"
    yield f"    expected: {', '.join(test.expect) or 'none'}"
    yield f"    matched:  {', '.join(outcome.matched) or 'none'}"
    yield f"    why:      {outcome.message}"


def _summary(outcomes: tuple[Outcome, ...], errors: int, untested: int) -> str:
    passed = sum(outcome.passed for outcome in outcomes)
    parts = [_counted(len(outcomes), "test"), f"{passed} passed", f"{len(outcomes) - passed} failed"]
    if errors:
        parts.append(_counted(errors, "error"))
    if untested:
        parts.append(f"{_counted(untested, 'file')} without tests")
    return ", ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
