"""What a custom resource consists of, and what several of them have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Literal

from tiercel_engine.resources.schema import Says, says

Count = Annotated[int, Says(minimum=0)]
Time = Annotated[str, Says(format="date-time")]
Duration = Annotated[str, Says(pattern="^([0-9]{1,9}(ms|s|m|h|d))+$", max_length=64)]
"""Such as ``1h30m``."""


def time_text(moment: datetime | None = None) -> str:
    """A moment as it stands in statuses: RFC 3339 in UTC, to the second. The present one if none is given."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Column:
    """A column that `kubectl get` prints. It prints the name in capitals."""

    name: str
    path: str
    type: Literal["string", "integer", "date"] = "string"
    priority: int = 0
    """1 for columns that only `kubectl get -o wide` prints."""


AGE = Column("Age", ".metadata.creationTimestamp", "date")
READY = Column("Ready", '.status.conditions[?(@.type=="Ready")].status')


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind: its names, its models and its columns."""

    kind: str
    short_names: tuple[str, ...]
    namespaced: bool
    description: str
    spec: type | None
    status: type
    columns: tuple[Column, ...]

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def plural(self) -> str:
        return f"{self.singular}s"


class ConditionStatus(Enum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One aspect of the resource's state, as is usual in Kubernetes."""

    type: str = field(
        metadata=says(
            "The name of the condition, such as Ready.",
            max_length=316,
            pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
            r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        )
    )
    status: ConditionStatus = field(metadata=says("Whether the condition is true."))
    reason: str = field(
        metadata=says(
            "The reason, in one word for programs.",
            min_length=1,
            max_length=1024,
            pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        )
    )
    message: str = field(metadata=says("The reason, for people.", max_length=32768))
    last_transition_time: Time = field(metadata=says("When the status changed last."))
    observed_generation: Count | None = field(
        default=None, metadata=says("The generation of the resource that this condition is about.")
    )


Conditions = Annotated[tuple[Condition, ...], Says(map_keys=("type",))]
