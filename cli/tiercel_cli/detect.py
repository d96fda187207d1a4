"""``tiercel detect``: watches this machine in the foreground and prints alerts."""

from __future__ import annotations

import math
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TextIO

import click

from tiercel_agent.config import default_hostname
from tiercel_agent.delivery.dispatcher import Dispatcher
from tiercel_agent.delivery.fan_out import FanOut, local_worker
from tiercel_agent.delivery.queues.spool_folders import SpoolSettings
from tiercel_agent.detection.detector import open_detector
from tiercel_agent.detection.partial import restrictions
from tiercel_agent.detection.source import EventSource
from tiercel_agent.detection.watch import FLOOD_LIMIT
from tiercel_agent.evaluation.loop import EngineLoop
from tiercel_agent.evaluation.rule_set import RuleSet, default_rules, load_rule_set, showing
from tiercel_agent.kernel.bytecode.provider import usual_programs
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.logs import send_warnings_to
from tiercel_agent.sinks.factory import check_sink, open_sink
from tiercel_agent.sinks.local.outputs import FileConfig, StdoutConfig, open_output
from tiercel_agent.sinks.local.streams import file_sink
from tiercel_agent.sinks.model import BadSink, Place, SinkSettings
from tiercel_agent.sinks.urls import FORMS, sink_of_url
from tiercel_agent.workloads.settings import WorkloadSettings, found_here
from tiercel_cli.live_view import SHOWN_FIELDS, LiveView, sighting
from tiercel_cli.options import CANNOT_WATCH, read_duration, rules_option, workload_options
from tiercel_engine.diagnostics import render
from tiercel_engine.printable import printable
from tiercel_engine.priority import Priority
from tiercel_engine.replay import write_event

_RECORDED = 65536
"""Events that wait to be written to a recording, at most."""


def _read_priority(_ctx: click.Context, _param: click.Parameter, value: str) -> Priority:
    priority = Priority.parse(value)
    if priority is None:
        raise click.BadParameter(f"{value!r} is no priority: one of {', '.join(Priority.__members__)}")
    return priority


@click.command()
@rules_option
@click.option("--json", "as_json", is_flag=True, help="Print alerts as JSON, one a line.")
@click.option(
    "--for", "seconds", metavar="TIME", callback=read_duration, help="Stop after this time: 500ms, 10s, 2m, 1h …"
)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Also append the alerts to FILE.")
@click.option(
    "--sink",
    "sinks",
    multiple=True,
    metavar="URL",
    help="Also send the alerts to this sink. Can be repeated. `--sink help` lists the forms of URLs.",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Append the events that reach user space to FILE, for `tiercel replay`.",
)
@click.option("--keep-going", is_flag=True, help="Run the good rules even if others have errors.")
@click.option(
    "--priority",
    callback=_read_priority,
    default="DEBUG",
    metavar="PRIORITY",
    help="Leave out rules with a lower priority than this.",
)
@click.option(
    "--rule-matching",
    type=click.Choice(["all", "first"]),
    default="all",
    show_default=True,
    help="Whether an event raises an alert for each rule that it matches, or for the first one.",
)
@click.option(
    "--flood-limit",
    type=click.IntRange(min=0),
    default=FLOOD_LIMIT,
    show_default=True,
    metavar="N",
    help="The most alerts in a second for matches of one rule in one cgroup. The kernel counts further matches, and "
    "one alert reports their number. 0: no limit.",
)
@click.option(
    "-t", "--tag", "tags", multiple=True, metavar="TAG", help="Run only rules with this tag. Can be repeated."
)
@workload_options
def detect(
    *,
    paths: tuple[Path, ...],
    as_json: bool,
    seconds: float | None,
    output: Path | None,
    sinks: tuple[str, ...],
    record: Path | None,
    keep_going: bool,
    priority: Priority,
    rule_matching: str,
    flood_limit: int,
    tags: tuple[str, ...],
    sockets: tuple[Path, ...],
    kubeconfig: Path | None,
    node: str,
) -> None:
    """Watch this machine's system calls and print alerts.

    On a terminal, alerts are shown in a live view. Otherwise standard output has one alert in each line and nothing
    else. When detection has started, a line that begins with "watching" is written. At the end (Ctrl-C, SIGTERM,
    --for), a summary follows.
    """
    wanted = _read_sinks(sinks)
    rules = load_rule_set(
        paths or (default_rules(),), priority=priority, first_match=rule_matching == "first", tags=tags
    )
    _refuse_bad_rules(rules, keep_going=keep_going)
    view = LiveView(sys.stdout) if sys.stdout.isatty() and not as_json else None
    say = view.say if view is not None else _to_stderr
    send_warnings_to(lambda line: say([f"Warning: {line}"]))
    workloads = found_here(sockets, kubeconfig, node)
    outputs = FanOut(_dispatcher(wanted, workloads) if wanted else None)
    try:
        file = open_output(FileConfig(output), json=as_json) if output else None
        recording = file_sink(record, write_event) if record else None
    except OSError as error:
        raise click.ClickException(f"cannot write {printable(str(error.filename))}: {error.strerror}") from error
    try:
        source = open_detector(
            showing(rules.requirements, SHOWN_FIELDS) if view else rules.requirements,
            () if recording else rules.rules,  # a recording needs every event, so the kernel drops none
            flood_limit,
            workloads=workloads,
            programs=usual_programs(),
        )
    except DetectorError as error:
        _to_stderr([f"Error: {error}", *error.log.splitlines()])
        sys.exit(CANNOT_WATCH)
    if view is not None:
        outputs.add_view("terminal", view.sink(), sighting)
    else:
        outputs.add("stdout", open_output(StdoutConfig(), json=as_json))
    if file is not None:
        outputs.add("file", file)
    events = local_worker("recording", recording, _RECORDED) if recording is not None else None
    loop = EngineLoop(
        source,
        rules,
        outputs,
        hostname=default_hostname(),
        recording=events,
    )
    try:
        stop = _StopSignals()
        say(_start_lines(source, rules))
        _watch(loop, outputs, seconds, stop)
        loop.finish()
        say(loop.summary().lines())
    finally:
        source.close()


