"""Alerts as bytes for the spool, and back: nothing of them changes on the way.

JSON in a UTF-8 that also takes lone surrogates, for what wasn't UTF-8 in an alert must come back as it was.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from tiercel_engine.alert import Alert
from tiercel_engine.event import Value
from tiercel_engine.priority import Priority
from tiercel_engine.rule import Origin

_VERSION = 1
_BYTES = "base64"  # the only key of an object that stands for bytes: alerts have no objects of their own
_FRAME, _FIELD = 512, 64  # bytes besides the texts
_SCALARS = (str, int, float, type(None))  # bool is an int


def weight(alert: Alert) -> int:
    """About how many bytes of memory it takes."""
    return _FRAME + len(alert.output) + sum(map(_length, alert.output_fields.values()))


def _length(value: Any) -> int:
    if isinstance(value, list):
        return _FIELD * (1 + len(value)) + sum(len(each) for each in value if isinstance(each, str))
    return _FIELD + (len(value) if isinstance(value, str | bytes) else 0)


def encode(alert: Alert) -> bytes:
    """The alert as a record. Raises ValueError if it holds a number of thousands of digits."""
    origin = alert.origin
    document = (
        *(_VERSION, alert.id, alert.time, alert.rule, int(alert.priority), alert.source, alert.hostname, alert.output),
        *(alert.tags, alert.output_fields, None if origin is None else (origin.namespace, origin.name)),
    )
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=_stored)
    return text.encode("utf-8", "surrogatepass")


def decode(payload: bytes) -> Alert:
    """The alert of a record. Raises ValueError if it is none."""
    try:
        document = json.loads(payload.decode("utf-8", "surrogatepass"))
        version, identifier, time, rule, priority, source, hostname, output, tags, fields, origin = document
        if version != _VERSION:
            raise ValueError("a record of another version")
        return Alert(
            time=_typed(time, int),
            rule=_typed(rule, str),
            priority=Priority(_typed(priority, int)),
            source=_typed(source, str),
            hostname=_typed(hostname, str),
            output=_typed(output, str),
            tags=tuple(_typed(tag, str) for tag in _typed(tags, list)),
            output_fields={key: _value(value) for key, value in _typed(fields, dict).items()},
            origin=None if origin is None else _origin(origin),
            id=_typed(identifier, str),
        )
    except (TypeError, RecursionError) as error:
        raise ValueError("no stored alert") from error


def _stored(value: Any) -> Any:
    """What JSON has no form for."""
    return {_BYTES: base64.b64encode(value).decode()} if isinstance(value, bytes) else str(value)


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"a {kind.__name__} was expected in a stored alert")
    return value


def _value(value: Any) -> Value | None:
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, list):
        return [_value(member) for member in value]  # type: ignore[return-value]
    if list(_typed(value, dict)) != [_BYTES]:
        raise ValueError("an object that isn't bytes in a stored alert")
    return base64.b64decode(_typed(value[_BYTES], str), validate=True)


def _origin(value: Any) -> Origin:
    namespace, name = _typed(value, list)
    return Origin(_typed(namespace, str), _typed(name, str))
