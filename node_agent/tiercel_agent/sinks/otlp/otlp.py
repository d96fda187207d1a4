"""Alerts as OpenTelemetry logs.

Where the agent's own configuration or the standard OTEL_ variables say whither, the SDK's exporters send them. An
AlertSink that has an address of its own is sent to by the same client as other sinks by HTTP: the exporters would add
what the variables say, and hand one's credentials to the other.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Sequence
from typing import Any

from tiercel_agent.sinks.model import BadSink, Place, Sink, SinkSettings, Unavailable
from tiercel_agent.sinks.otlp.record import Records, records_of
from tiercel_engine.alert import Alert
from tiercel_engine.resources.destinations import Compression, OtlpProtocol, OtlpSink

_BATCH = 256
_CODE = re.compile(r"\bcode: ?(?:StatusCode\.)?([1-5][0-9]{2}|[A-Z_]{2,30})\b")
_PROTOBUF = "application/x-protobuf"


def open_otlp(sink: OtlpSink, settings: SinkSettings, place: Place) -> Sink:
    """Raises BadSink."""
    records = records_of(place, trusted=settings.trusted)
    url = settings.secret(sink.url_from) if sink.url_from is not None else sink.url
    if not settings.trusted and (url is None or sink.protocol is OtlpProtocol.GRPC):
        raise BadSink("a sink of this namespace needs an otlp.url, and the protocol http/protobuf")
    if sink.protocol is OtlpProtocol.GRPC:
        return _exported(_grpc(url, sink, settings), records)
    if url is None or not settings.namespace:
        return _exported(_http(url, sink.protocol), records)
    return _sent(url, sink, settings, records)


def _sent(url: str, sink: OtlpSink, settings: SinkSettings, records: Records) -> Sink:
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs  # noqa: PLC0415

    from tiercel_agent.sinks.network.http_client import Client  # noqa: PLC0415

    _listen()  # otherwise the encoder would write its messages to standard error as they are
    client = Client(url, settings, sink.headers, sink.tls, compression=sink.compression)

    def send(alerts: Sequence[Alert]) -> None:
        client.request("POST", encode_logs(records(alerts)).SerializeToString(), _PROTOBUF)

    return Sink(send=send, batch=_BATCH, close=client.close)


def _exported(exporter: Any, records: Records) -> Sink:
    from opentelemetry.sdk._logs.export import LogRecordExportResult  # noqa: PLC0415

    said = _listen()

    def send(alerts: Sequence[Alert]) -> None:
        # The exporter repeats what fails for some seconds by itself.
        said.last = ""
        if exporter.export(records(alerts)) is not LogRecordExportResult.SUCCESS:
            raise Unavailable(said.last or "the receiver doesn't take them")

    return Sink(send=send, batch=_BATCH, close=exporter.shutdown)


def _grpc(url: str | None, sink: OtlpSink, settings: SinkSettings) -> Any:
    import grpc  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter  # noqa: PLC0415

    headers = tuple(
        (each.name.lower(), settings.secret(each.value_from) if each.value_from is not None else each.value or "")
        for each in sink.headers
    )
    credentials = None
    if sink.tls is not None:
        if sink.tls.insecure_skip_verify or sink.tls.server_name:
            raise BadSink("tls.insecureSkipVerify and tls.serverName aren't to be had with grpc (use http/protobuf)")
        pem = [
            settings.secret(source).encode() if source is not None else None
            for source in (sink.tls.ca_from, sink.tls.key_from, sink.tls.cert_from)
        ]
        credentials = grpc.ssl_channel_credentials(*pem)
    compression = grpc.Compression.Gzip if sink.compression is Compression.GZIP else None
    return OTLPLogExporter(endpoint=url, headers=headers or None, credentials=credentials, compression=compression)


def _http(url: str | None, protocol: OtlpProtocol | None) -> Any:
    wanted = os.environ.get("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol is None and wanted == OtlpProtocol.GRPC.value:
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as Grpc  # noqa: PLC0415

        return Grpc(endpoint=url)
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as Http  # noqa: PLC0415

    return Http(endpoint=url)


class _Said(logging.Handler, threading.local):
    """Exporters say only in their log why they fail. Each thread has the messages of its own exporter."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        # The rest of the message has the address and the other side's text in it, where secrets may be.
        code = _CODE.search(record.getMessage())
        self.last = f"the receiver doesn't take them ({code[1]})" if code else self.last


_SAID: list[_Said] = []


def _listen() -> _Said:
    if not _SAID:
        _SAID.append(_Said())
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(_SAID[0])
        logger.propagate = False
    return _SAID[0]
