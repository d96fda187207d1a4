"""Records and the maps' keys and values have the same layout in C (bpf/records.h, bpf/maps.h) and in Python.

The C side is what the compiler tells of its types, the Python side are the formats that pack and unpack."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from importlib.resources import files
from pathlib import Path
from struct import Struct, calcsize
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from tiercel_agent.detection import watch
from tiercel_agent.events.syscalls import kernel_plans, model
from tiercel_agent.filter import learner, lost_records, rule_counters, tables
from tiercel_agent.kernel import records
from tiercel_agent.kernel.bytecode.compiler import MAPS
from tiercel_agent.kernel.probes import rings

BPF = Path(str(files("tiercel_agent").joinpath("bpf")))
SOURCE = """
#define CALLS_PAGES 1
#define PROCESSES_PAGES 1
#define CGROUPS_PAGES 1
#define BPF_TABLE(type, key_type, value_type, name, entries) struct map_##name { key_type key; value_type value; } name
#define BPF_HASH(name, key_type, value_type, entries) BPF_TABLE("", key_type, value_type, name, entries)
#define BPF_ARRAY(name, value_type, entries) BPF_TABLE("", u32, value_type, name, entries)
#define BPF_PERCPU_ARRAY(name, value_type, entries) BPF_ARRAY(name, value_type, entries)
#define BPF_PROG_ARRAY(name, entries) BPF_ARRAY(name, u32, entries)
#define BPF_RINGBUF_OUTPUT(name, pages) struct section name
#include "maps.h"
"""

LAYOUTS: dict[str, tuple[Struct, ...]] = {
    "process": (records._PROCESS,),
    "header": (records._HEADER, *[records._PROCESS] * (1 + records._ANCESTORS)),
    "fork_record": (records._PREFIX, records._PROCESS, records._PROCESS),
    "exit_record": (records._PREFIX, records._EXIT, records._PROCESS),
    "cgroup_record": (records._CGROUP, Struct("1024s")),
    "section": (records._SECTION,),
    "file_facts": (records._FILE,),
    "socket_facts": (records._SOCKET,),
    "call_key": (Struct("=Ii4I"),),
    "filter_facts": (learner._FACTS,),
    "plan": (kernel_plans._PLAN, kernel_plans._FILTERED),
    "settings": (watch._SETTINGS,),
    "connection_key": (learner._CONNECTION,),
    "process_class": (learner._PROCESS,),
    "rule_key": (rule_counters._KEY,),
    "rule_counter": (rule_counters._COUNTERS,),
    "counter_pool": (rule_counters._POOL,),
    "share": (Struct("=4Q"),),  # the kernel's alone
    "loss_key": (lost_records._KEY,),
    "ring_operation": (rings._LAYOUT,),
    "ended": (Struct("=QQ"),),  # the kernel's alone
}
"""Of each structure the formats that Python packs or unpacks one behind the other."""

NAMES: dict[str, tuple[str, ...]] = {
    "process": records.ProcessRef._fields,
    "header": records.Header._fields,
    "file_facts": records.FileFacts._fields,
    "socket_facts": records.SocketFacts._fields,
    "filter_facts": learner.Facts._fields,
}

MAP_TYPES: dict[str, tuple[str, str]] = {
    "plans": ("I", "plan"),
    "families": ("I", "I"),
    "undelivered": ("I", "Q"),
    "ended": ("ended", "B"),
    "counters": ("I", "Q"),
    "call_counts": ("I", "Q"),
    "settings": ("I", "settings"),
    "candidate_sets": ("I", "Q"),
    "automaton": ("I", "Q"),
    "call_sets": ("call_key", "I"),
    "connection_sets": ("connection_key", "I"),
    "process_classes": ("I", "process_class"),
    "changed": ("I", "Q"),
    "clause_rules": ("I", "I"),
    "rule_counters": ("rule_key", "rule_counter"),
    "counter_pools": ("I", "counter_pool"),
    "pool_of_rule": ("I", "I"),
    "told_matches": ("Q", "Q"),
    "shares": ("Q", "share"),
    "losses": ("loss_key", "Q"),
    "ring_operations": ("I", "ring_operation"),
}
"""Key and value: a structure, or the format of a number."""
NOT_TABLES = {"calls", "processes", "cgroups", "scratch_spaces", "captured_subjects", "captured_names"}
NOT_TABLES |= {"empty_ring_call", "ring_calls"}
"""Ring buffers, and what belongs to the programs alone."""


class Member(NamedTuple):
    """``kind`` is a format of ``struct``: of a number, or ``s`` for bytes."""

    offset: int
    size: int
    kind: str


class CTypes:
    """The structures of bpf/, from the BTF of ``bpftool btf dump``."""

    def __init__(self, types: list[dict[str, Any]]) -> None:
        self._types = {type_["id"]: type_ for type_ in types}
        self.structures = {type_["name"]: type_ for type_ in types if type_["kind"] == "STRUCT"}

    def resolved(self, number: int) -> dict[str, Any]:
        type_ = self._types[number]
        return self.resolved(type_["type_id"]) if type_["kind"] in ("TYPEDEF", "CONST") else type_

    def members(self, structure: dict[str, Any], offset: int = 0) -> list[tuple[str, Member]]:
        """All numbers and texts in it, with their names; those of an array ``args`` are ``arg0``, ``arg1`` …"""
        found: list[tuple[str, Member]] = []
        for member in structure["members"]:
            found += self._leaves(member["name"], member["type_id"], offset + member["bits_offset"] // 8)
        return found

    def _leaves(self, name: str, number: int, offset: int) -> list[tuple[str, Member]]:
        type_ = self.resolved(number)
        if type_["kind"] == "STRUCT":
            return self.members(type_, offset)
        if type_["kind"] == "ARRAY":
            count, element = type_["nr_elems"], self.resolved(type_["type_id"])
            if element["name"] in ("char", "unsigned char"):
                return [(name, Member(offset, count, "s"))]
            size = element["size"]
            numbered = [(f"{name.removesuffix('s')}{at}", offset + at * size) for at in range(count)]
            return [leaf for each, place in numbered for leaf in self._leaves(each, type_["type_id"], place)]
        kind = {1: "b", 2: "h", 4: "i", 8: "q"}[type_["size"]]
        signed = not type_["name"].startswith(("unsigned", "short unsigned", "long unsigned", "long long unsigned"))
        return [(name, Member(offset, type_["size"], kind if signed else kind.upper()))]


@cache
def c_types() -> CTypes:
    if not (compiler := shutil.which("gcc")) or not shutil.which("bpftool"):
        pytest.skip("gcc and bpftool are needed to read the layouts of bpf/")
    with TemporaryDirectory() as folder:
        source, made = Path(folder, "layouts.c"), Path(folder, "layouts.o")
        source.write_text(SOURCE)
        flags = ["-gbtf", "-fno-eliminate-unused-debug-types", "-Wall", "-Werror", f"-I{BPF}"]
        shim = ["-include", str(BPF / "include/linux/kconfig.h")]
        subprocess.run([compiler, "-c", *flags, *shim, "-o", str(made), str(source)], check=True)
        told = subprocess.run(["bpftool", "-j", "btf", "dump", "file", str(made)], check=True, capture_output=True)
    return CTypes(json.loads(told.stdout)["types"])


def python_members(formats: tuple[Struct, ...]) -> list[Member]:
    """The members that formats say; ``2x``, which is padding, as one."""
    found: list[Member] = []
    offset = 0
    for packed in formats:
        for count, kind in re.findall(r"(\d*)([a-zA-Z])", packed.format):
            number = int(count or 1)
            sizes = [number] if kind in "sx" else [calcsize(f"={kind}")] * number
            for size in sizes:
                found.append(Member(offset, size, {2: "H", 4: "I"}[size] if kind == "x" else kind))
                offset += size
    return found


def test_every_structure_has_its_layout_here() -> None:
    ours = {name for name in c_types().structures if name != "pt_regs" and not name.startswith("map_")}
    assert ours == LAYOUTS.keys()


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_structure_is_laid_out_in_c_as_in_python(name: str) -> None:
    structure = c_types().structures[name]
    assert [member for _, member in c_types().members(structure)] == python_members(LAYOUTS[name])
    assert structure["size"] == sum(packed.size for packed in LAYOUTS[name])


@pytest.mark.parametrize("name", NAMES)
def test_members_have_the_same_names(name: str) -> None:
    names = [member for member, _ in c_types().members(c_types().structures[name])]
    assert tuple(names[: len(NAMES[name])]) == NAMES[name]


def test_the_filters_part_of_a_plan_has_the_same_names() -> None:
    names = [member for member, _ in c_types().members(c_types().structures["plan"])]
    parts = tables.FilterPlan._fields
    assert names[-len(parts) :] == list(parts)


def test_every_map_has_its_types_here() -> None:
    assert MAP_TYPES.keys() | NOT_TABLES == set(MAPS)


@pytest.mark.parametrize("name", MAP_TYPES)
def test_keys_and_values_of_a_map(name: str) -> None:
    types = c_types()
    sizes = []
    for member in types.structures[f"map_{name}"]["members"]:
        type_ = types.resolved(member["type_id"])
        sizes.append((type_["name"] if type_["kind"] == "STRUCT" else "", type_["size"]))
    expected = [
        (kind, sum(packed.size for packed in LAYOUTS[kind])) if kind in LAYOUTS else ("", calcsize(f"={kind}"))
        for kind in MAP_TYPES[name]
    ]
    assert sizes == expected


def constants(prefix: str) -> dict[str, int]:
    """The numbers that records.h and maps.h define under names with this prefix, by the rest of the name."""
    text = (BPF / "records.h").read_text() + (BPF / "maps.h").read_text()
    return {name: int(value, 0) for name, value in re.findall(rf"^#define {prefix}_(\w+) (\w+)", text, re.MULTILINE)}


@pytest.mark.parametrize("prefix", ["RECORD", "FLAG", "TRAIT", "ROLE"])
def test_constants_of_records(prefix: str) -> None:
    python = {"RECORD": "", "FLAG": "", "TRAIT": "", "ROLE": "ROLE_"}[prefix]
    numbers = constants(prefix)
    assert numbers
    assert numbers == {name: getattr(records, python + name) for name in numbers}


def test_kinds_of_sections() -> None:
    python = {name: value for name, value in vars(records.Section).items() if not name.startswith("_")}
    assert constants("SECTION") == python


def test_flags_of_plans() -> None:
    flags = constants("PLAN")
    assert flags
    assert flags == {name: getattr(model, name) for name in flags}


def test_families_of_calls() -> None:
    families = constants("FAMILY")
    assert {family.name: family.value for family in model.Family if family.value} == {
        name: families[name] for name in ("PLAIN", "PATHS", "DESCRIPTOR", "MESSAGE", "EXEC")
    }
