"""Label selectors as everywhere in Kubernetes, and selectors that also select by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from tiercel_engine.resources.schema import Cel, Says, says
from tiercel_engine.scope import LabelOperator

_MOST = 100
Name = Annotated[str, Says(max_length=253)]


@dataclass(frozen=True, slots=True)
class LabelExpression:
    """A test of one label."""

    VALIDATIONS: ClassVar = (
        Cel(
            "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values)",
            "In and NotIn need values, Exists and DoesNotExist take none",
        ),
    )

    key: str = field(metadata=says("The label's key.", max_length=317))
    operator: LabelOperator = field(metadata=says("The test. NotIn is true also where there is no such label."))
    values: tuple[Annotated[str, Says(max_length=63)], ...] | None = field(
        default=None, metadata=says("The values that In and NotIn compare with.", max_items=_MOST)
    )


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Selects by labels. Everything that is given must be true. An empty selector selects everything."""

    match_labels: Mapping[str, str] | None = field(
        default=None, metadata=says("Labels, with the values that they must have.", max_properties=_MOST)
    )
    match_expressions: tuple[LabelExpression, ...] = field(
        default=(), metadata=says("Tests of labels.", max_items=_MOST)
    )


@dataclass(frozen=True, slots=True)
class NamedSelector(LabelSelector):
    """Selects by name and by labels. Everything that is given must be true."""

    match_names: tuple[Name, ...] | None = field(
        default=None, metadata=says("Names, one of which the object must have.")
    )
