"""Opens a sink from its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from tiercel_agent.sinks.http.formats import form_of
from tiercel_agent.sinks.model import BadSink, Place, Sink, SinkSettings
from tiercel_agent.sinks.network.deadline import LONGEST, Deadline
from tiercel_engine.alert import Alert
from tiercel_engine.resources.alert_sink import DESTINATIONS, Format

# Imported when a sink is opened: most of them bring libraries along, and few agents have all kinds.
# ruff: noqa: PLC0415


def open_sink(settings: SinkSettings, place: Place, longest: float = LONGEST) -> Sink:
    """Opens a sink in this process, which holds a tenant's to nothing: see ``delivery.tenants``.

    Raises BadSink, OSError. No delivery to another machine takes more than ``longest`` seconds.
    """
    kind = kind_of(settings)
    open_it = partial(_OPENERS[kind], getattr(settings.spec, kind), settings, place)
    if kind not in _OF_THE_NODE:
        return _within(Deadline(longest), open_it())
    if not settings.trusted:
        raise BadSink(f"a sink of this namespace can't have the destination {kind}, which is on the node itself")
    return open_it()


def kind_of(settings: SinkSettings) -> str:
    """The kind of its destination. Raises BadSink."""
    kinds = [kind for kind in DESTINATIONS if getattr(settings.spec, kind) is not None]
    if len(kinds) != 1:
        raise BadSink(f"exactly one destination is needed, of {', '.join(DESTINATIONS)}")
    return kinds[0]


def check_sink(settings: SinkSettings, place: Place) -> None:
    """Raises BadSink if a sink can't be opened as it is configured, so that this is known before the first alert."""
    try:
        with suppress(OSError):  # what the system doesn't allow now, it may allow later
            open_sink(settings, place).close()
    except BadSink as error:
        raise BadSink(f"sink {settings.name}: {error}") from error


_OF_THE_NODE = frozenset({"stdout", "file", "program"})


def _within(deadline: Deadline, sink: Sink) -> Sink:
    """The sink, each of whose calls has an end."""

    def send(alerts: Sequence[Alert]) -> None:
        with deadline.held():
            sink.send(alerts)

    def tick() -> float | None:
        with deadline.held():
            return sink.tick()

    def close() -> None:
        with deadline.held():
            sink.close()

    return replace(sink, send=send, tick=tick, close=close)


def _line(settings: SinkSettings, default: Format = Format.JSON) -> Callable[[Alert], bytes]:
    """The function that gives an alert's form in one line."""
    return form_of(settings.spec.format or default, settings.spec.template).one


def _events(sink: Any, settings: SinkSettings, place: Place) -> Sink:
    from tiercel_agent.sinks.kubernetes_events.events import open_events

    return open_events(sink, place, settings)


def _otlp(sink: Any, settings: SinkSettings, place: Place) -> Sink:
    from tiercel_agent.sinks.otlp.otlp import open_otlp

    return open_otlp(sink, settings, place)


def _stdout(_sink: Any, settings: SinkSettings, _place: Place) -> Sink:
    from tiercel_agent.sinks.local.stdout import open_stdout

    return open_stdout(_line(settings))


def _file(sink: Any, settings: SinkSettings, _place: Place) -> Sink:
    from tiercel_agent.sinks.local.file import open_file

    return open_file(sink, _line(settings))


def _syslog(sink: Any, settings: SinkSettings, place: Place) -> Sink:
    from tiercel_agent.sinks.syslog.syslog import open_syslog

    return open_syslog(sink, settings, place.hostname, _line(settings, Format.TEXT))


def _program(sink: Any, settings: SinkSettings, _place: Place) -> Sink:
    from tiercel_agent.sinks.local.program import open_program

    return open_program(sink, _line(settings))


def _http(sink: Any, settings: SinkSettings, _place: Place) -> Sink:
    from tiercel_agent.sinks.http.http import open_http

    return open_http(sink, settings)


def _slack(sink: Any, settings: SinkSettings, _place: Place) -> Sink:
    from tiercel_agent.sinks.chat.slack import open_slack

    return open_slack(sink, settings)


def _email(sink: Any, settings: SinkSettings, place: Place) -> Sink:
    from tiercel_agent.sinks.mail.email import open_email

    return open_email(sink, settings, place.hostname)


def _alertmanager(sink: Any, settings: SinkSettings, _place: Place) -> Sink:
    from tiercel_agent.sinks.http.alertmanager import open_alertmanager

    return open_alertmanager(sink, settings)


def _notify(sink: Any, settings: SinkSettings, _place: Place) -> Sink:
    from tiercel_agent.sinks.chat.notify import open_notify

    return open_notify(sink, settings)


_OPENERS: Mapping[str, Callable[[Any, SinkSettings, Place], Sink]] = {
    "events": _events,
    "otlp": _otlp,
    "stdout": _stdout,
    "file": _file,
    "syslog": _syslog,
    "program": _program,
    "http": _http,
    "slack": _slack,
    "email": _email,
    "alertmanager": _alertmanager,
    "notify": _notify,
}
