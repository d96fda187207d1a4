"""`tiercel lint`: checks rules files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import click

from tiercel_agent.filter.clauses import make_clauses
from tiercel_agent.filter.expense import expenses
from tiercel_engine.diagnostics import Diagnostic, Severity, as_json, render
from tiercel_engine.rule import Rule
from tiercel_engine.rules import load, read_rules

EXPENSIVE = "EXPENSIVE_RULE"
"""The code of a warning that Falco does not have."""


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("as_object", "--json", is_flag=True, help="Print one JSON object: ok, errors, warnings.")
def lint(paths: tuple[str, ...], as_object: bool) -> None:
    """Check rules files and SecurityRule manifests. They are loaded together, in the order given.

    A folder stands for its .yaml and .yml files in alphabetical order.

    \b
    Exit status: 0 without errors (warnings don't count), 1 with errors, 2 for wrong usage.
    """
    files, unread = read_rules(paths)
    loaded = load(files)
    errors = (*unread, *loaded.errors)
    warnings = (*loaded.warnings, *_expensive(loaded.rules))
    if as_object:
        result = {
            "ok": not errors,
            "errors": [as_json(error) for error in errors],
            "warnings": [as_json(warning) for warning in warnings],
        }
        click.echo(json.dumps(result, indent=2))  # in ASCII, so that all kinds of control characters are escaped
    else:
        colour = sys.stdout.isatty()
        for diagnostic in (*errors, *warnings):
            click.echo(render(diagnostic, colour=colour))
        counts = (len(loaded.rules), "rule"), (len(errors), "error"), (len(warnings), "warning")
        summary = ", ".join(_counted(number, noun) for number, noun in counts)
        click.echo(f"{_counted(len(files) + len(unread), 'file')}: {summary}")
    sys.exit(1 if errors else 0)


def _expensive(rules: Iterable[Rule]) -> list[Diagnostic]:
    """A warning for each rule for which the kernel has to pass ordinary calls on to user space."""
    watched = [rule for rule in rules if rule.enabled and rule.source == "syscall"]
    clauses = make_clauses(watched)
    left_out = [
        Diagnostic(
            Severity.WARNING,
            EXPENSIVE,
            "too many rules for the kernel: every call that this one asks for will go to user space",
            rule.location,
            "rule",
            rule.name,
        )
        for rule in watched
        if rule.key in clauses.left_out
    ]
    return left_out + [
        Diagnostic(
            Severity.WARNING,
            EXPENSIVE,
            f"expensive: {expense.message}",
            watched[position].location,
            "rule",
            watched[position].name,
            hint=expense.advice,
        )
        for position, expense in expenses(clauses, len(watched)).items()
    ]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
