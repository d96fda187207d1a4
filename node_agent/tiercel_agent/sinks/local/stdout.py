"""Alerts on the agent's standard output, one a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tiercel_agent.sinks.local.appended_file import write_all
from tiercel_agent.sinks.model import Sink, Unavailable
from tiercel_agent.sinks.text import one_line
from tiercel_engine.alert import Alert

STDOUT = 1


def open_stdout(line: Callable[[Alert], bytes], descriptor: int = STDOUT) -> Sink:
    """``line`` gives an alert's form, which is written as one line."""

    def send(alerts: Sequence[Alert]) -> None:
        try:
            write_all(descriptor, b"".join(one_line(line(alert)) + b"\n" for alert in alerts))
        except BrokenPipeError as error:
            raise Unavailable("nobody reads the standard output") from error

    return Sink(send=send, batch=256)
