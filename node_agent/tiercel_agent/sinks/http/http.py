"""Alerts to an HTTP server."""

from __future__ import annotations

from collections.abc import Sequence

from tiercel_agent.sinks.http.formats import form_of
from tiercel_agent.sinks.model import BadSink, Sink, SinkSettings
from tiercel_agent.sinks.network.http_client import Client, Timeouts, address_of
from tiercel_engine.alert import Alert
from tiercel_engine.resources.destinations import Batch, HttpSink
from tiercel_engine.units import parse_duration

_MOST = 1000
"""Alerts of one request: more than that are held in memory for long."""


def open_http(sink: HttpSink, settings: SinkSettings, timeouts: Timeouts | None = None) -> Sink:
    """Raises BadSink.

    Where requests may have several alerts, all of them have the form for several, so that receivers read one form.
    """
    form = form_of(settings.spec.format, settings.spec.template)
    client = Client(
        address_of(sink.url, sink.url_from, settings),
        settings,
        sink.headers,
        sink.tls,
        compression=sink.compression,
        timeouts=timeouts,
    )
    method = sink.method or "POST"
    size, wait = _batch(sink.batch)

    def send_one(alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            client.request(method, form.one(alert), form.content_type, {"Idempotency-Key": alert.id})

    def send_several(alerts: Sequence[Alert]) -> None:
        client.request(method, form.several(alerts), form.several_type)

    return Sink(send=send_one if size == 1 else send_several, batch=size, wait=wait, close=client.close)


def _batch(batch: Batch | None) -> tuple[int, float]:
    if batch is None:
        return 1, 0.0
    try:
        return min(batch.size, _MOST), parse_duration(batch.wait) if batch.wait else 0.0
    except ValueError as error:
        raise BadSink(f"batch.wait: {error}") from None
