"""Where alerts go. Each kind of output is one line in ``_OPENERS``: from its configuration to the open output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tiercel_agent.config.model import EventsConfig, FileConfig, OtlpConfig, OutputConfig, StdoutConfig
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
    EventsConfig: lambda config, encode: _events(config),  # noqa: ARG005
    OtlpConfig: lambda config, encode: _otlp(config),  # noqa: ARG005
}


def _events(config: EventsConfig) -> Output[Alert]:
    # Only agents of a cluster need it, and the way to the API.
    from tiercel_agent.outputs.events import EventsOutput  # noqa: PLC0415
    from tiercel_agent.workloads.cluster.api import connect  # noqa: PLC0415

    return EventsOutput(connect(config.kubeconfig), config.node, per_minute=config.per_minute)


def _otlp(config: OtlpConfig) -> Output[Alert]:
    # The SDK takes ten megabytes, and gRPC as much again.
    from tiercel_agent.outputs.otlp import OtlpOutput  # noqa: PLC0415

    return OtlpOutput(config.protocol, config.endpoint, config.hostname, config.node)


def open_output(config: OutputConfig, *, json: bool) -> Output[Alert]:
    """Raises OSError if the output can't be opened now, NoCluster if there is no way to the API that it needs."""
    return _OPENERS[type(config)](config, alert_line(json=json))


def queue_output(output: Output[Alert], on_failure: Callable[[str], None]) -> OutputQueue[Alert]:
    """The queue in front of an output, which calls it by itself where it has something to do in between."""
    tick: Callable[[], float | None] = getattr(output, "tick", lambda: None)
    return OutputQueue(output, on_failure=on_failure, tick=tick)


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
    "queue_output",
]
