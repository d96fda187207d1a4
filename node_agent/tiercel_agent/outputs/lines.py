"""Alerts and recorded events as lines of bytes."""

from __future__ import annotations

from collections.abc import Callable

from tiercel_engine.alert import Alert, alert_json, alert_text

Encode = Callable[[Alert], bytes]


def alert_line(*, json: bool) -> Encode:
    return _json_line if json else _text_line


def _json_line(alert: Alert) -> bytes:
    return alert_json(alert) + b"\n"


def _text_line(alert: Alert) -> bytes:
    return alert_text(alert).encode() + b"\n"
