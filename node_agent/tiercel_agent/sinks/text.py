"""Attackers' text on its way to people and programs: bounded, on one line, and it calls nobody and begins no markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tiercel_engine.alert import Alert
from tiercel_engine.printable import printable, printable_json

ELLIPSIS = "…"

# Linear: one character, and at most one before or after it.
_MENTION = re.compile(r"(?<!\w)@(?=\w)")
_SPACE = re.compile(r"[\t\n\r]")
_MARKUP = re.compile(r"<(?=[@!#&:/?a-zA-Z])")


def bounded(text: str, most: int) -> str:
    """The text printable and in at most so many characters, with an ellipsis where something is left out."""
    shown = printable(text[: most + 1])
    return shown if len(shown) <= most and len(text) <= most else shown[: most - 1] + ELLIPSIS


def plain(text: str) -> str:
    """The text without what chats take for a call to people (``@here``, ``<!channel>``), a link (``<url|name>``) or a
    tag: other characters that look alike are in the place of ``@`` and ``<`` there."""
    return _MARKUP.sub("‹", _MENTION.sub("＠", text))


def place_of(alert: Alert) -> str:
    """``namespace/pod``, or what is known of it; the host's name outside of pods."""
    names = [value for value in (alert.output_fields.get(f"k8s.{key}") for key in ("ns.name", "pod.name")) if value]
    return "/".join(value for value in names if isinstance(value, str)) or alert.hostname


def facts_of(alert: Alert) -> Sequence[tuple[str, str]]:
    """Whose rule it is, and what is known of where it happened, by name, unescaped."""
    named = {
        "SecurityRule": "/".join(alert.origin_fields.values()),
        "Namespace": alert.output_fields.get("k8s.ns.name"),
        "Pod": alert.output_fields.get("k8s.pod.name"),
        "Container": alert.output_fields.get("container.name") or alert.output_fields.get("container.id"),
        "Image": alert.output_fields.get("container.image.repository"),
        "Node": alert.output_fields.get("k8s.node.name") or alert.hostname,
        "Tags": ", ".join(alert.tags),
    }
    return [(name, value) for name, value in named.items() if isinstance(value, str) and value]


def one_line(form: bytes) -> bytes:
    """An alert's form as one line without its end, UTF-8, with nothing in it that a terminal or a reader acts on.

    JSON stays JSON that says the same: there, line ends and tabs are mere space.
    """
    text = form.decode("utf-8", "replace").strip()
    if text.startswith(("{", "[")):
        text = printable_json(_SPACE.sub(" ", text).encode()).decode()
    return printable(text).encode()  # what only looked like JSON may have control characters still


def cut(text: str, most: int) -> str:
    """The text in at most so many bytes, whole characters, with an ellipsis where something is left out."""
    encoded = text.encode()
    if len(encoded) <= most:
        return text
    return encoded[: most - 3].decode("utf-8", "ignore") + "…"
