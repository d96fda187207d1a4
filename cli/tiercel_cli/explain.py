"""``tiercel explain``: shows where each test of a rule is made, and what the rule costs."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from shutil import get_terminal_size

import click

from tiercel_agent.evaluation.rule_set import RuleSet, default_rules, load_rule_set
from tiercel_agent.filter.explanation import Explanation
from tiercel_agent.filter.explanation import explain as explain_rules
from tiercel_cli.options import CANNOT_WATCH, read_duration, rules_option
from tiercel_engine.diagnostics import render
from tiercel_engine.printable import printable
from tiercel_engine.rule import Rule

_POLL = 0.2  # seconds
_COLUMN = 12


@click.command()
@rules_option
@click.option(
    "--live",
    "seconds",
    metavar="TIME",
    callback=read_duration,
    help="Watch this machine for this time, such as 10s, and show what the rules cost here.",
)
@click.argument("names", metavar="[RULE]...", nargs=-1)
def explain(*, paths: tuple[Path, ...], seconds: float | None, names: tuple[str, ...]) -> None:
    """Show where each test of a rule is made, and what the rule costs.

    \b
    kernel      tested in the kernel when the system call returns; calls that don't match end there
    process     tested once for each process, until the process or its ancestors change
    user space  tested in user space, so the kernel has to pass the call on

    RULE is the name of a rule, or a part of it. All rules are compiled together, as in `tiercel detect`.
    """
    rules = load_rule_set(paths or (default_rules(),))
    for error in rules.errors:
        click.echo(render(error, colour=sys.stderr.isatty()), err=True)
    explained = explain_rules(rules.rules)
    chosen = [explanation for explanation in explained if _is_meant(explanation.rule, names)]
    for name in names:
        if not any(_is_meant(explanation.rule, (name,)) for explanation in explained):
            click.echo(f"Error: no rule is called {printable(name)}", err=True)
            sys.exit(2)
    measured = _measure(rules, seconds) if seconds is not None else None
    width = get_terminal_size((100, 24)).columns
    for explanation in chosen:
        for line in [*_shown(explanation, width), *(measured.lines(explanation) if measured else ())]:
            click.echo(printable(line))
        click.echo()
    expensive = sum(explanation.expense is not None for explanation in chosen)
    click.echo(f"{len(chosen)} rules, {expensive} expensive")
    if measured:
        click.echo(measured.total)
    sys.exit(1 if rules.errors else 0)


def _is_meant(rule: Rule, names: Iterable[str]) -> bool:
    names = tuple(names)
    return not names or any(name.lower() in rule.name.lower() for name in names)


def _shown(explanation: Explanation, width: int) -> Iterable[str]:
    yield f"{explanation.rule.name}  ({explanation.rule.location})"
    yield f"  system calls: {', '.join(explanation.calls) or 'none'}"
    notes: dict[str, int] = {}
    for line in explanation.lines:
        text = "  " * line.depth + line.text
        room = max(30, width - _COLUMN - 6)
        mark = "*" * notes.setdefault(line.elsewhere, len(notes) + 1) if line.elsewhere else ""
        yield f"    {line.place + mark:<{_COLUMN}}  {text if len(text) <= room else text[: room - 1] + '…'}"
    for note, number in notes.items():
        yield f"    {'*' * number} {note}"
    if explanation.decided:
        yield f"  The kernel alone decides it for {', '.join(explanation.decided)}."
    if explanation.always_reported:
        yield f"  Every {' and '.join(explanation.always_reported)} is told to user space anyway."
    if explanation.expense is not None:
        yield f"  Expensive: {explanation.expense.message}."
        yield f"  Better: {explanation.expense.advice}."


class _Measured:
    """The counts of a live measurement."""

    def __init__(self, seen: Counter[str], passed: Counter[str], matched: Counter[str], total: str) -> None:
        self._seen, self._passed, self._matched = seen, passed, matched
        self.total = total

    def lines(self, explanation: Explanation) -> Sequence[str]:
        calls = self._seen.keys() if explanation.calls == ("all",) else explanation.calls
        seen = sum(self._seen[call] for call in calls)
        name = explanation.rule.name
        return [f"  Live: {seen} calls seen, {self._passed[name]} passed by the kernel, {self._matched[name]} matched"]


def _measure(rules: RuleSet, seconds: float) -> _Measured:
    # Imported here because without --live no kernel is needed.
    from tiercel_agent.detection.detector import open_detector  # noqa: PLC0415
    from tiercel_agent.kernel.bytecode.provider import usual_programs  # noqa: PLC0415
    from tiercel_agent.kernel.errors import DetectorError  # noqa: PLC0415
    from tiercel_agent.kernel.loading.libbpf import LibbpfError, enable_run_time_stats  # noqa: PLC0415

    try:
        detector = open_detector(rules.requirements, rules.rules, programs=usual_programs(), measuring=True)
        stats = enable_run_time_stats()
    except DetectorError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(CANNOT_WATCH)
    except LibbpfError as error:
        click.echo(f"Error: {error.strerror}", err=True)
        sys.exit(CANNOT_WATCH)
    matched: Counter[str] = Counter()
    received: Counter[str] = Counter()
    events, spent = 0, time.thread_time_ns()
    end = time.monotonic() + seconds
    click.echo(f"watching for {seconds:g} s …", err=True)
    while (left := end - time.monotonic()) > 0:
        for event in detector.poll(min(left, _POLL)):
            events += 1
            received[str(event["evt.type"])] += 1
            matched.update(rule.name for rule, _ in rules.matcher.match(event))
            detector.evaluated(event)
        for suppressed in detector.suppressed():
            matched[suppressed.rule] += suppressed.count
    spent = time.thread_time_ns() - spent
    measured = detector.measured()
    detector.close()
    os.close(stats)
    seen = Counter(measured.seen) | Counter({name: received[name] for name in ("execve", "execveat", "procexit")})
    total = (
        f"Kernel: {measured.runs} system calls, {measured.run_time / max(1, measured.runs):.0f} ns each, "
        f"some 50 of them for the measuring. User space: {events} events, {spent / 1000 / max(1, events):.0f} µs each."
    )
    return _Measured(seen, Counter(measured.passed), matched, total)
