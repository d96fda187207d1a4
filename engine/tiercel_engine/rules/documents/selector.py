"""Reads the scope of a SecurityRule manifest from its ``spec.selector`` and ``metadata.namespace``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tiercel_engine.rules.documents import decoding
from tiercel_engine.rules.documents.decoding import DecodeError, kind_word
from tiercel_engine.rules.documents.document import Mapping, Scalar, YamlNode
from tiercel_engine.scope import SYSTEM_NAMESPACE, LabelOperator, Labels, LabelTest, Scope

_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_LABEL_KEY = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_PARTS = ("pods", "namespaces", "nodes", "host")
_WITH_VALUES = (LabelOperator.IN, LabelOperator.NOT_IN)


def read_scope(metadata: YamlNode | None, selector: YamlNode | None) -> Scope | None:
    """The scope of a manifest's rules; None if they watch everything. Raises DecodeError.

    A manifest without a namespace counts as one of the system namespace.
    """
    namespace = _namespace(metadata)
    tenant = namespace not in ("", SYSTEM_NAMESPACE)
    scope = Scope() if selector is None or _is_nothing(selector) else _selected(selector, tenant)
    if tenant:
        return Scope(frozenset({namespace}), (), scope.pods or (), scope.nodes, scope.node_names)
    return None if scope == Scope() else scope


def _namespace(metadata: YamlNode | None) -> str:
    node = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    if node is None or _is_nothing(node):
        return ""
    name = decoding.scalar(node, "metadata.namespace").value
    if not _NAMESPACE.fullmatch(name):
        raise DecodeError(f"{name[:70]!r} is no name of a namespace", node, "lower-case letters, digits and -")
    return name


def _selected(selector: YamlNode, tenant: bool) -> Scope:
    entries = _mapping(selector, "spec.selector", _PARTS)
    if tenant:
        for part in ("namespaces", "host"):
            if part in entries:
                message = f"{part} can be selected in the namespace {SYSTEM_NAMESPACE} only"
                raise DecodeError(message, entries[part], "rules of other namespaces watch their own pods")
    namespaces, namespace_labels = _names_and_labels(entries.get("namespaces"), "namespaces")
    nodes, node_labels = _names_and_labels(entries.get("nodes"), "nodes")
    return Scope(
        namespaces=namespaces,
        namespace_labels=namespace_labels,
        pods=_labels(entries["pods"], "pods") if "pods" in entries else () if "namespaces" in entries else None,
        nodes=node_labels,
        node_names=nodes,
        host=decoding.boolean(entries["host"], "spec.selector.host") if "host" in entries else None,
    )


def _names_and_labels(node: YamlNode | None, part: str) -> tuple[frozenset[str] | None, Labels]:
    if node is None:
        return None, ()
    entries = _mapping(node, f"spec.selector.{part}", ("matchNames", "matchLabels", "matchExpressions"))
    names = entries.get("matchNames")
    chosen = None if names is None else frozenset(decoding.strings(names, f"spec.selector.{part}.matchNames"))
    return chosen, _labels(node, part, ("matchNames",))


def _labels(node: YamlNode, part: str, others: tuple[str, ...] = ()) -> Labels:
    where = f"spec.selector.{part}"
    entries = _mapping(node, where, ("matchLabels", "matchExpressions", *others))
    tests = []
    if "matchLabels" in entries:
        labels = entries["matchLabels"]
        if not isinstance(labels, Mapping):
            raise DecodeError(f"{where}.matchLabels must be a mapping, not {kind_word(labels)}", labels)
        _refuse_repeated(labels)
        tests += [LabelTest(_key(key), LabelOperator.IN, (_value(value, where),)) for key, value in labels.entries]
    tests += _expressions(entries["matchExpressions"], where) if "matchExpressions" in entries else ()
    return tuple(tests)


def _expressions(node: YamlNode, where: str) -> Iterator[LabelTest]:
    where = f"{where}.matchExpressions"
    if isinstance(node, (Mapping, Scalar)):
        raise DecodeError(f"{where} must be a list, not {kind_word(node)}", node)
    for item in node.items:
        entries = _mapping(item, where, ("key", "operator", "values"))
        if "key" not in entries or "operator" not in entries:
            raise DecodeError(f"an entry of {where} needs key and operator", item)
        written = decoding.scalar(entries["operator"], "operator").value
        known = {operator.value: operator for operator in LabelOperator}
        if written not in known:
            raise DecodeError(f"{written[:40]!r} is no operator", entries["operator"], f"one of {', '.join(known)}")
        operator = known[written]
        values = entries.get("values")
        if (operator in _WITH_VALUES) != (values is not None):
            need = "needs" if operator in _WITH_VALUES else "takes no"
            raise DecodeError(f"{written} {need} values", values or item)
        chosen = () if values is None else decoding.strings(values, "values")
        if values is not None and not chosen:
            raise DecodeError(f"{written} needs values", values)
        yield LabelTest(_key(decoding.scalar(entries["key"], "key")), operator, chosen)


def _key(node: Scalar) -> str:
    if not _LABEL_KEY.fullmatch(node.value):
        raise DecodeError(f"{node.value[:70]!r} is no key of a label", node, "such as app.kubernetes.io/name")
    return node.value


def _value(node: YamlNode, where: str) -> str:
    value = decoding.scalar(node, f"{where}.matchLabels").value
    if not _LABEL_VALUE.fullmatch(value):
        hint = "letters, digits, - _ . and no more than 63 of them"
        raise DecodeError(f"{value[:70]!r} is no value of a label", node, hint)
    return value


def _mapping(node: YamlNode, where: str, keys: tuple[str, ...]) -> dict[str, YamlNode]:
    if not isinstance(node, Mapping):
        raise DecodeError(f"{where} must be a mapping, not {kind_word(node)}", node, f"with {', '.join(keys)}")
    _refuse_repeated(node)
    for key, _ in node.entries:
        if key.value not in keys:
            raise DecodeError(f"{where} has no {key.value[:40]!r}", key, f"one of {', '.join(keys)}")
    return {key.value: value for key, value in node.entries if not _is_nothing(value)}


def _refuse_repeated(node: Mapping) -> None:
    for key in node.repeated:
        raise DecodeError(f"the key {key.value} is there twice", key, "remove one")


def _is_nothing(node: YamlNode) -> bool:
    return isinstance(node, Scalar) and node.is_null
