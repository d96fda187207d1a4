"""An alert as a message of Slack: plain text alone, so that nothing of an attacker's is markup, a link or a mention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiercel_agent.sinks.text import ELLIPSIS, facts_of, plain
from tiercel_engine.alert import Alert
from tiercel_engine.printable import printable
from tiercel_engine.priority import Priority
from tiercel_engine.units import rfc3339

# Slack's limits, in characters; they are kept in units of UTF-16, of which there are never fewer.
_LONGEST_HEADER = 150
_LONGEST_TEXT = 3000
_LONGEST_FACT = 150
_LONGEST_FALLBACK = 400

_LOOKS: Mapping[Priority, tuple[str, str]] = {
    Priority.EMERGENCY: ("🔴", "#8b0000"),
    Priority.ALERT: ("🔴", "#8b0000"),
    Priority.CRITICAL: ("🔴", "#d00000"),
    Priority.ERROR: ("🟠", "#e85d04"),
    Priority.WARNING: ("🟡", "#ffba08"),
    Priority.NOTICE: ("🔵", "#3a86ff"),
    Priority.INFORMATIONAL: ("⚪", "#8d99ae"),
    Priority.DEBUG: ("⚪", "#8d99ae"),
}
"""The sign and the colour of a priority."""

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def message(alert: Alert) -> dict[str, Any]:
    """What both a webhook and chat.postMessage take. ``text`` is what notifications show."""
    sign, colour = _LOOKS[alert.priority]
    head = f"{sign} {alert.priority.title}: {alert.rule}"
    facts = [_plain(f"{name}: {value}", _LONGEST_FACT) for name, value in facts_of(alert)]
    stamps = [_plain(text, _LONGEST_FACT) for text in (rfc3339(alert.time), alert.id)]
    details = [
        {"type": "section", "text": _plain(alert.output, _LONGEST_TEXT)},
        {"type": "context", "elements": [*facts, *stamps]},
    ]
    # Where only this text is shown, and not by Slack, it may be taken for markup.
    fallback = plain(f"{head}: {alert.output[:_LONGEST_FALLBACK]}").replace("`", "'")
    return {
        "text": escaped(fallback, _LONGEST_FALLBACK),
        "blocks": [{"type": "header", "text": _plain(head, _LONGEST_HEADER)}],
        "attachments": [{"color": colour, "blocks": details}],
        "mrkdwn": False,
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def escaped(text: str, most: int) -> str:
    """The text printable and as Slack's entities, in at most so many units of UTF-16, never empty."""
    parts: list[str] = []
    room = most - len(ELLIPSIS)
    shown = printable(text[: most + 1]).strip()
    for character in shown:
        part = _ENTITIES.get(character, character)
        size = len(part) + (character > "\uffff")
        if size > room:
            return "".join(parts) + ELLIPSIS
        parts.append(part)
        room -= size
    return "".join(parts) or "-"


def _plain(text: str, most: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": escaped(text, most), "emoji": False}
