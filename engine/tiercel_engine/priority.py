"""The priorities of alerts, with Falco's names and order."""

from __future__ import annotations

from enum import IntEnum


class Priority(IntEnum):
    """The severities of syslog: the smaller the number, the more severe."""

    EMERGENCY = 0
    ALERT = 1
    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFORMATIONAL = 6
    DEBUG = 7

    @property
    def title(self) -> str:
        """The name as alerts show it: ``Warning``."""
        return self.name.capitalize()

    @classmethod
    def parse(cls, text: str) -> Priority | None:
        """The priority of that name, in upper or lower case, or None if there is none. ``INFO`` is INFORMATIONAL."""
        name = text.strip().upper()
        return cls.INFORMATIONAL if name == "INFO" else cls.__members__.get(name)
