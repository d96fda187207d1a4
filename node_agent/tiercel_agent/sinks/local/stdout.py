"""Alerts of an AlertSink on the agent's standard output, one a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tiercel_agent.sinks.local.outputs import STDOUT
from tiercel_agent.sinks.local.streams import stream_sink
from tiercel_agent.sinks.model import ReaderGone, Sink, Unavailable
from tiercel_agent.sinks.text import one_line
from tiercel_engine.alert import Alert


def open_stdout(line: Callable[[Alert], bytes], descriptor: int = STDOUT) -> Sink:
    """``line`` gives an alert's form, which is written as one line."""
    stream: Sink = stream_sink(descriptor, lambda alert: one_line(line(alert)) + b"\n")

    def send(alerts: Sequence[Alert]) -> None:
        try:
            stream.send(alerts)
        except ReaderGone as error:  # the AlertSink's status says so, and what waits is kept
            raise Unavailable("nobody reads the standard output") from error

    return replace(stream, send=send)
