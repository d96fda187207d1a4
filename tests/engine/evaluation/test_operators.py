"""Each operator by examples: what it holds for, and what it doesn't."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from engine_support.evaluation import atom, holds_for, operand
from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.condition import Literal, Not, Transformed
from tiercel_engine.fields import FieldType, Multiplicity

NAME, NUMBER, FLAG, DATA = "proc.name", "fd.num", "evt.is_open_read", "evt.buffer"


@pytest.mark.parametrize(
    ("operator", "constants", "yes", "no"),
    [
        ("=", ["cat"], ["cat"], ["Cat", "cat ", "", "ca"]),
        ("!=", ["cat"], ["Cat", ""], ["cat"]),
        ("<", ["b"], ["a", "B", ""], ["b", "c"]),
        (">=", ["b"], ["b", "ba"], ["a"]),
        ("contains", ["at"], ["cat", "at", "attic"], ["a", "", "CAT"]),
        ("contains", [""], ["", "x"], []),
        ("icontains", ["aT"], ["CAT", "cat"], ["c", "ät"]),
        ("startswith", ["/etc"], ["/etc", "/etcetera"], ["etc", "/ETC", " /etc"]),
        ("endswith", [".so"], ["a.so", ".so"], [".so.1", ".SO"]),
        ("in", ["cat", "dog"], ["cat", "dog"], ["cat,dog", ""]),
        ("intersects", ["cat", "dog"], ["cat"], ["c"]),
        (
            "glob",
            ["/home/*/.ssh/*"],
            ["/home/a/.ssh/id", "/home/a/b/.ssh/x/y", "/home//.ssh/"],
            ["/home/a/.ssh", "x/home/a/.ssh/y"],
        ),
        ("glob", ["?at[0-9!x]"], ["cat1", "cat!", "catx"], ["at1", "caty", "cat12"]),
        ("glob", ["[!a-c]x"], ["dx", "\nx"], ["ax", "x"]),
        ("glob", [r"a\*b"], ["a*b"], ["axb", r"a\*b"]),
        ("glob", ["a[b"], ["a[b"], ["ab"]),
        ("glob", ["a.(b|c)+$^"], ["a.(b|c)+$^"], ["a.b"]),
        ("iglob", ["/TMP/*.Sh"], ["/tmp/x.sH"], ["/tmp/x.shx"]),
        ("regex", ["[a-z]+/[0-9]+"], ["ab/12"], ["ab/12x", "xab/", "ab/12\n"]),
        ("regex", ["a.*b"], ["ab", "a\nb", "a\n\n\u20ac b"], ["a\nbc"]),
        (
            "pmatch",
            ["/etc", "/var/run/"],
            ["/etc", "/etc/", "/etc/x", "//etc//x", "/var/run/a/b"],
            ["/etcetera", "/var", "/", ""],
        ),
        ("pmatch", ["/"], ["/", "/x", ""], []),
        ("pmatch", ["/var/*/*.txt"], ["/var/spool/log.txt", "/var/run/a.txt/below"], ["/var/a.txt", "/var/a/b/c.txt"]),
        ("pmatch", ["/*/b/c", "/a/x"], ["/a/b/c", "/a/x/y"], ["/a/b", "/a/c"]),
    ],
)
def test_strings(operator: str, constants: list[str], yes: list[str], no: list[str]) -> None:
    condition = atom(NAME, operator, *constants)
    for value in yes:
        assert holds_for(condition, {NAME: value}), value
    for value in no:
        assert not holds_for(condition, {NAME: value}), value


@pytest.mark.parametrize(
    ("operator", "constants", "yes", "no"),
    [
        ("=", [3], [3], [-3, 0, 33]),
        ("!=", [3], [0], [3]),
        ("<", [3], [2, -1], [3]),
        ("<=", [3], [3], [4]),
        (">", [-1], [0], [-1]),
        (">=", [1 << 40], [1 << 40], [(1 << 40) - 1]),
        ("in", [1, 2], [1, 2], [3]),
    ],
)
def test_numbers(operator: str, constants: list[int], yes: list[int], no: list[int]) -> None:
    condition = atom(NUMBER, operator, *constants)
    assert all(holds_for(condition, {NUMBER: value}) for value in yes)
    assert not any(holds_for(condition, {NUMBER: value}) for value in no)


@pytest.mark.parametrize(
    ("operator", "constant", "yes", "no"),
    [
        ("=", b"\x00\xff", [b"\x00\xff"], [b"\x00", b""]),
        ("!=", b"\x00", [b""], [b"\x00"]),
        ("bcontains", b"\xca\xfe", [b"x\xca\xfe\x00"], [b"\xfe\xca", b""]),
        ("bstartswith", b"\x7fELF", [b"\x7fELF\x02"], [b" \x7fELF"]),
        ("contains", b"GET", [b"\nGET /"], [b"get"]),
        ("startswith", b"GET", [b"GET /"], [b" GET"]),
        ("endswith", b"\x00", [b"a\x00"], [b"\x00a"]),
    ],
)
def test_bytes(operator: str, constant: bytes, yes: list[bytes], no: list[bytes]) -> None:
    condition = atom(DATA, operator, constant)
    assert all(holds_for(condition, {DATA: value}) for value in yes)
    assert not any(holds_for(condition, {DATA: value}) for value in no)


def test_booleans() -> None:
    assert holds_for(atom(FLAG, "=", False), {FLAG: False})
    assert not holds_for(atom(FLAG, "=", True), {FLAG: False})
    assert holds_for(atom(FLAG, "!=", True), {FLAG: False})


ALL_OPERATORS = [
    (NAME, "=", ["x"]),
    (NAME, "!=", ["x"]),
    (NAME, "<", ["x"]),
    (NAME, "contains", [""]),
    (NAME, "icontains", [""]),
    (NAME, "startswith", [""]),
    (NAME, "endswith", [""]),
    (NAME, "glob", ["*"]),
    (NAME, "iglob", ["*"]),
    (NAME, "regex", [".*"]),
    (NAME, "in", ["x", "y"]),
    (NAME, "intersects", ["x"]),
    (NAME, "pmatch", ["/"]),
    (NAME, "exists", []),
    (NUMBER, ">=", [0]),
    (NUMBER, "!=", [0]),
    (FLAG, "=", [False]),
    (FLAG, "!=", [False]),
    (DATA, "bcontains", [b""]),
    (DATA, "!=", [b""]),
    ("fd.sip", "!=", [ip_address("::1")]),
    ("fd.ip", "!=", [ip_address("::1")]),
    ("fd.net", "in", [ip_network("::/0")]),
    ("proc.aname", "!=", ["x"]),
    ("proc.aname", "exists", []),
    ("fd.types", "in", ["x"]),
    ("fd.types", "exists", []),
]


@pytest.mark.parametrize(("field", "operator", "constants"), ALL_OPERATORS)
def test_a_field_without_value_makes_every_comparison_false_and_only_not_turns_it(
    field: str, operator: str, constants: list[str]
) -> None:
    condition = atom(field, operator, *constants)
    absences: list[dict[str, Any]] = [{}, {field: None}]
    for absent in (*absences, *([{field: []}] if operand(field).multiplicity is not Multiplicity.ONE else [])):
        assert not holds_for(condition, absent)
        assert holds_for(Not(condition), absent)


def test_exists() -> None:
    assert holds_for(atom(NAME, "exists"), {NAME: ""})
    assert holds_for(atom(NUMBER, "exists"), {NUMBER: 0})
    assert holds_for(atom(FLAG, "exists"), {FLAG: False})


def test_any_of_several_values() -> None:
    ancestors = {"proc.aname": ["bash", "sshd", "systemd"]}
    assert holds_for(atom("proc.aname", "=", "sshd"), ancestors)
    assert holds_for(atom("proc.aname", "in", "sshd", "cron"), ancestors)
    assert holds_for(atom("proc.aname", "startswith", "sys"), ancestors)
    assert holds_for(atom("proc.aname", "contains", "as"), ancestors)
    assert not holds_for(atom("proc.aname", "!=", "sshd"), ancestors)
    assert holds_for(atom("proc.aname", "!=", "cron"), ancestors)
    assert not holds_for(atom("proc.aname", "=", "cron"), ancestors)
    assert holds_for(atom("proc.aname[2]", "=", "sshd"), {"proc.aname[2]": "sshd"})


def test_lists() -> None:
    types = {"fd.types": ["file", "ipv4"]}
    assert holds_for(atom("fd.types", "in", "file", "ipv4", "pipe"), types)
    assert not holds_for(atom("fd.types", "in", "file"), types)
    assert holds_for(atom("fd.types", "intersects", "file", "pipe"), types)
    assert not holds_for(atom("fd.types", "intersects", "pipe"), types)


@pytest.mark.parametrize(
    ("operator", "constants", "yes", "no"),
    [
        ("=", ["10.0.0.1"], ["10.0.0.1", "::ffff:10.0.0.1", "::ffff:a00:1"], ["10.0.0.2", "::10.0.0.1"]),
        ("=", ["::ffff:10.0.0.1"], ["10.0.0.1"], ["10.0.0.2"]),
        ("=", ["::1"], ["::1", "0:0:0:0:0:0:0:1"], ["::2", "0.0.0.1"]),
        ("!=", ["10.0.0.1"], ["10.0.0.2", "::1"], ["10.0.0.1", "::ffff:10.0.0.1"]),
        ("in", ["10.0.0.1", "::1"], ["::1", "10.0.0.1"], ["::2"]),
        (
            "in",
            ["10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12"],
            ["10.9.9.9", "172.31.0.1", "::ffff:10.1.1.1"],
            ["11.0.0.1", "172.32.0.0"],
        ),
        ("=", ["0.0.0.0/0"], ["1.2.3.4", "::ffff:1.2.3.4"], ["::1"]),
        ("=", ["::/0"], ["::1", "fe80::1"], ["1.2.3.4"]),
        ("=", ["fe80::/10"], ["fe80::1", "febf::1"], ["fec0::1"]),
        ("=", ["::ffff:10.0.0.0/104"], ["10.200.0.1", "::ffff:10.0.0.1"], ["11.0.0.1"]),
        ("!=", ["10.0.0.0/8"], ["11.0.0.1"], ["10.0.0.1"]),
        ("in", ["10.0.0.1", "192.168.0.0/24"], ["10.0.0.1", "192.168.0.9"], ["10.0.0.2"]),
    ],
)
def test_addresses(operator: str, constants: list[str], yes: list[str], no: list[str]) -> None:
    field = "fd.snet" if any("/" in text for text in constants) else "fd.sip"
    condition = atom(field, operator, *(ip_network(text) if "/" in text else ip_address(text) for text in constants))
    assert all(holds_for(condition, {field: value}) for value in yes)
    assert not any(holds_for(condition, {field: value}) for value in no)


def test_either_end_of_a_connection() -> None:
    ends = {"fd.ip": ["10.0.0.1", "8.8.8.8"], "fd.port": [40000, 53]}
    assert holds_for(atom("fd.ip", "=", ip_address("8.8.8.8")), ends)
    assert holds_for(atom("fd.port", "in", 53, 853), ends)
    assert not holds_for(atom("fd.port", "!=", 53), ends)
    assert holds_for(atom("fd.port", "!=", 80), ends)


@given(st.text(max_size=30))
def test_what_is_no_address_is_equal_to_none(text: str) -> None:
    assert not holds_for(atom("fd.sip", "=", ip_address("255.255.255.254")), {"fd.sip": text})


@pytest.mark.parametrize(
    ("quantifier", "yes", "no"),
    [
        ("anyof", ["ab", "xa", "xb"], ["", "xy"]),
        ("allof", ["ab", "xbxa"], ["xa", "xb", ""]),
        ("oneof", ["xa", "xb"], ["ab", ""]),
    ],
)
def test_quantifiers(quantifier: str, yes: list[str], no: list[str]) -> None:
    condition = atom(NAME, "contains", "a", "b", quantifier=quantifier)
    assert all(holds_for(condition, {NAME: value}) for value in yes)
    assert not any(holds_for(condition, {NAME: value}) for value in no)


def test_quantified_equality() -> None:
    assert holds_for(atom(NAME, "!=", "a", "b", quantifier="allof"), {NAME: "c"})
    assert not holds_for(atom(NAME, "!=", "a", "b", quantifier="allof"), {NAME: "b"})
    # Of no values nothing holds, whatever the quantifier and operator.
    for operator in ("=", "!=", "startswith", "contains"):
        for quantifier in ("oneof", "anyof", "allof"):
            assert not holds_for(atom(NAME, operator, quantifier=quantifier), {NAME: "c"})
    assert holds_for(atom(NAME, "!=", "a", "b", quantifier="anyof"), {NAME: "b"})
    assert holds_for(atom(NAME, "=", "a", "b", quantifier="anyof"), {NAME: "b"})
    assert holds_for(atom(NAME, "startswith", "a", "b", quantifier="anyof"), {NAME: "bc"})
    assert holds_for(atom(NAME, "regex", "a.*", ".*b", quantifier="oneof"), {NAME: "ac"})


def test_two_fields() -> None:
    same = atom(NAME, "=", right=operand("proc.pname"))
    assert holds_for(same, {NAME: "x", "proc.pname": "x"})
    assert not holds_for(same, {NAME: "x", "proc.pname": "y"})
    assert not holds_for(same, {NAME: "x"})
    assert not holds_for(same, {"proc.pname": "x"})
    assert not holds_for(same, {})
    assert holds_for(atom(NAME, "startswith", right=operand("proc.pname")), {NAME: "bash", "proc.pname": "ba"})
    assert holds_for(atom(NUMBER, "<", right=operand("user.uid")), {NUMBER: 1, "user.uid": 2})
    assert holds_for(atom("fd.sip", "=", right=operand("fd.cip")), {"fd.sip": "1.2.3.4", "fd.cip": "::ffff:1.2.3.4"})
    assert holds_for(atom("fd.types", "in", right=operand("fd.types")), {"fd.types": ["file", "pipe"]})


def test_a_pattern_that_comes_with_the_event_and_is_none_matches_nothing() -> None:
    assert not holds_for(atom(NAME, "regex", right=operand("proc.pname")), {NAME: "(", "proc.pname": "("})
    assert holds_for(atom(NAME, "regex", right=operand("proc.pname")), {NAME: "aab", "proc.pname": "a+b"})


def test_transformed_operands() -> None:
    lowered = Transformed("tolower", (operand(NAME),), FieldType.STRING, Multiplicity.ONE)
    assert holds_for(atom(lowered, "=", "bash"), {NAME: "BASH"})
    assert not holds_for(atom(lowered, "!=", "bash"), {})
    joined = Transformed(
        "join", (Literal("-", FieldType.STRING), operand("proc.aname")), FieldType.STRING, Multiplicity.ONE
    )
    assert holds_for(atom(joined, "=", "a-b"), {"proc.aname": ["a", "b"]})
    assert holds_for(atom(NAME, "=", right=lowered), {NAME: "bash"})
    assert not holds_for(atom(NAME, "=", right=lowered), {NAME: "Bash"})


@pytest.mark.parametrize(
    ("operator", "constant", "value"),
    [
        ("glob", "/tmp/*", "/tmp/\udcff\udcfe"),
        ("glob", "/tmp/a?b", "/tmp/a\udcffb"),
        ("regex", "/tmp/.*", "/tmp/\udcff\n\x00\x1b"),
        ("iglob", "/TMP/*", "/tmp/\ud800"),
        ("pmatch", "/tmp/*/x", "/tmp/\udcff/x/y"),
        ("startswith", "/tmp/", "/tmp/\udcff"),
        ("=", "\udcff", "\udcff"),
        ("icontains", "A", "\udcffa"),
    ],
)
def test_names_that_are_not_utf8_evade_nothing(operator: str, constant: str, value: str) -> None:
    assert holds_for(atom("fd.name", operator, constant), {"fd.name": value})
