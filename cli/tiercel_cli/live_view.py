"""Shows alerts on a terminal: coloured, wrapped, and without characters that control the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from tiercel_agent.sinks.model import ItemSink
from tiercel_engine.alert import Alert
from tiercel_engine.event import Event
from tiercel_engine.printable import printable
from tiercel_engine.priority import Priority

SHOWN_FIELDS = ("proc.name", "proc.pid", "container.id", "container.name", "k8s.ns.name", "k8s.pod.name")
"""The fields that the view shows in addition to the alert."""

_STYLES = {
    Priority.EMERGENCY: "bold white on red",
    Priority.ALERT: "bold white on red",
    Priority.CRITICAL: "bold red",
    Priority.ERROR: "red",
    Priority.WARNING: "yellow",
    Priority.NOTICE: "cyan",
    Priority.INFORMATIONAL: "blue",
    Priority.DEBUG: "dim",
}
_INDENT = 14


@dataclass(frozen=True, slots=True)
class Sighting:
    """An alert, with the process and the container that it is about, "" if unknown."""

    alert: Alert
    process: str = ""
    container: str = ""


def sighting(alert: Alert, event: Event | None) -> Sighting:
    """What the view shows of an alert; ``event`` is the event that raised it, if there is one."""
    if event is None:
        return Sighting(alert)
    name, pid, id_, container, namespace, pod = (event[key] for key in SHOWN_FIELDS)
    process = "" if name is None else str(name) + ("" if pid is None else f"[{pid!s}]")
    place = [str(part) for part in (namespace, pod, container or id_) if part is not None]
    return Sighting(alert, process, "/".join(place))


class LiveView:
    """An output to a terminal. The tool's own messages appear between the alerts."""

    def __init__(self, terminal: TextIO, width: int | None = None) -> None:
        self._console = Console(file=terminal, width=width, markup=False, highlight=False, emoji=False)

    def sink(self) -> ItemSink[Sighting]:
        return ItemSink(send=self.write, batch=256)

    def write(self, items: Sequence[Sighting]) -> None:
        for item in items:
            self._console.print(_headline(item))
            self._console.print(
                Padding(Text(printable(item.alert.output), overflow="fold"), (0, 0, 0, _INDENT), expand=False)
            )

    def say(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(Text(printable(line), style="dim", overflow="fold"))


def _headline(item: Sighting) -> Text:
    alert = item.alert
    seconds, nanoseconds = divmod(alert.time, 1_000_000_000)
    time = datetime.fromtimestamp(seconds).astimezone()
    parts: list[tuple[str, str]] = [
        (f"{time:%H:%M:%S}.{nanoseconds // 1_000_000:03d}  ".ljust(_INDENT), "dim"),
        (alert.priority.title.ljust(9) + "  ", _STYLES[alert.priority]),
        (printable(alert.rule), "bold"),
    ]
    if item.process:
        parts.append((f"  {printable(item.process)}", "green"))
    if item.container:
        parts.append((f"  {printable(item.container)}", "magenta"))
    return Text.assemble(*parts, overflow="fold")
