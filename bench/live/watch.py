"""A contestant at work: what it prints, what it costs, and its end."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bench.live.processes import BenchError, LineReader, cpu_seconds, peak_memory, running
from bench.live.stage import FLOOD

BUSY = 0.2
"""The part of a core above which a contestant counts as still working off what it was given."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What a contestant tells at its end; None is what it doesn't tell. ``lost`` events and alerts in all and by cause,
    events ``seen`` in user space, system calls ``stopped`` in the kernel because no rule can match them."""

    lost: int | None
    causes: Mapping[str, int]
    seen: int | None
    stopped: int | None


class Watch:
    """``started`` is the CLOCK_MONOTONIC ns before its process was started."""

    def __init__(
        self, process: subprocess.Popen[bytes], started: int, command: str, ending: Callable[[Watch], Ending]
    ) -> None:
        self.started = started
        self.alerts = LineReader(process.stdout, FLOOD.encode())
        self.messages = LineReader(process.stderr)
        self._process = process
        self._command = command
        self._ending = ending

    def cpu_seconds(self) -> float:
        if self._process.poll() is not None:
            raise self._gone()
        return cpu_seconds(self._process.pid)

    def peak_memory(self) -> int:
        """Bytes."""
        return peak_memory(self._process.pid)

    def ended_with(self) -> int | None:
        """The exit status of a process that has ended."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(0.5)
        return None

    def settle(self, seconds: float = 5) -> None:
        """Waits until what it was given has been worked off, so long at most."""
        end = time.monotonic() + seconds
        before, moment = self.cpu_seconds(), time.monotonic()
        while moment < end:
            time.sleep(0.05)
            now, later = self.cpu_seconds(), time.monotonic()
            if now - before < BUSY * (later - moment):
                return
            before, moment = now, later

    def alerts_of(self, rule: str) -> list[tuple[int, str]]:
        """The CLOCK_MONOTONIC ns at which alerts of a rule about planted files could be read, and their files."""
        marked = [(moment, json.loads(line)) for moment, line in list(self.alerts.lines) if rule.encode() in line]
        return [(moment, alert["output_fields"]["fd.name"]) for moment, alert in marked if alert["rule"] == rule]

    def finish(self, seconds: float = 60) -> Ending:
        """Ends it as Ctrl-C does."""
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
