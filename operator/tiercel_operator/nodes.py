"""Which nodes a SecurityRule is for, and which of them run it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from tiercel_engine.rule import Origin
from tiercel_engine.rules.objects import RuleObject
from tiercel_engine.scope import LabelOperator, LabelTest, Scope

_BUNDLES = 64


class History:
    """Which bundles hold an object as it is now: nodes that have an older one may run it all the same."""

    def __init__(self) -> None:
        self._bundles: OrderedDict[str, Mapping[Origin, RuleObject]] = OrderedDict()

    def made(self, bundle: str, objects: Iterable[RuleObject]) -> None:
        """A bundle of these objects is what nodes are to have."""
        self._bundles[bundle] = {found.origin: found for found in objects}
        self._bundles.move_to_end(bundle)
        if len(self._bundles) > _BUNDLES:
            self._bundles.popitem(last=False)

    def holds(self, bundle: str, found: RuleObject) -> bool:
        return self._bundles.get(bundle, {}).get(found.origin) is found


def is_for(scope: Scope, node: str, labels: Mapping[str, str]) -> bool:
    """Whether rules of that scope watch on a node."""
    named = scope.node_names is None or node in scope.node_names
    return named and all(_holds(test, labels) for test in scope.nodes)


def _holds(test: LabelTest, labels: Mapping[str, str]) -> bool:
    match test.operator:
        case LabelOperator.IN:
            return labels.get(test.key) in test.values
        case LabelOperator.NOT_IN:
            return labels.get(test.key) not in test.values
        case LabelOperator.EXISTS:
            return test.key in labels
        case LabelOperator.DOES_NOT_EXIST:
            return test.key not in labels
