"""Who watches: Tiercel (one or several builds of it), Falco and sysdig, by their command lines."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.live.processes import BenchError
from bench.live.stage import PLANTED, Stage
from bench.live.watch import NOTHING_TOLD, Ending, Watch, watch

NOBODY = "none"
FALCO_RULES = Path("/etc/falco/falco_rules.yaml")


class CannotWatch(BenchError):
    """Tiercel can't watch this machine; the message is Tiercel's own."""


class Contestant(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def program(self) -> str:
        """The path of its program."""
        ...

    @property
    def alerts(self) -> bool:
        """Whether it evaluates rules, and so can be asked for alerts about planted files."""
        ...

    def command(self, stage: Stage, rules: Sequence[Path]) -> list[str]:
        """How it is started; without ``rules``, with its usual ones and those about planted files."""
        ...

    def wait_until_ready(self, stage: Stage, watch: Watch) -> bool:
        """Waits for at most a minute. Returns whether it watches."""
        ...

    def ending(self, stage: Stage, watch: Watch) -> Ending:
        """What it reports as lost when it has ended."""
        ...


@contextmanager
def watching(contestant: Contestant, stage: Stage, rules: Sequence[Path] = ()) -> Iterator[Watch]:
    """Runs a contestant."""
    with watch(contestant.command(stage, rules), lambda running: contestant.ending(stage, running)) as running:
        if not contestant.wait_until_ready(stage, running):
            said = running.messages.text().strip() or "says nothing"
            # If there is a log, the programs don't load: then Tiercel is at fault, and not the machine.
            refused = isinstance(contestant, Tiercel) and running.ended_with() == Tiercel.CANNOT_WATCH
            if refused and "\n" not in said:
                raise CannotWatch(said.removeprefix("Error: "))
            raise BenchError(f"{contestant.name} does not start: {said}")
        yield running


@dataclass(frozen=True, slots=True)
class Tiercel:
    """``rules`` are its usual ones."""

    name: str
    program: str
    rules: Path
    alerts: bool = True

    CANNOT_WATCH = 3
    """Its exit status on a machine that it can't watch."""

    def command(self, stage: Stage, rules: Sequence[Path]) -> list[str]:
        options = [word for path in rules or (self.rules, stage.planted_rules) for word in ("-r", str(path))]
        return [self.program, "detect", "--json", *options]

    def wait_until_ready(self, stage: Stage, watch: Watch) -> bool:  # noqa: ARG002
        return watch.messages.wait_for(lambda: _watching_line(watch) is not None, 60)

    def ending(self, stage: Stage, watch: Watch) -> Ending:  # noqa: ARG002
        text = watch.messages.text()
        lost = re.search(r"^Lost: (.*)$", text, re.M)
        if lost is None:
            raise BenchError(f"{self.name} ended without its summary: {text.strip()}")
        causes = {cause: int(count) for count, cause in re.findall(r"(\d+) \(([^)]*)\)", lost[1])}
        seen = re.search(r"^Events seen: (\d+)(?:, stopped in the kernel: (\d+))?", text, re.M)
        return Ending(sum(causes.values()), causes, int(seen[1]) if seen else 0, int(seen[2] or 0) if seen else 0)

    def started_in(self, watch: Watch) -> float:
        """Seconds from the start of the process to its line `watching: …`."""
        moment = _watching_line(watch)
        assert moment is not None
        return (moment - watch.started) / 1e9


def _watching_line(watch: Watch) -> int | None:
    return next((moment for moment, line in watch.messages.lines if line.startswith(b"watching")), None)


