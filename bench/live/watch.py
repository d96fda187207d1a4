"""A contestant that runs: what it prints, what it costs, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from bench.live.processes import BenchError, LineReader, cpu_seconds, peak_memory, running
from bench.live.stage import FLOOD

BUSY = 0.2
"""The part of a core above which a contestant counts as still working off what it was given."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What a contestant tells at its end; None is what it doesn't tell. ``lost`` events and alerts in all and by cause,
    events ``seen`` in user space, system calls ``stopped`` in the kernel because no rule can match them.

    ``passed_over`` lines stood among its alerts before it was told to end and weren't any. ``problem`` says why it
    doesn't tell the rest."""

    lost: int | None
    causes: Mapping[str, int]
    seen: int | None
    stopped: int | None
    passed_over: int = 0
    problem: str = ""

    def check(self) -> None:
        """Raises BenchError if there is a problem: to be called when what was measured is in a safe place."""
        if self.problem:
            raise BenchError(self.problem)


NOTHING_TOLD = Ending(None, {}, None, None)


class Alert(NamedTuple):
    """``moment`` is the CLOCK_MONOTONIC ns at which it could be read, ``file`` what its field fd.name says."""

    moment: int
    rule: str
    file: str


class Watch:
    """``started`` is the CLOCK_MONOTONIC ns before its process was started."""

    def __init__(
        self, process: subprocess.Popen[bytes], started: int, command: str, ending: Callable[[Watch], Ending]
    ) -> None:
        self.started = started
        self.alerts = LineReader(process.stdout, _of_the_flood)
        self.messages = LineReader(process.stderr)
        self._read = 0
        self._alerts: list[Alert] = []
        self._passed_over: list[bytes] = []
        self._process = process
        self._command = command
        self._ending = ending

    def cpu_seconds(self) -> float:
        if self._process.poll() is not None:
            raise self._gone()
        return cpu_seconds(self._process.pid)

    def peak_memory(self) -> int:
        """In bytes."""
        return peak_memory(self._process.pid)

    def ended_with(self) -> int | None:
        """The exit status of a process that has ended."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(0.5)
        return None

    def settle(self, seconds: float = 5) -> None:
        """Waits until it has worked off what it was given, at most that long."""
        end = time.monotonic() + seconds
        before, moment = self.cpu_seconds(), time.monotonic()
        while moment < end:
            time.sleep(0.05)
            now, later = self.cpu_seconds(), time.monotonic()
            if now - before < BUSY * (later - moment):
                return
            before, moment = now, later

    def all_alerts(self) -> Sequence[Alert]:
        """So far, without those of the flood. Whatever else stands among them is passed over."""
        lines = self.alerts.lines
        while self._read < len(lines):
            moment, line = lines[self._read]
            self._read += 1
            if (alert := _as_alert(moment, line)) is not None:
                self._alerts.append(alert)
            elif line.strip():
                self._passed_over.append(line)
        return self._alerts

    def alerts_of(self, rule: str) -> list[Alert]:
        return [alert for alert in self.all_alerts() if alert.rule == rule]

    def finish(self, seconds: float = 60) -> Ending:
        """Ends it as Ctrl-C does. If it doesn't end well, what it returns says so."""
        self.all_alerts()
        passed_over = len(self._passed_over)  # what it says at its end, in words, is no alert that couldn't be read
        try:
            ending = self._finished(seconds)
        except BenchError as error:
            ending = replace(NOTHING_TOLD, problem=str(error))
        return replace(ending, passed_over=passed_over)

    def _finished(self, seconds: float) -> Ending:
        if self._process.poll() is not None:
            raise self._gone()
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self._command} did not end within {seconds} s") from None
        for reader in (self.alerts, self.messages):
            reader.join(5)
        return self._ending(self)

    def _gone(self) -> BenchError:
        self.messages.wait_for(lambda: False, 1)
        return BenchError(f"{self._command} ended by itself: {self.messages.text().strip()}")


@contextmanager
def watch(command: Sequence[str], ending: Callable[[Watch], Ending]) -> Iterator[Watch]:
    started = time.monotonic_ns()
    with running(command, subprocess.PIPE, subprocess.PIPE) as process:
        yield Watch(process, started, command[0], ending)


def _of_the_flood(line: bytes) -> bool:
    """Whether a line is an alert of the flood: there are too many of them to read each as JSON."""
    return FLOOD.encode() in line and line.startswith(b"{") and line.endswith(b"}")


def _as_alert(moment: int, line: bytes) -> Alert | None:
    """The alert of a line; None if the line isn't an alert in JSON: a message, or a line that was cut."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or not isinstance(told.get("rule"), str):
        return None
    fields = told.get("output_fields")
    file = fields.get("fd.name") if isinstance(fields, dict) else None
    return Alert(moment, told["rule"], file if isinstance(file, str) else "")
