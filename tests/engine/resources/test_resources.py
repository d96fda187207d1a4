"""The models of the custom resources, their schema and their JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiercel_engine.resources import (
    RESOURCES,
    AlertSinkSpec,
    Condition,
    ConditionStatus,
    SecurityRuleSpec,
    SecurityRuleStatus,
    from_json,
    object_schema,
    to_json,
)
from tiercel_engine.resources.__main__ import main
from tiercel_engine.resources.alert_sink import DESTINATIONS, Match
from tiercel_engine.resources.destinations import StdoutSink
from tiercel_engine.resources.labels import LabelSelector
from tiercel_engine.resources.schema import Schema
from tiercel_engine.resources.security_rule import Item, Selector
from tiercel_engine.rules.documents import reader
from tiercel_engine.rules.documents.files import read_rules
from tiercel_engine.rules.documents.manifest import manifest_name, to_manifest

HERE = Path(__file__).parents[3]
STOCK = HERE.parent / "shared/falco-rules"
RULES_FILES = [
    *sorted((HERE / "config/rules").glob("*.yaml")),
    *(STOCK / f"falco{part}_rules.yaml" for part in ("", "-incubating", "-sandbox")),
]
KINDS = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict}
PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
CEL_KEYWORDS = frozenset(
    "true false null in as break const continue else for function if import let loop package namespace return var void "
    "while".split()
)


def problems(schema: Schema, value: Any, where: str = "") -> Iterator[str]:
    """What the API server would find in a value: refuse it, or leave it out."""
    kinds = [int, str] if INT_OR_STRING in schema else [KINDS[schema["type"]]] if "type" in schema else [type(value)]
    if schema.get("nullable") and value is None:
        return
    if type(value) not in kinds:
        yield f"{where}: {value!r} is no {schema.get('type', 'integer or string')}"
    elif isinstance(value, str):
        if "enum" in schema and value not in schema["enum"]:
            yield f"{where}: {value!r} is none of {schema['enum']}"
        if not re.search(schema.get("pattern", ""), value):
            yield f"{where}: {value!r} doesn't match {schema['pattern']}"
        yield from _too_many(schema, "Length", len(value), where)
    elif isinstance(value, list) and "items" in schema:
        for index, each in enumerate(value):
            yield from problems(schema["items"], each, f"{where}[{index}]")
        yield from _too_many(schema, "Items", len(value), where)
    elif isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        yield from (f"{where}.{key}: missing" for key in schema.get("required", ()) if key not in value)
        for key, each in value.items():
            property_schema = properties.get(key, others)
            if property_schema is not None:
                yield from problems(property_schema, each, f"{where}.{key}")
            elif PRESERVE not in schema:
                yield f"{where}.{key}: unknown"
        yield from _too_many(schema, "Properties", len(value), where)


def _too_many(schema: Schema, what: str, size: int, where: str) -> Iterator[str]:
    if not schema.get(f"min{what}", 0) <= size <= schema.get(f"max{what}", size):
        yield f"{where}: {size} {what}"


def parts(schema: Schema, where: str) -> Iterator[tuple[str, Schema]]:
    """A schema and all schemas in it."""
    yield where, schema
    for key, each in schema.get("properties", {}).items():
        yield from parts(each, f"{where}.{key}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from parts(schema[key], f"{where}[]")


ALL_PARTS = [part for kind in RESOURCES for part in parts(object_schema(kind), kind)]


def test_the_files_of_crds_are_made_from_the_models(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {path.name: path.read_text() for path in (HERE / "crds").glob("tiercel.dev_*.yaml")} == made
    assert len(made) == len(RESOURCES)


def test_without_a_folder_it_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "FOLDER" in capsys.readouterr().err


def test_the_schemas_are_structural() -> None:
    for where, schema in ALL_PARTS:
        assert ("type" in schema) != (INT_OR_STRING in schema or (PRESERVE in schema and len(schema) <= 2)), where
        assert schema.get("type") != "array" or "items" in schema, where
        assert not ("properties" in schema and "additionalProperties" in schema), where
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            assert key in schema["items"]["required"], where


def test_everything_is_explained() -> None:
    for where, schema in ALL_PARTS:
        assert schema.get("description", "").endswith(".") or where.endswith(("[]", "metadata", ".apiVersion", ".kind"))


def test_nothing_is_added_to_what_is_applied() -> None:
    assert [where for where, schema in ALL_PARTS if "default" in schema] == []


def test_rules_in_cel_see_what_they_ask_for() -> None:
    """Without a server that knows CEL: what they name is declared, has a type, and needs no escape."""
    rules = [
        (where, schema, rule) for where, schema in ALL_PARTS for rule in schema.get("x-kubernetes-validations", ())
    ]
    assert rules
    for where, schema, rule in rules:
        assert rule["message"].isprintable(), where
        for name in re.findall(r"self\.(\w+)", rule["rule"]):
            asked = schema["properties"][name]
            assert "type" in asked or INT_OR_STRING in asked, (where, name)
            assert name not in CEL_KEYWORDS, (where, name)
            assert "__" not in name, (where, name)
            optional = name not in schema.get("required", ())
            assert not optional or f"has(self.{name})" in rule["rule"], (where, name)


def test_lists_that_rules_in_cel_go_through_are_bounded() -> None:
    """Or the API server refuses the schema, since the rules might cost too much."""

    def unbounded(schema: Schema, bounded: bool, where: str) -> Iterator[str]:
        if "x-kubernetes-validations" in schema and not bounded:
            yield where
        for key, each in schema.get("properties", {}).items():
            yield from unbounded(each, bounded, f"{where}.{key}")
        for key, most in (("items", "maxItems"), ("additionalProperties", "maxProperties")):
            if key in schema:
                yield from unbounded(schema[key], bounded and most in schema, f"{where}[]")

    assert [where for kind in RESOURCES for where in unbounded(object_schema(kind), True, kind)] == []


def test_the_keys_of_the_rule_language_are_those_of_items() -> None:
    known = {"append", "override", *reader.REQUIREMENTS}
    for kind, form in reader._KINDS.items():
        known |= {kind, *form.keys}
    item = dict(ALL_PARTS)["SecurityRule.spec.rules[]"]
    assert set(item["properties"]) == known


@pytest.mark.parametrize("path", RULES_FILES, ids=lambda path: path.stem)
def test_rules_files_are_what_the_schema_says(path: Path) -> None:
    if not path.exists():
        pytest.skip("no copy of the stock rules beside the checkout, in shared/falco-rules")
    ((file,), _) = read_rules([path])
    made = yaml.safe_load(to_manifest(file, manifest_name(path.name), "tiercel-system"))
    assert list(problems(object_schema("SecurityRule")["properties"]["spec"], made["spec"])) == []
    assert to_json(from_json(SecurityRuleSpec, made["spec"])) == made["spec"]


ITEMS = """
- required_engine_version: 15
- required_plugin_versions: [{name: json, version: 0.7.0, alternatives: [{name: other, version: 1.0.0}]}]
- list: ports
  items: [80, http, "443"]
