"""The registry of fields: what it knows, and how it reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tiercel_engine.fields import (
    FAMILIES,
    REGISTRY,
    Argument,
    FieldType,
    Multiplicity,
    Stage,
    container,
    documented,
    evt,
    fd,
    fs,
    k8s,
    key,
    lookup,
    proc,
    similar,
    user,
)

STOCK = Path(__file__).parents[4] / "shared" / "falco-rules"
FIELD = re.compile(r"\b(?:evt|proc|thread|fd|fs|user|group|container|k8s)\.[a-z0-9_.]+[a-z0-9_]")


def test_a_name_is_defined_once() -> None:
    parts = (evt, proc, user, container, k8s, fd, fs)
    assert sum(len(part.FIELDS) for part in parts) == len(REGISTRY)


@pytest.mark.parametrize("field", documented(), ids=lambda field: field.name)
def test_a_meaning_is_one_sentence(field) -> None:
    assert re.fullmatch(r"[A-Z].{10,130}\.", field.meaning)
    assert ". " not in field.meaning


@pytest.mark.stock
def test_every_field_of_the_stock_rules_is_known() -> None:
    files = sorted(STOCK.glob("falco*rules.yaml"))
    if not files:
        pytest.skip(f"no stock rules in {STOCK}")
    texts = [
        str(item.get(part, ""))
        for file in files
        for item in yaml.safe_load(file.read_text())
        for part in ("condition", "output", "exceptions")
    ]
    # a path or a host name in a condition looks like a field: only what stands at a word's start counts
    named = {name for text in texts for name in re.findall(rf"(?:^|[\s(%\[',])({FIELD.pattern})", text)}
    assert len(named) > 60
    assert [name for name in sorted(named) if lookup(name) is None] == []


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("evt.rawres", FieldType.INTEGER),
        ("evt.res", FieldType.STRING),
        ("fd.num", FieldType.INTEGER),
        ("fd.sport", FieldType.PORT),
        ("fd.sip", FieldType.ADDRESS),
        ("fd.snet", FieldType.NETWORK),
        ("user.loginuid", FieldType.INTEGER),
        ("proc.is_exe_upper_layer", FieldType.BOOLEAN),
        ("proc.duration", FieldType.DURATION),
        ("container.start_ts", FieldType.TIME),
        ("evt.buffer", FieldType.BYTES),
    ],
)
def test_types_decide_what_a_condition_may_compare(name: str, type_: FieldType) -> None:
    assert REGISTRY[name].type is type_


@pytest.mark.parametrize(
    "name",
    [
        "proc.aname",
        "proc.aexe",
        "proc.aexepath",
        "proc.acmdline",
        "proc.apid",
        "proc.aenv",
        "fd.ip",
        "fd.port",
        "fd.net",
        "fd.sip.name",
    ],
)
def test_fields_of_several_values_hold_if_one_does(name: str) -> None:
    assert REGISTRY[name].multiplicity is Multiplicity.ANY


def test_fields_that_change_between_the_two_names_of_a_file() -> None:
    names = {field.name for field in REGISTRY.values() if field.names_file}
    assert {"fd.name", "fd.directory", "fd.filename", "fs.path.name", "fs.path.source", "fs.path.target"} <= names
    assert not {"fd.nameraw", "fd.realname", "fs.path.nameraw", "fs.path.realname", "proc.exepath"} & names


@pytest.mark.parametrize(
    "name", ["proc.duration", "proc.ppid.duration", "container.duration", "proc.cwd", "proc.stdin.type"]
)
def test_what_changes_during_a_process_is_not_decided_once_a_process(name: str) -> None:
    assert REGISTRY[name].stage is not Stage.PROCESS


def test_any_argument_of_a_call_is_a_field() -> None:
    field = lookup("evt.arg.anything_new")
    assert field is not None
    assert (field.name, field.type, field.argument) == ("evt.arg.anything_new", FieldType.STRING, Argument.NONE)
    assert lookup("evt.arg.") is None
    assert lookup("evt.argument") is None


def test_raw_arguments_that_are_numbers_compare_as_numbers() -> None:
    assert lookup("evt.rawarg.flags").type is FieldType.INTEGER
    assert lookup("evt.rawarg.name").type is FieldType.STRING


def test_a_label_may_hold_dots_and_slashes() -> None:
    assert lookup("k8s.pod.label.app.kubernetes.io/name").name == "k8s.pod.label.app.kubernetes.io/name"


def test_both_spellings_of_a_family_member_are_one_key() -> None:
    assert all(REGISTRY[family].argument is Argument.REQUIRED for family in FAMILIES)
    assert key("evt.arg", "flags") == key(lookup("evt.arg.flags").name, None) == "evt.arg.flags"
    assert key("proc.aname", "2") == "proc.aname[2]"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("proc.nam", "proc.name"),
        ("process.name", "proc.name"),
        ("fd.naem", "fd.name"),
        ("container.image.repo", "container.image.repository"),
        ("evt.arg.flag", "evt.arg.flags"),
        ("K8S.NS.NAME", "k8s.ns.name"),
    ],
)
def test_a_misspelt_field_suggests_the_right_one(wrong: str, right: str) -> None:
    assert right in similar(wrong)


def test_nothing_is_suggested_for_nonsense() -> None:
    assert similar("zzzz") == []
    assert similar("x" * 10_000_000) == []