@dataclass(frozen=True, slots=True)
class Falco:
    """With the rules that it comes with. They are not Tiercel's: its figures are those of Falco as it is installed."""

    program: str
    name: str = "falco"
    alerts: bool = True

    def command(self, stage: Stage, rules: Sequence[Path]) -> list[str]:
        options = {
            "engine.kind": "modern_ebpf",
            "json_output": "true",
            "stdout_output.enabled": "true",
            "syslog_output.enabled": "false",
            "webserver.enabled": "false",
            "metrics.enabled": "true",
            "metrics.interval": "1s",
            "metrics.output_rule": "false",
            "metrics.output_file": str(self._metrics(stage)),
            "metrics.kernel_event_counters_enabled": "true",
        }
        self._metrics(stage).unlink(missing_ok=True)
        settings = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        files = [word for path in rules or (FALCO_RULES, stage.planted_rules) for word in ("-r", str(path))]
        return [self.program, "-U", *settings, *files]

    def wait_until_ready(self, stage: Stage, watch: Watch) -> bool:
        # Its log differs between versions, so it counts as watching when it alerts.
        for _ in range(600):
            stage.plant(1, 0, "planted/file")
            if watch.alerts.wait_for(lambda: bool(watch.alerts_of(PLANTED)), 0.1):
                return True
            if watch.alerts.ended:
                return False
        return False

    def ending(self, stage: Stage, watch: Watch) -> Ending:  # noqa: ARG002
        try:
            lines = self._metrics(stage).read_text(errors="replace").splitlines()
        except OSError:
            return NOTHING_TOLD
        counts = next(filter(None, map(_counts, reversed(lines))), None)
        if counts is None:
            return NOTHING_TOLD
        names = {"scap.n_drops": "kernel buffer full", "falco.outputs_queue_num_drops": "output queue full"}
        causes = {names[name]: counts[name] for name in names if counts.get(name)}
        return Ending(sum(causes.values()), causes, counts.get("scap.n_evts"), None)

    def _metrics(self, stage: Stage) -> Path:
        return stage.folder / "falco-metrics.jsonl"


def _counts(line: str) -> dict[str, int] | None:
    """The counters of one line of Falco's metrics. None for a line that was cut, or that doesn't tell what was lost."""
    try:
        fields = json.loads(line)["output_fields"]
        counts = {name: count for name, count in fields.items() if isinstance(count, int)}
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return counts if "scap.n_drops" in counts else None


@dataclass(frozen=True, slots=True)
class Sysdig:
    """Reads events of the kinds that rules are about and prints a number for each, to /dev/null."""

    program: str
    name: str = "sysdig"
    alerts: bool = False

    EVENTS = "open,openat,openat2,execve,execveat,connect,unlink,unlinkat,rename,renameat,renameat2,ptrace,setuid"

    def command(self, stage: Stage, rules: Sequence[Path]) -> list[str]:  # noqa: ARG002
        filtered = [self.program, "--modern-bpf", "-v", "-p", "%evt.num", f"evt.type in ({self.EVENTS})"]
        return ["sh", "-c", 'exec "$@" >/dev/null', "sysdig", *filtered]

    def wait_until_ready(self, stage: Stage, watch: Watch) -> bool:  # noqa: ARG002
        # It prints nothing when it begins.
        time.sleep(3)
        return watch.ended_with() is None

    def ending(self, stage: Stage, watch: Watch) -> Ending:  # noqa: ARG002
        counters = dict(re.findall(r"Driver (Events|Drops): ?(\d+)", watch.messages.text()))
        lost = int(counters["Drops"]) if "Drops" in counters else None
        return Ending(lost, {"kernel buffer full": lost} if lost else {}, int(counters.get("Events", 0)), None)


def contestants(wanted: Sequence[str] | None, rules: Path) -> list[Contestant]:
    """The contestants of these names, or all that are installed. ``NAME=PATH`` is the Tiercel at PATH,
    called NAME."""
    own = Path(sys.executable).with_name("tiercel")
    installed: dict[str, Contestant] = {"tiercel": Tiercel("tiercel", str(own), rules)}
    if path := shutil.which("falco"):
        installed["falco"] = Falco(path)
    if path := shutil.which("sysdig"):
        installed["sysdig"] = Sysdig(path)
    if wanted is None:
        return list(installed.values())
    chosen: list[Contestant] = []
    for word in wanted:
        name, _, program = word.partition("=")
        if program:
            chosen.append(Tiercel(name, program, rules))
        elif name in installed:
            chosen.append(installed[name])
        elif name != NOBODY:
            raise BenchError(f"there is no contestant {name} here: {', '.join(installed)}, or NAME=PATH of a tiercel")
    return chosen
