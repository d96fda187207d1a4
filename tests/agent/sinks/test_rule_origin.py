"""A tenant's rule may have the name of one of the system's: whose it is stands in every form that programs read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tiercel_agent.delivery.matcher import accepts
from tiercel_agent.sinks.http.alertmanager import posted
from tiercel_agent.sinks.http.formats import form_of
from tiercel_agent.sinks.kubernetes_events.event_object import event_object, pod_of
from tiercel_agent.sinks.local.outputs import alert_line
from tiercel_agent.sinks.model import SinkSettings
from tiercel_agent.sinks.otlp.record import log_record
from tiercel_agent.sinks.syslog.message import Writer
from tiercel_agent.sinks.text import facts_of
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec, Format
from tiercel_engine.resources.encoding import from_json
from tiercel_engine.rule import Origin


def alert(origin: Origin | None) -> Alert:
    fields: dict[str, Any] = {"k8s.ns.name": "shop", "k8s.pod.name": "web-1", "k8s.pod.uid": "u"}
    return Alert(1, "Secret read", Priority.CRITICAL, "syscall", "node-1", "read", (), fields, origin, id="same")


def read(form: Format | None, template: str | None = None) -> Callable[[Alert], Any]:
    return lambda alert: json.loads(form_of(form, template).one(alert))


def fields(document: Any) -> dict[str, Any]:
    return {key: value for key, value in document["output_fields"].items() if key.startswith("tiercel.rule.")}


def event(alert: Alert) -> dict[str, Any]:
    made = event_object(alert, pod_of(alert), "node-1")
    prefix = "tiercel.dev/rule-"
    annotations = made["metadata"]["annotations"]
    return {name.removeprefix(prefix): value for name, value in annotations.items() if name.startswith(prefix)}


def syslog(alert: Alert) -> bytes:
    return Writer(10, "node-1", "tiercel", lambda _: b"read", 2048).rfc5424(alert)


def cloudevent(alert: Alert) -> dict[str, Any]:
    event = read(Format.CLOUDEVENTS)(alert)
    attributes = {name: value for name, value in event.items() if name in ("rulenamespace", "ruleobject")}
    assert list(fields(event["data"]).values()) == list(attributes.values())
    return attributes


IN_FIELDS = {"tiercel.rule.namespace": "shop", "tiercel.rule.object": "mine"}
FORMS: dict[str, tuple[Callable[[Alert], Any], Any, Any]] = {
    "json": (lambda alert: fields(read(Format.JSON)(alert)), IN_FIELDS, {}),
    "a line on standard output": (lambda alert: fields(json.loads(alert_line(json=True)(alert))), IN_FIELDS, {}),
    "cloudevents": (cloudevent, {"rulenamespace": "shop", "ruleobject": "mine"}, {}),
    "fields of a template": (
        lambda alert: fields(read(Format.TEMPLATE, '{"output_fields": {{ fields | json }}}')(alert)),
        IN_FIELDS,
        {},
    ),
    "names of a template": (
        read(Format.TEMPLATE, '[{{ rule_namespace | json }}, "{{ rule_object }}"]'),
        ["shop", "mine"],
        [None, ""],
    ),
    "otlp": (
        lambda alert: {
            key: value
            for key, value in (log_record(alert).attributes or {}).items()
            if key.startswith("tiercel.") and key.endswith((".rule.namespace", ".rule.object"))
        },
        IN_FIELDS,
        {},
    ),
    "events": (event, {"namespace": "shop", "object": "mine"}, {}),
    "alertmanager": (lambda alert: posted(alert, {})["labels"].get("rule_origin"), "shop/mine", None),
    "syslog": (
        lambda alert: (b' rule_namespace="shop" rule_object="mine"' in syslog(alert), b"rule_" in syslog(alert)),
        (True, True),
        (False, False),
    ),
    "mail and chats": (lambda alert: dict(facts_of(alert)).get("SecurityRule"), "shop/mine", None),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_says_whose_rule_it_is(form: str) -> None:
    said, of_tenant, of_file = FORMS[form]
    assert said(alert(Origin("shop", "mine"))) == of_tenant
    assert said(alert(Origin("shop", "mine"))) != said(alert(Origin("tiercel-system", "mine")))
    assert said(alert(None)) == of_file


def test_a_rule_cannot_say_it_is_anothers() -> None:
    """Fields of the same names, should an alert ever have them, don't count."""
    forged = alert(Origin("shop", "mine"))
    forged.output_fields["tiercel.rule.namespace"] = "tiercel-system"
    assert fields(read(None)(forged)) == IN_FIELDS
    assert (log_record(forged).attributes or {})["tiercel.rule.namespace"] == "shop"


def test_a_sink_can_ask_for_the_systems_rules_alone() -> None:
    spec = from_json(AlertSinkSpec, {"stdout": {}, "match": {"fields": {"tiercel.rule.namespace": "tiercel-system"}}})
    accepted = accepts(SinkSettings("soc", spec, "tiercel-system"))
    of = [Origin("tiercel-system", "soc"), Origin("shop", "mine"), None]
    assert [accepted(alert(origin)) for origin in of] == [True, False, False]
