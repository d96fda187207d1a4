"""Alerts on standard output and in a file, as the agent's own configuration and ``tiercel detect`` ask for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tiercel_agent.sinks.local.streams import file_sink, stream_sink
from tiercel_agent.sinks.model import Sink
from tiercel_engine.alert import Alert, alert_json, alert_text

STDOUT = 1
"""The descriptor."""


@dataclass(frozen=True, slots=True)
class StdoutConfig:
    """Alerts on standard output."""

    name = "stdout"


@dataclass(frozen=True, slots=True)
class FileConfig:
    """Alerts appended to a file; without ``keep_alive`` it is closed after each delivery."""

    path: Path
    keep_alive: bool = True
    name = "file"


OutputConfig = StdoutConfig | FileConfig


def open_output(config: OutputConfig, *, json: bool) -> Sink:
    """Raises OSError if the output can't be opened now."""
    encode = alert_line(json=json)
    if isinstance(config, FileConfig):
        return file_sink(config.path, encode, keep_alive=config.keep_alive)
    return stream_sink(STDOUT, encode)


def alert_line(*, json: bool) -> Callable[[Alert], bytes]:
    """From an alert to its line in Falco's form, with the line's end."""
    return _json_line if json else _text_line


def _json_line(alert: Alert) -> bytes:
    return alert_json(alert) + b"\n"


def _text_line(alert: Alert) -> bytes:
    return alert_text(alert).encode() + b"\n"
