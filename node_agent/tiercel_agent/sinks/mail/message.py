"""Alerts as mail: plain text and the same as HTML, with nothing raw of an attacker's in the head or in the HTML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape

from tiercel_agent.sinks.text import bounded, facts_of, place_of
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.units import rfc3339

MOST = 200
"""Alerts of one mail."""

_LONGEST_SUBJECT = 200  # characters
_LONGEST_NAME = 300
_LONGEST_OUTPUT = 16384
_LONGEST_LISTED = 1000

_COLOURS = {
    Priority.EMERGENCY: "#8b0000",
    Priority.ALERT: "#8b0000",
    Priority.CRITICAL: "#d00000",
    Priority.ERROR: "#e85d04",
    Priority.WARNING: "#b58900",
}
_OTHER_COLOUR = "#5c677d"
_CELL = 'style="padding:4px 12px 4px 0;vertical-align:top;text-align:left"'


@dataclass(frozen=True, slots=True)
class Envelope:
    """``domain`` is what the ids of messages end with."""

    sender: Address
    receivers: tuple[Address, ...]
    domain: str


def alert_mail(alert: Alert, envelope: Envelope) -> EmailMessage:
    """A mail of one alert."""
    rule = bounded(alert.rule, _LONGEST_NAME)
    subject = f"[Tiercel] {alert.priority.title}: {rule} ({bounded(place_of(alert), _LONGEST_NAME)})"
    facts = [
        ("Rule", alert.rule),
        ("Priority", alert.priority.title),
        ("Time", rfc3339(alert.time)),
        *facts_of(alert),
        ("Alert", alert.id),
    ]
    shown = [(name, bounded(value, _LONGEST_NAME)) for name, value in facts]
    output = bounded(alert.output, _LONGEST_OUTPUT)
    text = f"{output}\n\n" + "".join(f"{name + ':':<11}{value}\n" for name, value in shown)
    html = (
        f'<h3 style="color:{_colour(alert)}">{escape(f"{alert.priority.title}: {rule}")}</h3>'
        f'<p style="font-family:monospace;overflow-wrap:anywhere">{escape(output)}</p>'
        f"<table>{''.join(map(_row, shown))}</table>"
    )
    return _mail(envelope, subject, alert.id, text, html)


def digest_mail(alerts: Sequence[Alert], envelope: Envelope) -> EmailMessage:
    """A mail of several alerts: how often which rule, then each of them in order."""
    by_priority = Counter(alert.priority for alert in alerts)
    priorities = ", ".join(f"{by_priority[priority]} {priority.title}" for priority in sorted(by_priority))
    rules = [
        (bounded(rule, _LONGEST_NAME), str(count))
        for rule, count in Counter(alert.rule_key for alert in alerts).most_common()
    ]
    counts = "".join(f"{count:>6}  {rule}\n" for rule, count in rules)
    text = f"{counts}\n" + "\n".join(map(_entry, alerts))
    html = (
        f"<h3>{len(alerts)} alerts: {priorities}</h3>"
        f"<table>{''.join(_row((count, rule)) for rule, count in rules)}</table><hr>"
        f"<table>{''.join(map(_line, alerts))}</table>"
    )
    identifier = f"{alerts[0].id}.{len(alerts)}"
    return _mail(envelope, f"[Tiercel] {len(alerts)} alerts: {priorities}", identifier, text, html)


def _entry(alert: Alert) -> str:
    head = f"{rfc3339(alert.time)}  {alert.priority.title}  {bounded(alert.rule_key, _LONGEST_NAME)}"
    where = f"{bounded(place_of(alert), _LONGEST_NAME)}  {alert.id}"
    return f"{head}\n    {bounded(alert.output, _LONGEST_LISTED)}\n    {where}\n"


def _line(alert: Alert) -> str:
    cells = (
        escape(rfc3339(alert.time)),
        f'<b style="color:{_colour(alert)}">{escape(alert.priority.title)}</b>',
        f"{escape(bounded(alert.rule_key, _LONGEST_NAME))}<br>{escape(bounded(place_of(alert), _LONGEST_NAME))}",
        f'<code style="overflow-wrap:anywhere">{escape(bounded(alert.output, _LONGEST_LISTED))}</code>',
    )
    return f"<tr>{''.join(f'<td {_CELL}>{cell}</td>' for cell in cells)}</tr>"


def _row(fact: tuple[str, str]) -> str:
    """``fact`` is unescaped."""
    name, value = fact
    return f"<tr><th {_CELL}>{escape(name)}</th><td {_CELL}>{escape(value)}</td></tr>"


def _colour(alert: Alert) -> str:
    return _COLOURS.get(alert.priority, _OTHER_COLOUR)


def _mail(envelope: Envelope, subject: str, identifier: str, text: str, html: str) -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = envelope.sender
    mail["To"] = envelope.receivers
    # Here, `=?` would begin an encoded word, in which a line break can hide.
    mail["Subject"] = bounded(subject.replace("=?", "= ?"), _LONGEST_SUBJECT)
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = f"<{identifier}@{envelope.domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text)
    page = f'<!DOCTYPE html><html><head><meta charset="utf-8"></head><body>{html}</body></html>'
    mail.add_alternative(page, subtype="html")
    return mail


def domain_of(hostname: str) -> str:
    """The host's name as it can stand in an id and in a greeting."""
    return re.sub(r"[^0-9A-Za-z.-]", "-", hostname).strip(".-")[:253] or "localhost"
