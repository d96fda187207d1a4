"""Alerts to the services that Apprise knows, each by an Apprise URL.

Apprise is driven without its dispatcher: that one sends from threads of its own, tries again by itself, and takes a
failure for success if the URL says that it is optional.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tiercel_agent.sinks.chat.answers import Answers, answers
from tiercel_agent.sinks.model import BadSink, Refused, Sink, SinkSettings, Unavailable
from tiercel_agent.sinks.network.egress_policy import Forbidden, cause_of
from tiercel_agent.sinks.network.http_client import address_of, failure
from tiercel_agent.sinks.text import bounded, facts_of, plain
from tiercel_engine.alert import Alert
from tiercel_engine.located import located
from tiercel_engine.priority import Priority
from tiercel_engine.resources.destinations import NotifySink
from tiercel_engine.resources.notify_schemes import LOCAL_SERVICES, OTHER_PROTOCOLS
from tiercel_engine.units import rfc3339

# ruff: noqa: PLC0415

LOGGER = logging.getLogger(__name__)

_LONGEST_TITLE = 200  # characters
_LONGEST_BODY = 8000
_LONGEST_FACT = 200
_LONGEST_PAUSE = 30.0  # seconds
_HELP = "its forms are told at https://github.com/caronc/apprise/wiki"

_TYPES: Mapping[Priority, str] = {
    **dict.fromkeys((Priority.EMERGENCY, Priority.ALERT, Priority.CRITICAL, Priority.ERROR), "failure"),
    Priority.WARNING: "warning",
}
"""As Apprise names what isn't mere information."""


def open_notify(sink: NotifySink, settings: SinkSettings) -> Sink:
    """Raises BadSink."""
    url = address_of(sink.url, sink.url_from, settings).strip()
    with answers():
        plugin = _plugin(url, settings)
        maximum = min(_LONGEST_BODY, plugin.body_maxlen or _LONGEST_BODY)

    def send(alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            with answers() as heard:
                _send(plugin, alert, maximum, heard, settings)

    return Sink(send=send)


def title_of(alert: Alert) -> str:
    return bounded(plain(f"{alert.priority.title}: {alert.rule}"), _LONGEST_TITLE)


def body_of(alert: Alert, maximum: int = _LONGEST_BODY) -> str:
    """At most so many characters, of which the last lines tell where it happened, as far as there is room for both."""
    facts = [f"{name}: {bounded(plain(value), _LONGEST_FACT)}" for name, value in facts_of(alert)]
    where = "\n" + "\n".join((*facts, f"Time: {rfc3339(alert.time)}"))
    room = maximum - len(where)
    if room < maximum // 2:
        return bounded(plain(alert.output), maximum)
    return bounded(plain(alert.output), room) + where


def _plugin(url: str, settings: SinkSettings) -> Any:
    """Apprise's own object for a URL. Raises BadSink."""
    from apprise import Apprise, AppriseAsset
    from apprise.plugins import url_to_dict

    asset = AppriseAsset(
        app_id="Tiercel",
        app_desc="Runtime threat detection",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        image_path_mask=False,
        async_mode=False,
        http_redirects=False,
        interpret_emojis=False,
        pem_autogen=False,
        pgp_autogen=False,
        secure_logging=True,
        storage_mode="memory",
        allow_templates=False,
    )
    parts = url_to_dict(url, secure_logging=True)  # type: ignore[no-untyped-call]
    if not parts:
        raise BadSink(f"Apprise doesn't understand its URL: {_HELP}")
    scheme = str(parts["schema"]).lower()
    if not settings.trusted and scheme in LOCAL_SERVICES:
        raise BadSink("a sink of this namespace can't have a service of the node itself: the URL must be a network's")
    if not settings.trusted and scheme in OTHER_PROTOCOLS:
        raise BadSink(f"a sink of this namespace can't have {scheme}://: only services that are reached by HTTP")
    try:
        plugin = Apprise.instantiate(parts, asset=asset, suppress_exceptions=False)
    except Exception as error:  # each service has its own
        LOGGER.info("Apprise refuses a URL: %s", located(error))
        raise BadSink(f"its URL lacks something that its service needs: {_HELP}{_about_files(settings)}") from None
    if plugin is None:
        raise BadSink("its service needs a library or a system that isn't here")
    plugin.throttle = partial(_throttle, plugin.throttle)  # type: ignore[method-assign]
    return plugin


def _throttle(original: Callable[..., None], last_io: Any = None, wait: float | None = None) -> None:
    """As Apprise's own, which pauses for as long as the other side asks for."""
    original(last_io, min(wait, _LONGEST_PAUSE) if wait else wait)


def _send(plugin: Any, alert: Alert, maximum: int, heard: Answers, settings: SinkSettings) -> None:
    from apprise import NotifyFormat, NotifyType, OverflowMode

    try:
        taken = plugin.notify(
            title=title_of(alert),
            body=body_of(alert, maximum),
            notify_type=NotifyType(_TYPES.get(alert.priority, "info")),
            overflow=OverflowMode.TRUNCATE,
            body_format=NotifyFormat.TEXT,
        )
    except Exception as error:  # each service has its own
        raise _raised(error, settings) from None
    if not taken:
        raise _why(heard, settings)


def _raised(error: Exception, settings: SinkSettings) -> Refused | Unavailable:
    if (forbidden := cause_of(error, Forbidden)) is not None:
        return Unavailable(str(forbidden))
    if isinstance(error, OSError):
        return Unavailable(f"the service can't be reached{_about_files(settings)}")
    return Refused(f"Apprise can't send what it was given: {located(error)}")


def _why(heard: Answers, settings: SinkSettings) -> Refused | Unavailable:
    if heard.forbidden:
        return Unavailable(heard.forbidden)
    if heard.status is not None:
        return failure(heard.status)
    what = "the service can't be reached" if heard.unreachable else "the service doesn't take it"
    return Unavailable(f"{what}{_about_files(settings)}")


def _about_files(settings: SinkSettings) -> str:
    """The hint is the same whether the file exists or not: that would tell a tenant of other tenants' pods."""
    return "" if settings.trusted else " (if its URL names a file: a sink of this namespace can't read any)"