- rule: x
  desc: d
  condition: evt.type = open
  output: o
  priority: wArNiNg
  enabled: false
  warn_evttypes: false
  skip-if-unknown-filter: true
  capture: true
  capture_duration: 10
  override: {condition: append, priority: replace}
  exceptions:
  - {name: single, fields: proc.name, values: [a, 1, [b]]}
  - {name: rows, fields: [proc.name, fd.name], comps: ["=", in], values: [[a, [b, 2]], [c, ports]]}
  - {name: appended, values: [[a, b]]}
- rule: y
  exceptions:
"""


def test_all_that_the_rule_language_knows_is_taken() -> None:
    rules = yaml.safe_load(ITEMS)
    assert list(problems(object_schema("SecurityRule")["properties"]["spec"], {"rules": rules})) == []
    del rules[-1]["exceptions"]
    assert to_json(from_json(SecurityRuleSpec, {"rules": rules})) == {"rules": rules}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("rules: {rule: x}", ".rules: {'rule': 'x'} is no array"),
        ("rules: [x]", ".rules[0]: 'x' is no object"),
        ("rules: [{list: x, items: [1.5]}]", ".rules[0].items[0]: 1.5 is no integer or string"),
        ("rules: [{rule: x, override: {condition: prepend}}]", ".rules[0].override.condition: 'prepend' is none of"),
        ("selector: {}", ".rules: missing"),
        ("{rules: [], selector: {nodes: {matchExpressions: [{key: a, operator: is}]}}}", "operator: 'is' is none of"),
        ("{rules: [], tests: [{name: x, expect: []}]}", ".tests[0].event: missing"),
    ],
)
def test_what_is_wrong_is_refused(spec: str, told: str) -> None:
    (problem,) = problems(object_schema("SecurityRule")["properties"]["spec"], yaml.safe_load(spec))
    assert told in problem
    if "unknown" not in told:
        with pytest.raises(ValueError, match=r"missing|must be|is not a valid"):
            from_json(SecurityRuleSpec, yaml.safe_load(spec))


SINKS = """
events: {perMinute: 30}
otlp: {url: "http://collector:4318", protocol: http/protobuf, headers: [{name: x-team, value: a}]}
stdout: {}
file: {path: /var/log/tiercel/alerts.json, maxMebibytes: 100, maxAge: 24h, keep: 5}
syslog: {address: "tls://logs.example:6514", facility: local0, tls: {caFrom: {secretRef: {name: ca, key: ca.crt}}}}
program: {command: [/usr/bin/mailx, -s, alert]}
http: {urlFrom: {secretRef: {name: hook, key: url}}, method: PUT, batch: {size: 100, wait: 1s}, compression: gzip}
slack: {tokenFrom: {secretRef: {name: slack, key: token}}, channel: "#alerts"}
email: {server: mail.example, port: 465, startTls: implicit, from: a@example, to: [b@example], digest: 10m}
alertmanager: {url: "http://alertmanager:9093", labels: {team: a}}
notify: {urlFrom: {secretRef: {name: chat, key: url}}}
"""


@pytest.mark.parametrize("destination", DESTINATIONS)
def test_an_alert_sink_of_each_kind(destination: str) -> None:
    spec = {
        destination: yaml.safe_load(SINKS)[destination],
        "match": {
            "minimumPriority": "Warning",
            "tags": ["mitre_execution"],
            "rules": ["Shell*"],
            "namespaces": ["shop"],
        },
        "throttle": {"by": ["proc.name"], "window": "1h30m", "burst": 5},
        "format": "json",
        "silences": [
            {"matcher": {"rules": ["X"]}, "until": "2026-12-01T00:00:00Z", "owner": "ann", "reason": "upgrade"},
        ],
        "suspend": True,
    }
    assert list(problems(object_schema("AlertSink")["properties"]["spec"], spec)) == []
    assert to_json(from_json(AlertSinkSpec, spec)) == spec


def test_an_empty_part_is_not_an_absent_one() -> None:
    assert to_json(AlertSinkSpec(stdout=StdoutSink(), match=Match())) == {"stdout": {}, "match": {}}
    everywhere = SecurityRuleSpec((Item(list="x", items=()),), Selector(pods=LabelSelector()))
    assert to_json(everywhere) == {"rules": [{"list": "x", "items": []}], "selector": {"pods": {}}}
    assert from_json(SecurityRuleSpec, to_json(everywhere)) == everywhere


def test_a_status_tells_what_is_known_and_no_more() -> None:
    condition = Condition("Ready", ConditionStatus.TRUE, "AllNodes", "3 of 3", "2026-11-25T00:00:00Z", 2)
    status = SecurityRuleStatus(conditions=(condition,), alerts=0)
    assert to_json(status) == {
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "AllNodes",
                "message": "3 of 3",
                "lastTransitionTime": "2026-11-25T00:00:00Z",
                "observedGeneration": 2,
            }
        ],
        "alerts": 0,
    }
    assert list(problems(object_schema("SecurityRule")["properties"]["status"], to_json(status))) == []
    assert from_json(SecurityRuleStatus, to_json(status)) == status
