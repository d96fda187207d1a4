"""Metrics of this process by OpenTelemetry's SDK: as text for Prometheus, and by OTLP where the standard variables ask
for that.

OpenTelemetry is imported when metrics are opened: a process without them doesn't pay the memory.
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
from tiercel_engine.printable import printable
from tiercel_engine.rendering.redaction import redact

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of ``Telemetry.text``: Prometheus' text format."""

_REMIND = 600.0  # seconds between two words on the same trouble
_LONGEST = 300  # characters of a trouble's text
_CLOSE = 3000  # milliseconds that the last metrics have to reach their receiver
# Addresses may hold credentials. One class and no alternatives that overlap: linear.
_ADDRESS = re.compile(r"https?://[^\s'\"]+|\burl: [^\s'\"]+")

Readings = TypeVar("Readings")
Measured = tuple[float, Mapping[str, str]]
"""A value, and the labels that tell it from others of the same instrument."""


@dataclass(frozen=True, slots=True)
class Instrument(Generic[Readings]):
    """A metric, and how it is read from what was published.

    Prometheus writes the name with underscores, with the unit behind it and, behind a total, ``_total``.
    """

    name: str
    description: str
    read: Callable[[Readings], Iterable[Measured]]
    total: bool = False
    """Whether it only ever grows while the process lives."""
    unit: str = ""
    """By UCUM: "s", or for what is counted "{event}"."""


class Telemetry(Generic[Readings]):
    """The instruments over what was published last: whoever asks for metrics asks nothing of the process's own threads.

    ``resource`` is who this is, by the semantic conventions; the variables OTEL_SERVICE_NAME and
    OTEL_RESOURCE_ATTRIBUTES have the last word. ``say`` gets a line for what goes wrong, from any thread.

    OTEL_SDK_DISABLED=true switches all instruments off, those for Prometheus too: so the standard has it, and so the
    SDK does it. What remains is what Prometheus' own library tells of the process.
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
        self._making = threading.Lock()  # Prometheus' reader can't serve two at once
        self._readings: Readings | None = None
        self._text: bytes | None = None
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        # Prometheus names targets by itself, and there is one scope.
        prometheus = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=self._registry)
        self._provider = MeterProvider([prometheus, *_otlp(say)], resource=described(resource), shutdown_on_exit=False)
        meter = self._provider.get_meter("tiercel", __version__)
        for each in instruments:
            make = meter.create_observable_counter if each.total else meter.create_observable_gauge
            make(each.name, [self._callback(each)], each.unit, each.description)
        if sdk_disabled():
            say("OTEL_SDK_DISABLED is true: there are no metrics but those of the process")

    def publish(self, readings: Readings) -> None:
        """What metrics tell from now on. It must not change any more."""
        with self._lock:
            self._readings, self._text = readings, None

    def text(self) -> bytes:
        """Metrics for Prometheus, made once for what was published: asking often costs little."""
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
        """Sends the last metrics, for some seconds at most."""
        try:
            self._provider.shutdown(_CLOSE)
        except Exception as error:  # the SDK wraps what its readers raise
            self._say(f"metrics: {type(error).__name__} while they were closed")
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
    """Who this is: what the variables say, before what it says itself, before what the SDK knows."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415

    known = {"service.version": __version__, "os.type": "linux"} | {
        name: printable(value) for name, value in own.items() if value
    }
    return Resource.create().merge(Resource(known)).merge(OTELResourceDetector().detect())


def sdk_disabled() -> bool:
    """Whether OTEL_SDK_DISABLED switches OpenTelemetry off: "true" in any case does by the standard, no other word."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _set(name: str) -> str:
    """What the standard variables say of metrics."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_METRICS_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""


def _asked_for() -> bool:
    """Whether metrics are to be sent: unlike the standard, which sends to localhost, not unless something says so."""
    exporters = [each.strip() for each in os.environ.get("OTEL_METRICS_EXPORTER", "").split(",") if each.strip()]
    return not sdk_disabled() and ("otlp" in exporters if exporters else bool(_set("ENDPOINT")))


def _otlp(say: Callable[[str], None]) -> list[MetricReader]:
    """What sends metrics, if the variables ask for it. A mistake in them is told: it ends nothing else."""
    if not _asked_for():
        return []
    protocol = _set("PROTOCOL").strip() or "http/protobuf"
    try:
        return [_sender(protocol)]
    except ImportError:
        say(f"metrics can't be sent by {protocol} from here: set OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=http/protobuf")
    except Exception as error:  # exporters check their variables each in its own way
        reason = safe(str(error)) or type(error).__name__
        say(f"metrics can't be sent: {reason}: check the OTEL_EXPORTER_OTLP_ variables")
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
    """What a library says of a trouble, without addresses and secrets, in one line."""
    return printable(redact(_ADDRESS.sub("its address", text)))[:_LONGEST]


class _Said(logging.Handler):
    """What the SDK and its exporters say in their log alone, and would write to standard error: each thing now and
    then."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._told: dict[str, float] = {}

    def listen(self) -> None:
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(self)
        logger.propagate = False

    def silence(self) -> None:
        """Leaves nothing to Python's last resort, which is standard error."""
        logger = logging.getLogger("opentelemetry")
        logger.removeHandler(self)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.name.startswith("opentelemetry.exporter.") and " logs " in message:
            return  # of alerts, whose sink tells it
        now = time.monotonic()
        # By its template: the text has how long until the next attempt in it.
        if now - self._told.get(str(record.msg), float("-inf")) >= _REMIND:
            self._told[str(record.msg)] = now
            self._say(f"metrics: {safe(message)}")
