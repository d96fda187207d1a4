"""The CustomResourceDefinitions, made from the models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import yaml

from tiercel_engine.api_group import API_GROUP, API_VERSION, VERSION
from tiercel_engine.resources.alert_sink import ALERT_SINK
from tiercel_engine.resources.node_agent import NODE_AGENT
from tiercel_engine.resources.resource import Column, Resource
from tiercel_engine.resources.schema import Schema, schema_of
from tiercel_engine.resources.security_rule import SECURITY_RULE

RESOURCES: Final[Mapping[str, Resource]] = {
    resource.kind: resource for resource in (SECURITY_RULE, ALERT_SINK, NODE_AGENT)
}

_HEAD = "# Generated from engine/tiercel_engine/resources by: python -m tiercel_engine.resources crds\n"
_WIDTH = 120


def object_schema(kind: str) -> Schema:
    """The schema of a whole object of the kind."""
    resource = RESOURCES[kind]
    parts = {"spec": resource.spec, "status": resource.status}
    return {
        "type": "object",
        "description": resource.description,
        **({"required": ["spec"]} if resource.spec else {}),
        "properties": {
            "apiVersion": {"type": "string", "description": f"{API_VERSION}"},
            "kind": {"type": "string", "description": resource.kind},
            "metadata": {"type": "object"},
            **{key: schema_of(model) for key, model in parts.items() if model},
        },
    }


def crd(kind: str) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    resource = RESOURCES[kind]
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in resource.columns],
        "schema": {"openAPIV3Schema": object_schema(kind)},
    }
    names = {
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
        "plural": resource.plural,
        "singular": resource.singular,
        "shortNames": list(resource.short_names),
        "categories": ["security"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{API_GROUP}"},
        "spec": {
            "group": API_GROUP,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": names,
            "versions": [version],
        },
    }


def crd_yaml(kind: str) -> str:
    """The CustomResourceDefinition as a file of `crds/` has it."""
    return _HEAD + yaml.dump(crd(kind), Dumper=_Dumper, sort_keys=False, width=_WIDTH)


def file_name(kind: str) -> str:
    return f"{API_GROUP}_{RESOURCES[kind].plural}.yaml"


def write_crds(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind in RESOURCES:
        (folder / file_name(kind)).write_text(crd_yaml(kind))


class _Dumper(yaml.SafeDumper):
    """Writes in full what occurs more than once, without YAML's aliases."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _column(column: Column) -> dict[str, Any]:
    keywords = asdict(column)
    keywords["jsonPath"] = keywords.pop("path")
    if not column.priority:
        del keywords["priority"]
    return keywords
