"""Metrics of this process, made by OpenTelemetry's SDK: as text for Prometheus, and by OTLP if the standard variables
ask for it.

OpenTelemetry is imported only when metrics are opened, so that a process without metrics needs no memory for it.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tiercel_engine import __version__
from tiercel_engine.located import located
from tiercel_engine.printable import printable
from tiercel_engine.rendering.redaction import redact

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of ``Telemetry.text``, which is Prometheus' text format."""

_REMIND = 600.0  # seconds between two messages about the same problem
_LONGEST = 300  # characters of a message
_CLOSE = 3000  # milliseconds in which the last metrics must reach their receiver
# Addresses may hold credentials. The alternatives don't overlap, so that matching takes linear time.
_ADDRESS = re.compile(r"https?://[^\s'\"]+|\burl: [^\s'\"]+")

Readings = TypeVar("Readings")
Measured = tuple[float, Mapping[str, str]]
"""A value, and the labels that distinguish it from other values of the same instrument."""


@dataclass(frozen=True, slots=True)
class Instrument(Generic[Readings]):
    """A metric, and the function that reads its values from the published readings.

    Prometheus writes the name with underscores, followed by the unit and, for a total, by ``_total``.
    """

    name: str
    description: str
    read: Callable[[Readings], Iterable[Measured]]
    total: bool = False
    """Whether the value never decreases while the process runs."""
    unit: str = ""
    """The unit in UCUM notation: "s", or "{event}" for a count of events."""


class Telemetry(Generic[Readings]):
    """The values of the instruments for the readings that were published last.

    A request for metrics only reads these, so that it does not disturb the threads of the process.

    ``resource`` describes this process by the semantic conventions; the variables OTEL_SERVICE_NAME and
    OTEL_RESOURCE_ATTRIBUTES take precedence. ``say`` gets a line for what goes wrong, from any thread.

    As the standard requires, OTEL_SDK_DISABLED=true switches all instruments off, including those for Prometheus. What
    remains are the metrics of the process that Prometheus' own library makes.
    """

    def __init__(
        self,
        resource: Mapping[str, str],
        instruments: Sequence[Instrument[Readings]],
        say: Callable[[str], None],
    ) -> None:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
        from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415

        self._say = say
        self._said = _Said(say)
        self._said.listen()
        self._lock = threading.Lock()
        self._making = threading.Lock()  # Prometheus' reader can't serve two requests at once
        self._readings: Readings | None = None
        self._text: bytes | None = None
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        # Prometheus names targets itself, and there is only one scope.
        prometheus = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=self._registry)
        self._provider = MeterProvider([prometheus, *_otlp(say)], resource=described(resource), shutdown_on_exit=False)
        meter = self._provider.get_meter("tiercel", __version__)
        for each in instruments:
            make = meter.create_observable_counter if each.total else meter.create_observable_gauge
            make(each.name, [self._callback(each)], each.unit, each.description)
        if sdk_disabled():
            say("OTEL_SDK_DISABLED is true: there are no metrics but those of the process")

    def publish(self, readings: Readings) -> None:
        """Sets the readings that metrics show from now on. They must not be changed any more."""
        with self._lock:
            self._readings, self._text = readings, None

    def text(self) -> bytes:
        """The metrics in Prometheus' format. They are made once for each publication, so asking often is cheap."""
        from prometheus_client import generate_latest  # noqa: PLC0415

        with self._making:
            with self._lock:
                readings, text = self._readings, self._text
            if text is None:
                text = generate_latest(self._registry)
                with self._lock:
                    if readings is self._readings:
                        self._text = text
            return text

    def close(self) -> None:
        """Sends the last metrics, which takes a few seconds at most, and closes the exporters."""
        try:
            self._provider.shutdown(_CLOSE)
        except Exception as error:  # the SDK wraps what its readers raise
            self._say(f"metrics could not be closed: {located(error)}")
        self._said.silence()

    def _callback(self, instrument: Instrument[Readings]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        from opentelemetry.metrics import Observation  # noqa: PLC0415

        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            readings = self._readings
            if readings is None:
                return []
            return [Observation(value, labels) for value, labels in instrument.read(readings)]

        return observe


def described(own: Mapping[str, str]) -> Resource:
    """The resource of this process. Variables of the environment override ``own``, which overrides the SDK's values."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415

    known = {"service.version": __version__, "os.type": "linux"} | {
        name: printable(value) for name, value in own.items() if value
    }
    return Resource.create().merge(Resource(known)).merge(OTELResourceDetector().detect())


def sdk_disabled() -> bool:
    """Whether OTEL_SDK_DISABLED switches OpenTelemetry off: "true" in any case does by the standard, no other word."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _set(name: str) -> str:
    """The value of a standard variable for metrics, or of the one for all signals; "" if neither is set."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_METRICS_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""


def _asked_for() -> bool:
    """Whether the variables ask to send metrics. By default none are sent, while the standard sends to localhost."""
    exporters = [each.strip() for each in os.environ.get("OTEL_METRICS_EXPORTER", "").split(",") if each.strip()]
    return not sdk_disabled() and ("otlp" in exporters if exporters else bool(_set("ENDPOINT")))


def _otlp(say: Callable[[str], None]) -> list[MetricReader]:
    """The reader that sends metrics, if the variables ask for it. A mistake in them is only reported."""
    if not _asked_for():
        return []
    protocol = _set("PROTOCOL").strip() or "http/protobuf"
    try:
        return [_sender(protocol)]
    except ImportError:
        say(f"metrics can't be sent by {protocol} from here: set OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=http/protobuf")
    except Exception as error:  # each exporter checks its variables in its own way
        reason = safe(str(error)) or type(error).__name__
        say(f"metrics can't be sent: {reason}: check the OTEL_EXPORTER_OTLP_ variables ({located(error)})")
    return []


def _sender(protocol: str) -> MetricReader:
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415

    exporter: Any
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc  # noqa: PLC0415

        exporter = Grpc()
    elif protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http  # noqa: PLC0415

        exporter = Http()
    else:
        raise ValueError(f"there is no protocol {protocol}, but http/protobuf and grpc")
    return PeriodicExportingMetricReader(exporter)


def safe(text: str) -> str:
    """The message of a library without addresses and secrets, in one line."""
    return printable(redact(_ADDRESS.sub("its address", text)))[:_LONGEST]


class _Said(logging.Handler):
    """Passes on what the SDK and its exporters log, which would otherwise go to standard error.

    The same message is passed on at most once in ten minutes.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._told: dict[str, float] = {}

    def listen(self) -> None:
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(self)
        logger.propagate = False

    def silence(self) -> None:
        """Stops passing on messages, and keeps Python from writing them to standard error instead."""
        logger = logging.getLogger("opentelemetry")
        logger.removeHandler(self)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.name.startswith("opentelemetry.exporter.") and " logs " in message:
            return  # it is about alerts, and their sink reports it
        now = time.monotonic()
        # Compared by its template, because the text contains the time until the next attempt.
        if now - self._told.get(str(record.msg), float("-inf")) >= _REMIND:
            self._told[str(record.msg)] = now
            self._say(f"metrics: {safe(message)}")
