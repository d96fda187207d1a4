"""Where a rule watches: which pods, which nodes, and whether the hosts themselves.

A scope is turned into a condition on fields that a process decides, and joined to the rule's own: so it is evaluated
where those are, once a process, and costs nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from tiercel_engine.condition import And, Atom, FieldOperand, Node, Not, Operator, Or
from tiercel_engine.fields import REGISTRY

SYSTEM_NAMESPACE = "tiercel-system"
"""Rules of this namespace watch the whole cluster, those of others their own namespace's pods."""

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label that every namespace bears with its own name."""


class LabelOperator(Enum):
    """As in Kubernetes' label selectors; ``NotIn`` holds where there is no such label too."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class LabelTest:
    key: str
    operator: LabelOperator
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether it does for an object with these labels."""
        match self.operator:
            case LabelOperator.IN:
                return labels.get(self.key) in self.values
            case LabelOperator.NOT_IN:
                return labels.get(self.key) not in self.values
            case LabelOperator.EXISTS:
                return self.key in labels
            case LabelOperator.DOES_NOT_EXIST:
                return self.key not in labels


Labels = tuple[LabelTest, ...]
"""All of which must hold."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is selected are pods and hosts, on the nodes that ``nodes`` and ``node_names`` allow.

    ``pods`` None selects no pods in particular, an empty one all of them; ``namespaces`` None stands for all. ``host``
    None is what follows from the rest: hosts are watched unless pods are selected; with ``host`` true and no pods
    selected, hosts alone are.
    """

    namespaces: frozenset[str] | None = None
    namespace_labels: Labels = ()
    pods: Labels | None = None
    nodes: Labels = ()
    node_names: frozenset[str] | None = None
    host: bool | None = None

    @property
    def condition(self) -> Node | None:
        """The scope as a condition; None if everything is in it."""
        parts = [*self._names("k8s.node.name", self.node_names), *_label_conditions("k8s.node.label", self.nodes)]
        subjects = self._subjects()
        if subjects is not None:
            parts.append(subjects)
        return _all(parts)

    def _subjects(self) -> Node | None:
        on_host = _atom("container.id", Operator.EQ, ("host",))
        if self.pods is None:
            return None if self.host is None else on_host if self.host else Not(on_host)
        tests = [
            *self._names("k8s.ns.name", self.namespaces),
            *(_namespace_condition(test) for test in self.namespace_labels),
            *_label_conditions("k8s.pod.label", self.pods),
        ]
        if not any(isinstance(test, Atom) for test in tests):  # the others hold where there is no pod
            tests.insert(0, _atom("k8s.pod.name", Operator.EXISTS))
        in_pods = tests[0] if len(tests) == 1 else And(tuple(tests))
        return Or((in_pods, on_host)) if self.host else in_pods

    @staticmethod
    def _names(field: str, names: frozenset[str] | None) -> Iterable[Node]:
        return () if names is None else (_atom(field, Operator.IN, tuple(sorted(names))),)


def _namespace_condition(test: LabelTest) -> Node:
    """A namespace's name needs no look at its labels."""
    if test.key == NAMESPACE_NAME and test.operator in (LabelOperator.IN, LabelOperator.NOT_IN):
        atom = _atom("k8s.ns.name", Operator.IN, test.values)
        return atom if test.operator is LabelOperator.IN else Not(atom)
    return _label_condition("k8s.ns.label", test)


def _label_conditions(field: str, tests: Labels) -> Iterable[Node]:
    return (_label_condition(field, test) for test in tests)


def _label_condition(field: str, test: LabelTest) -> Node:
    left = FieldOperand(REGISTRY[field], test.key)
    match test.operator:
        case LabelOperator.IN:
            return Atom(left, Operator.IN, test.values)
        case LabelOperator.NOT_IN:
            return Not(Atom(left, Operator.IN, test.values))
        case LabelOperator.EXISTS:
            return Atom(left, Operator.EXISTS)
        case LabelOperator.DOES_NOT_EXIST:
            return Not(Atom(left, Operator.EXISTS))


def _atom(field: str, operator: Operator, values: tuple[str, ...] = ()) -> Node:
    return Atom(FieldOperand(REGISTRY[field]), operator, values)


def _all(parts: Iterable[Node]) -> Node | None:
    found = tuple(parts)
    return None if not found else found[0] if len(found) == 1 else And(found)
