"""Alerts on this machine itself: standard output, a file, a terminal.

Each kind of output is one line in ``_OPENERS``: from its configuration to the open output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tiercel_agent.config.model import FileConfig, OutputConfig, StdoutConfig
from tiercel_agent.outputs.fan_out import Outputs
from tiercel_agent.outputs.lines import Encode, alert_line
from tiercel_agent.outputs.model import Output, OutputClosed
from tiercel_agent.outputs.queue import Delivery, OutputQueue
from tiercel_agent.outputs.stream import FileOutput, StreamOutput
from tiercel_engine.alert import Alert

STDOUT = 1

_OPENERS: Mapping[type, Callable[[Any, Encode], Output[Alert]]] = {
    StdoutConfig: lambda config, encode: StreamOutput("stdout", STDOUT, encode),  # noqa: ARG005
    FileConfig: lambda config, encode: FileOutput("file", config.path, encode, keep_alive=config.keep_alive),
}


def open_output(config: OutputConfig, *, json: bool) -> Output[Alert]:
    """Raises OSError if the output can't be opened now."""
    return _OPENERS[type(config)](config, alert_line(json=json))


__all__ = [
    "Delivery",
    "FileOutput",
    "Output",
    "OutputClosed",
    "OutputQueue",
    "Outputs",
    "StreamOutput",
    "alert_line",
    "open_output",
]