def _read_sinks(urls: Sequence[str]) -> list[SinkSettings]:
    if "help" in urls:
        click.echo(FORMS, nl=False)
        sys.exit(0)
    try:
        return [sink_of_url(url, f"{number + 1}") for number, url in enumerate(urls)]
    except BadSink as error:
        raise click.BadParameter(str(error), param_hint="--sink") from error


def _dispatcher(sinks: Sequence[SinkSettings], workloads: WorkloadSettings) -> Dispatcher:
    place = Place.of(default_hostname(), workloads)
    try:
        for sink in sinks:
            check_sink(sink, place)
    except BadSink as error:
        raise click.BadParameter(str(error), param_hint="--sink") from error
    dispatcher = Dispatcher(lambda settings: open_sink(settings, place), SpoolSettings())
    dispatcher.use(sinks)
    return dispatcher


def _refuse_bad_rules(rules: RuleSet, *, keep_going: bool) -> None:
    for error in rules.errors:
        click.echo(render(error, colour=sys.stderr.isatty()), err=True)
    if rules.errors and not keep_going:
        count = len(rules.errors)
        click.echo(f"{count} error{'s' * (count > 1)}: nothing is started. --keep-going runs the good rules.", err=True)
        sys.exit(1)
    if not rules.rules:
        click.echo(
            "Error: no rule is left to run: check --priority and --tag, and `enabled` and `source` of the rules.",
            err=True,
        )
        sys.exit(1)


def _start_lines(source: EventSource, rules: RuleSet) -> list[str]:
    counts = [
        f"{len(rules.rules)} rules",
        f"{len(source.counters().system_calls)} system calls",
        f"{len(rules.warnings)} warnings" + (" (tiercel lint shows them)" if rules.warnings else ""),
    ]
    if rules.errors:
        counts.append(f"{len(rules.errors)} errors")
    return [*(f"Warning: {line}" for line in restrictions(source)), f"watching: {', '.join(counts)}"]


def _watch(loop: EngineLoop, outputs: FanOut, seconds: float | None, stop: _StopSignals) -> None:
    """Watches until a signal comes, the time is over, or the reader of standard output is gone."""
    gone = _reader_gone(sys.stdout)
    end = time.monotonic() + (math.inf if seconds is None else seconds)
    while not stop.came and not outputs.ended and not gone():
        left = end - time.monotonic()
        if left <= 0:
            return
        loop.turn(min(left, 0.2))
        if stop.reopen:
            stop.reopen = False
            outputs.reopen()


class _StopSignals:
    """The first Ctrl-C or SIGTERM ends watching, the second one ends the process."""

    def __init__(self) -> None:
        self.came = False
        self.reopen = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGUSR1, self._reopen)

    def _stop(self, number: int, _frame: object) -> None:
        self.came = True
        signal.signal(number, signal.SIG_DFL)

    def _reopen(self, _number: int, _frame: object) -> None:
        self.reopen = True


def _reader_gone(stream: TextIO) -> Callable[[], bool]:
    """A function that says whether the other end of a pipe is closed.

    Without it, the end of `head` in `| head` would be noticed only at the next alert.
    """
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return lambda: any(state & (select.POLLERR | select.POLLHUP) for _, state in poll.poll(0))


def _to_stderr(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(printable(line), err=True)
