"""Makes the alert of a rule that matched an event."""

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
"""The fields that every alert of a container has, also if the output of its rule does not name them."""

UNCERTAIN = "tiercel.uncertain"
"""The field that says which texts of an event are known only in part."""


def make_alert(rule: Rule, event: Event, output: Output, hostname: str, *, secrets: bool = False) -> Alert:
    """The alert for a rule and the view of an event that it matched.

    ``output`` is the compiled output of the rule. ``output_fields`` of the alert holds the fields that the output
    names and, for an event in a container, those of ``CONTEXT``. Where rules have read texts that are known only in
    part, it says which (``UNCERTAIN``): then it is possible that the rule matches, and not certain. Secrets in command
    lines and environments are masked, unless ``secrets`` is true.
    """
    values = output.values(event)
    if not secrets:
        values = {key: redacted(value) for key, value in values.items()}
    if event.uncertain and (value := event[UNCERTAIN]) is not None:
        values[UNCERTAIN] = value
    if event["container.id"] not in (None, HOST):
        values |= {key: value for key in CONTEXT if key not in values and (value := event[key]) is not None}
    text = output.render(values)
    return Alert(event.time, rule.name, rule.priority, event.source, hostname, text, rule.tags, values, rule.origin)
