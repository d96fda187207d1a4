"""The alert that a rule gives for an event that it matches."""

from __future__ import annotations

from tiercel_engine.alert import HOST, Alert
from tiercel_engine.event import Event
from tiercel_engine.rendering.output import Output
from tiercel_engine.rendering.redaction import redacted
from tiercel_engine.rule import Rule

CONTEXT = (
    *("container.id", "container.name", "container.image.repository", "container.image.tag"),
    *("k8s.ns.name", "k8s.pod.name", "k8s.pod.uid", "k8s.pod.labels", "k8s.owner.kind", "k8s.owner.name"),
    *("k8s.node.name", "tiercel.missing"),
)
"""The fields that every alert of a container has, whether its rule's output names them or not."""


def make_alert(rule: Rule, event: Event, output: Output, hostname: str, *, secrets: bool = False) -> Alert:
    """The alert that a rule gives for the view of an event under which it matched.

    ``output`` is the rule's, compiled. ``output_fields`` hold besides what the output names where it happened, if that
    was in a container. Unless ``secrets`` may be shown, those that command lines and environments hold are masked.
    """
    values = output.values(event)
    if not secrets:
        values = {key: redacted(value) for key, value in values.items()}
    if event["container.id"] not in (None, HOST):
        values |= {key: value for key in CONTEXT if key not in values and (value := event[key]) is not None}
    text = output.render(values)
    return Alert(event.time, rule.name, rule.priority, event.source, hostname, text, rule.tags, values, rule.origin)
