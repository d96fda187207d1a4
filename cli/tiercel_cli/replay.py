"""``tiercel replay``: evaluates recorded events with rules, without a kernel."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import gethostname
from typing import BinaryIO

import click

from tiercel_engine.alert import alert_json, alert_text
from tiercel_engine.diagnostics import render
from tiercel_engine.event import Event
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.printable import printable
from tiercel_engine.rendering.alerts import make_alert
from tiercel_engine.rendering.output import compile_output
from tiercel_engine.replay import Malformed, read_events, read_lines
from tiercel_engine.rule import Rule
from tiercel_engine.rules import load, read_rules

_SHOWN_MALFORMED = 20


@click.command()
@click.argument("events", nargs=-1, required=True, metavar="EVENTS…")
@click.option(
    "-r",
    "--rules",
    "rules_paths",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A rules file, or a folder of rules files. Can be repeated; the order matters.",
)
@click.option("--json", "as_json", is_flag=True, help="Print alerts as JSON, one a line.")
@click.option("--summary", is_flag=True, help="Print counts at the end, with --json on standard error.")
def replay(events: tuple[str, ...], rules_paths: tuple[Path, ...], as_json: bool, summary: bool) -> None:
    """Evaluate recorded events against rules, without a kernel.

    EVENTS are files of JSON Lines, as `tiercel detect --record` writes them; `-` is standard input. Alerts are printed
    in the order of the events. A line that is not an event is reported and skipped, and the exit status is 1. If the
    rules have errors, nothing is replayed and the exit status is 1.
    """
    rules = _load(rules_paths)
    with ExitStack() as stack:
        files = [(name, _open(name, stack)) for name in events]
        run = _Run(rules, as_json)
        for name, file in files:
            run.replay(file, name)
    if run.malformed > _SHOWN_MALFORMED:
        click.echo(f"… and {run.malformed - _SHOWN_MALFORMED} more lines that hold no event", err=True)
    if summary:
        for line in run.summary():
            click.echo(line, err=as_json)  # standard output has JSON only
    if run.malformed:
        raise SystemExit(1)


def _load(paths: tuple[Path, ...]) -> tuple[Rule, ...]:
    """The rules. If they have errors, prints them and exits with status 1."""
    files, unreadable = read_rules(paths)
    loaded = load(files)
    errors = (*unreadable, *loaded.errors)
    for error in errors:
        click.echo(render(error, colour=sys.stderr.isatty()), err=True)
    if errors:
        click.echo(f"{len(errors)} error{'s' if len(errors) > 1 else ''} in the rules: nothing is replayed.", err=True)
        raise SystemExit(1)
    return loaded.rules


def _open(name: str, stack: ExitStack) -> BinaryIO:
    if name == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(Path(name).open("rb", buffering=1 << 20))
    except OSError as error:
        click.echo(f"Error: cannot read {printable(name)}: {error.strerror}", err=True)
        raise SystemExit(1) from None


def _lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The lines of a file. If it cannot be read, prints the error and exits with status 1."""
    try:
        yield from read_lines(file)
    except OSError as error:
        click.echo(f"Error: cannot read {printable(name)}: {error.strerror}", err=True)
        raise SystemExit(1) from None


class _Run:
    """Replays files, prints their alerts and counts them."""

    def __init__(self, rules: tuple[Rule, ...], as_json: bool) -> None:
        self._matcher = Matcher(rules)
        self._outputs = {rule.name: compile_output(rule.output) for rule in rules if rule.enabled}
        self._as_json = as_json
        self._hostname = gethostname()
        self._alerts: Counter[str] = Counter()
        self._events = 0
        self.malformed = 0

    def replay(self, file: BinaryIO, name: str) -> None:
        match = self._matcher.match
        for event in read_events(_lines(file, name), "standard input" if name == "-" else name):
            if isinstance(event, Malformed):
                self._report(event)
                continue
            self._events += 1
            for rule, view in match(event):
                self._alert(rule, view)

    def _alert(self, rule: Rule, event: Event) -> None:
        self._alerts[rule.name] += 1
        hostname = event["evt.hostname"]
        output = self._outputs[rule.name]
        alert = make_alert(rule, event, output, hostname if isinstance(hostname, str) else self._hostname)
        click.echo(alert_json(alert) if self._as_json else alert_text(alert))

    def _report(self, malformed: Malformed) -> None:
        self.malformed += 1
        if self.malformed <= _SHOWN_MALFORMED:
            click.echo(f"Error: {printable(str(malformed))}", err=True)

    def summary(self) -> Iterator[str]:
        """Lines with the counts: what was read, then the alerts of each rule, the most frequent first."""
        yield f"{self._events} events, {self._alerts.total()} alerts, {self.malformed} malformed lines"
        width = len(str(max(self._alerts.values(), default=0)))
        for name, count in sorted(self._alerts.items(), key=lambda entry: (-entry[1], entry[0])):
            yield f"{count:>{width}}  {printable(name)}"
