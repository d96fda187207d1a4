"""Scopes: which pods and nodes a rule watches, and whether it watches the hosts themselves.

A scope becomes a condition on fields that are the same for a whole process, and is joined to the condition of the
rule. So it is evaluated where such fields are, once for each process, and costs nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from tiercel_engine.condition import And, Atom, FieldOperand, Node, Not, Operator, Or
from tiercel_engine.fields import REGISTRY

SYSTEM_NAMESPACE = "tiercel-system"
"""Rules in this namespace watch the whole cluster. Rules in another namespace watch the pods of that namespace."""

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label of every namespace that holds its own name."""


class LabelOperator(Enum):
    """The operators of Kubernetes' label selectors. ``NotIn`` also holds for an object without the label."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class LabelTest:
    """One requirement of a label selector."""

    key: str
    operator: LabelOperator
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether the test holds for an object with these labels."""
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
"""A label selector: all of the tests must hold."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The pods and hosts that are watched, on the nodes that ``nodes`` and ``node_names`` allow.

    ``pods`` is None if pods are not selected, and empty if all pods are selected. ``namespaces`` is None for all
    namespaces. If ``host`` is None, hosts are watched unless pods are selected. If ``host`` is true and pods are not
    selected, only hosts are watched.
    """

    namespaces: frozenset[str] | None = None
    namespace_labels: Labels = ()
    pods: Labels | None = None
    nodes: Labels = ()
    node_names: frozenset[str] | None = None
    host: bool | None = None

    @property
    def condition(self) -> Node | None:
        """The scope as a condition; None if the scope contains everything."""
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
        if not any(isinstance(test, Atom) for test in tests):  # all other tests hold for processes outside of pods
            tests.insert(0, _atom("k8s.pod.name", Operator.EXISTS))
        in_pods = tests[0] if len(tests) == 1 else And(tuple(tests))
        return Or((in_pods, on_host)) if self.host else in_pods

    @staticmethod
    def _names(field: str, names: frozenset[str] | None) -> Iterable[Node]:
        return () if names is None else (_atom(field, Operator.IN, tuple(sorted(names))),)


def _namespace_condition(test: LabelTest) -> Node:
    """The condition of one test. For the name of a namespace, its labels need not be known."""
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
    conditions = tuple(parts)
    return None if not conditions else conditions[0] if len(conditions) == 1 else And(conditions)
