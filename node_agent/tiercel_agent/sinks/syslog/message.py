"""An alert as a message of syslog: in the form of RFC 5424, and in the one that local sockets read."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tiercel_agent.sinks.text import one_line
from tiercel_engine.alert import RULE_NAMESPACE, RULE_OBJECT, Alert
from tiercel_engine.printable import printable
from tiercel_engine.units import rfc3339

FACILITIES: Final = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock"),
    *(f"local{number}" for number in range(8)),
)
"""By their numbers."""

SD_ID: Final = "tiercel@32473"
"""Names must have an enterprise's number unless IANA has registered them, and this project has none: this is the one
that RFC 5612 keeps for examples, and that others without one take. The name before it tells whose it is."""

_PARAMETERS: Final = (
    ("rule_namespace", RULE_NAMESPACE, 63),
    ("rule_object", RULE_OBJECT, 253),
    ("namespace", "k8s.ns.name", 63),
    ("pod", "k8s.pod.name", 253),
    ("container", "container.name", 128),
)
_LONGEST_RULE = 128  # bytes, as those above: together they leave room for text in the smallest message
_NOT_PRINTUSASCII = re.compile(r"[^!-~]+")
_WORD = re.compile(r"[A-Za-z0-9]+")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Writer:
    """What all messages have in common. ``line`` gives an alert's form; ``longest`` is bytes of a whole message."""

    facility: int
    hostname: str
    app_name: str
    line: Callable[[Alert], bytes]
    longest: int

    def rfc5424(self, alert: Alert) -> bytes:
        """There is no BOM before the text, which the RFC then takes for text in an unknown encoding (MSG-ANY).

        It is UTF-8 all the same; many receivers would show the BOM as part of it.
        """
        host = _NOT_PRINTUSASCII.sub("", self.hostname)[:255] or "-"
        name = message_id(alert.rule)
        head = f"<{self._pri(alert)}>1 {_timestamp(alert.time)} {host} {self.app_name} {os.getpid()} {name}"
        return self._with_text(f"{head} {_structured_data(alert)} ", alert)

    def traditional(self, alert: Alert) -> bytes:
        """As syslog(3) writes: ``<PRI>Mmm dd hh:mm:ss app[pid]: text``, in local time."""
        at = time.localtime(min(alert.time // 1_000_000_000, 1 << 34))
        clock = f"{_MONTHS[at.tm_mon - 1]} {at.tm_mday:2d} {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}"
        return self._with_text(f"<{self._pri(alert)}>{clock} {self.app_name}[{os.getpid()}]: ", alert)

    def _pri(self, alert: Alert) -> int:
        return self.facility * 8 + alert.priority

    def _with_text(self, head: str, alert: Alert) -> bytes:
        text = one_line(self.line(alert)).decode()
        return cut(head + text, self.longest)


def message_id(rule: str) -> str:
    """The rule's name as MSGID: ``ShellSpawnedInAContainer``, 32 characters of it, ``-`` if nothing is left."""
    return "".join(word[0].upper() + word[1:] for word in _WORD.findall(rule))[:32] or "-"


def cut(text: str, most: int) -> bytes:
    """The text in at most so many bytes, whole characters, with an ellipsis where something is left out."""
    encoded = text.encode()
    if len(encoded) <= most:
        return encoded
    return (encoded[: most - 3].decode("utf-8", "ignore") + "…").encode()


def _timestamp(nanoseconds: int) -> str:
    """RFC 3339 with microseconds: the RFC has room for no more."""
    text = rfc3339(nanoseconds)
    return f"{text[:-4]}Z" if text.endswith("Z") else "-"


def _structured_data(alert: Alert) -> str:
    values: dict[str, tuple[object, int]] = {
        "id": (alert.id, 64),
        "rule": (alert.rule, _LONGEST_RULE),
        "priority": (alert.priority.title, 16),
    }
    fields = alert.output_fields | alert.origin_fields
    values |= {name: (fields.get(field), most) for name, field, most in _PARAMETERS}
    return f"[{SD_ID}{''.join(_parameter(name, value, most) for name, (value, most) in values.items())}]"


def _parameter(name: str, value: object, most: int) -> str:
    if not isinstance(value, str) or not value:
        return ""
    text = cut(printable(value), most).decode()
    return f' {name}="{text.translate(_ESCAPES)}"'


_ESCAPES: Mapping[int, str] = {ord(character): f"\\{character}" for character in '"\\]'}
