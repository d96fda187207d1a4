"""An alert's form for destinations that have none of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import orjson

from tiercel_agent.sinks.model import BadSink, Refused
from tiercel_engine.alert import RULE_NAMESPACE, RULE_OBJECT, Alert, alert_json, alert_text
from tiercel_engine.printable import printable, printable_json, valid
from tiercel_engine.rendering.template import TemplateError, TooLong, inside_json, parse_template, render
from tiercel_engine.resources.alert_sink import Format
from tiercel_engine.units import rfc3339

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
_LARGEST = 8 << 20  # bytes of several alerts in one body, which is held in memory
_LONGEST_NAME = 1024  # characters of a rule's name in an attribute
_ORIGIN = {"rulenamespace": RULE_NAMESPACE, "ruleobject": RULE_OBJECT}  # as attributes' names must be: letters alone


@dataclass(frozen=True, slots=True)
class Form:
    """``one`` gives an alert without a line's end, of ``content_type``; ``several`` put in one body are of
    ``several_type``."""

    content_type: str
    one: Callable[[Alert], bytes]
    several_type: str
    several: Callable[[Sequence[Alert]], bytes]


def form_of(chosen: Format | None, template: str | None) -> Form:
    """Falco's JSON if no format is chosen. Raises BadSink for a template that can't be read.

    The form's functions raise Refused where a template makes too much of an alert.
    """
    if chosen is Format.TEMPLATE:
        return _template(template or "")
    return _TEXT_FORM if chosen is Format.TEXT else _CLOUDEVENTS if chosen is Format.CLOUDEVENTS else _JSON_FORM


def falco_json(alert: Alert) -> bytes:
    """Falco's JSON with the alert's id as ``uuid``, as Falcosidekick names it."""
    return b'{"uuid":"' + alert.id.encode() + b'",' + alert_json(alert)[1:]


def cloudevent(alert: Alert) -> bytes:
    """The alert as an event of CloudEvents 1.0, structured; ``data`` is as ``falco_json``."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": alert.id,
        "source": f"/tiercel/{quote(valid(alert.hostname), safe='')}",
        "type": "dev.tiercel.alert",
        "time": rfc3339(alert.time),
        "datacontenttype": _JSON,
        "priority": alert.priority.title,
        "rule": printable(alert.rule)[:_LONGEST_NAME],
    }
    for attribute, field in _ORIGIN.items():
        if origin := alert.origin_fields.get(field):
            attributes[attribute] = printable(origin)
    namespace, pod = (alert.output_fields.get(key) for key in ("k8s.ns.name", "k8s.pod.name"))
    if isinstance(namespace, str) and isinstance(pod, str) and namespace and pod:
        attributes["subject"] = printable(f"{namespace}/{pod}")
    head = printable_json(orjson.dumps(attributes))
    return head[:-1] + b',"data":' + falco_json(alert) + b"}"


def _text(alert: Alert) -> bytes:
    return alert_text(alert).encode()


def _array(one: Callable[[Alert], bytes], alerts: Sequence[Alert]) -> bytes:
    return b"[" + b",".join(_bounded(one, alerts)) + b"]"


def _lines(one: Callable[[Alert], bytes], alerts: Sequence[Alert]) -> bytes:
    return b"".join(form + b"\n" for form in _bounded(one, alerts))


def _bounded(one: Callable[[Alert], bytes], alerts: Sequence[Alert]) -> Iterator[bytes]:
    """The form of each. Raises Refused if several are too much for one body: then they are offered in halves."""
    size = 0
    for alert in alerts:
        form = one(alert)
        size += len(form)
        if size > _LARGEST and len(alerts) > 1:
            raise Refused(f"together, the alerts have more than {_LARGEST >> 20} MiB")
        yield form


def _template(text: str) -> Form:
    """By a template. One that begins as JSON does makes JSON, in which values are escaped."""
    try:
        template = parse_template(text)
    except TemplateError as error:
        raise BadSink(f"template: {error}") from None
    begin = text.lstrip()
    is_json = begin.startswith(("{", "[")) and not begin.startswith("{{")
    plain = inside_json if is_json else str

    def one(alert: Alert) -> bytes:
        try:
            return valid(render(template, alert, plain)).encode()
        except TooLong as error:
            raise Refused(str(error)) from None

    if is_json:
        return Form(_JSON, one, _JSON, partial(_array, one))
    return Form(_TEXT, one, _TEXT, partial(_lines, one))


_JSON_FORM = Form(_JSON, falco_json, _JSON, partial(_array, falco_json))
_TEXT_FORM = Form(_TEXT, _text, _TEXT, partial(_lines, _text))
_CLOUDEVENTS = Form(
    "application/cloudevents+json; charset=utf-8",
    cloudevent,
    "application/cloudevents-batch+json; charset=utf-8",
    partial(_array, cloudevent),
)
