"""Alert priorities, Falco's names and order."""

from __future__ import annotations

from enum import IntEnum


class Priority(IntEnum):
    """Syslog severities: the smaller, the graver."""

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
        """The spelling in alerts: ``Warning``."""
        return self.name.capitalize()

    @classmethod
    def parse(cls, text: str) -> Priority | None:
        """A priority from any case of its name (``INFO`` too), or None."""
        name = text.strip().upper()
        return cls.INFORMATIONAL if name == "INFO" else cls.__members__.get(name)
