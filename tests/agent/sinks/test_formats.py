"""Forms of alerts, as their readers read them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from tiercel_agent.sinks.http.formats import form_of
from tiercel_agent.sinks.model import BadSink, Refused
from tiercel_engine.alert import Alert, alert_json, alert_text
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import Format

HOSTILE = 'quote" back\\slash \n\r\x00\x1b[31m \u202e \udcff </script> é'
READ = HOSTILE.replace("\udcff", "\ufffd")


def alert(**fields: Any) -> Alert:
    return Alert(
        1_795_436_768_078_933_574,
        f"Read {HOSTILE}",
        Priority.WARNING,
        "syscall",
        "node 1",
        HOSTILE,
        (HOSTILE,),
        {"proc.name": HOSTILE, **fields},
    )


IN_POD = alert(**{"k8s.ns.name": "shop", "k8s.pod.name": "web-1"})


@pytest.mark.parametrize("chosen", [None, Format.JSON])
def test_json_is_falcos_with_an_id(chosen: Format | None) -> None:
    form = form_of(chosen, None)
    made = form.one(IN_POD)
    assert form.content_type == form.several_type == "application/json"
    document = json.loads(made)
    assert document.pop("uuid") == IN_POD.id
    assert document == json.loads(alert_json(IN_POD))
    assert document["output_fields"]["proc.name"] == READ
    assert made.decode().isprintable()
    assert json.loads(form.several([IN_POD, alert()]))[0] == {"uuid": IN_POD.id, **document}


def test_cloudevents() -> None:
    form = form_of(Format.CLOUDEVENTS, None)
    made = form.one(IN_POD)
    assert form.content_type == "application/cloudevents+json; charset=utf-8"
    event = json.loads(made)
    assert event.pop("data") == json.loads(form_of(None, None).one(IN_POD))
    assert datetime.fromisoformat(event.pop("time")[:26]).isoformat() == "2026-11-23T12:26:08.078933"
    assert event.pop("rule").startswith("Read quote")
    assert event == {
        "specversion": "1.0",
        "id": IN_POD.id,
        "source": "/tiercel/node%201",
        "type": "dev.tiercel.alert",
        "subject": "shop/web-1",
        "datacontenttype": "application/json",
        "priority": "Warning",
    }
    assert made.decode().isprintable()


def test_attributes_of_cloudevents_are_of_the_specified_kinds() -> None:
    event = json.loads(form_of(Format.CLOUDEVENTS, None).one(alert()))
    assert "subject" not in event
    for name, value in event.items():
        assert name.isalnum()
        assert name == name.lower()
        assert name == "data" or (isinstance(value, str) and value and value.isprintable())


def test_several_cloudevents() -> None:
    form = form_of(Format.CLOUDEVENTS, None)
    assert form.several_type == "application/cloudevents-batch+json; charset=utf-8"
    alerts = [alert(), alert()]
    assert [each["id"] for each in json.loads(form.several(alerts))] == [each.id for each in alerts]


def test_text_is_a_line() -> None:
    form = form_of(Format.TEXT, None)
    assert form.one(IN_POD).decode() == alert_text(IN_POD)
    assert form.several([IN_POD, IN_POD]).decode() == f"{alert_text(IN_POD)}\n" * 2
    assert form.content_type == "text/plain; charset=utf-8"


def test_a_template_of_text() -> None:
    form = form_of(Format.TEMPLATE, "{{ priority }}: {{ proc.name }}")
    assert form.content_type == "text/plain; charset=utf-8"
    assert form.one(IN_POD).decode().isprintable()
    assert form.several([IN_POD, IN_POD]).decode().splitlines() == [form.one(IN_POD).decode()] * 2
    assert form.one(IN_POD).decode().startswith('Warning: quote" back\\slash')


@pytest.mark.parametrize("template", ['{"text": "{{ output }}"}', '\n {\n "text": "{{ output }}"}'])
def test_a_template_of_json_can_not_be_broken_out_of(template: str) -> None:
    form = form_of(Format.TEMPLATE, template)
    assert form.content_type == form.several_type == "application/json"
    assert json.loads(form.one(IN_POD))["text"].startswith('quote" back\\slash')
    assert len(json.loads(form.several([IN_POD, IN_POD]))) == 2


def test_a_template_with_a_mistake() -> None:
    with pytest.raises(BadSink, match=r"template: line 2, column 4: 'ruel' is no field .did you mean rule"):
        form_of(Format.TEMPLATE, "a\n{{ ruel }}")


def test_a_template_cant_make_much_of_little() -> None:
    """Else a tenant could have all of a node's memory, and detection with it."""
    form = form_of(Format.TEMPLATE, "{{ fields | json }}" * 256)
    large = alert(**{f"f{number}": "\x1b" * 4096 for number in range(10)})
    with pytest.raises(Refused, match="more than 1 Mi"):
        form.one(large)
    assert form.one(alert())


def test_several_are_refused_where_they_are_too_much_together() -> None:
    form = form_of(Format.JSON, None)
    large = alert(argument="x" * (3 << 20))
    assert len(json.loads(form.several([large, large]))) == 2
    with pytest.raises(Refused, match="together"):
        form.several([large] * 3)
    assert form.several([alert(argument="x" * (9 << 20))])
