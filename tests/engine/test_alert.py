"""Alerts as JSON and as text: Falco's form, and nothing hostile raw."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from engine_support.evaluation import atom, rule
from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.alert import alert_json, alert_text
from tiercel_engine.event import Event
from tiercel_engine.printable import printable, valid
from tiercel_engine.rendering.alerts import make_alert
from tiercel_engine.rendering.output import compile_output

TIME = 1_795_431_600_123_456_789  # 2026-11-23T11:00:00.123456789Z
RULE = rule(atom("proc.name", "exists"), name="Shell", output="shell (%proc.name %user.uid %proc.aname %user.name)")


def alert(fields: dict[str, Any], hostname: str = "node-1") -> Any:
    return make_alert(RULE, Event("syscall", TIME, fields), compile_output(RULE.output), hostname)


def test_json_has_the_keys_and_forms_of_falcos() -> None:
    made = alert({"proc.name": "sh", "user.uid": 0, "proc.aname": ["a", "b"]})
    assert json.loads(alert_json(made)) == {
        "hostname": "node-1",
        "output": "11:00:00.123456789: Warning shell (sh 0 (a,b) <NA>)",
        "output_fields": {
            "evt.time": TIME, "proc.name": "sh", "user.uid": 0, "proc.aname": ["a", "b"], "user.name": None,
        },
        "priority": "Warning",
        "rule": "Shell",
        "source": "syscall",
        "tags": [],
        "time": "2026-11-23T11:00:00.123456789Z",
    }  # fmt: skip


def test_text() -> None:
    assert alert_text(alert({"proc.name": "sh"})) == "11:00:00.123456789: Warning shell (sh <NA> <NA> <NA>)"


HOSTILE = "\x00\x1b[2J\x1b]0;x\x07\r\n\t\x7f\x85\x9b31m\u202e\u2028\u2029\u200b\ufeff\udcff\udce2\udc82\ud800\U000e0041"


def test_hostile_names_in_text() -> None:
    text = alert_text(alert({"proc.name": HOSTILE}))
    assert text.isprintable()
    assert r"\x00\x1b[2J\x1b]0;x\x07\r\n\t\x7f\x85\x9b31m\u202e\u2028\u2029\u200b\ufeff" in text
    assert "\ufffd" in text


def test_hostile_names_in_json() -> None:
    line = alert_json(alert({"proc.name": HOSTILE}, hostname=HOSTILE))
    assert not any(byte < 0x20 for byte in line)
    text = line.decode()
    name = json.loads(text)["output_fields"]["proc.name"]
    assert name.startswith("\x00\x1b[2J")
    assert "\udcff" not in name
    assert "\ufffd" in name


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_anything_in_a_name(name: str) -> None:
    made = alert({"proc.name": name, "user.uid": 1 << 70})
    line = alert_json(made)
    assert b"\n" not in line
    assert isinstance(json.loads(line), dict)
    text = alert_text(made)
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in text)
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, caf\u00e9 \u4f60\u597d \U0001f600", "plain, caf\u00e9 \u4f60\u597d \U0001f600"),
        ("a\\nb", "a\\nb"),
        ("\udcc3\udca9", "\u00e9"),
        ("\udcff", "\ufffd"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_valid_text_can_be_encoded_and_what_was_valid_stays(text: str) -> None:
    valid(text).encode()
    assert valid(valid(text)) == valid(text)


@pytest.mark.parametrize(
    ("time", "expected"),
    [(0, "00:00:00.000000000"), (1, "00:00:00.000000001"), (86_399_999_999_999, "23:59:59.999999999")],
)
def test_the_time_of_day(time: int, expected: str) -> None:
    made = make_alert(RULE, Event("syscall", time, {}), compile_output("x"), "h")
    assert alert_text(made) == f"{expected}: Warning x"
    assert json.loads(alert_json(made))["output_fields"]["evt.time"] == time


@given(st.text(st.characters(codec="utf-8")))
def test_json_has_no_hidden_character_raw_and_loses_none(name: str) -> None:
    written = alert_json(alert({"proc.name": name}))
    hidden = {"Cc", "Cf", "Co", "Cn", "Zl", "Zp"}
    assert not [c for c in written.decode() if unicodedata.category(c) in hidden]
    assert json.loads(written)["output_fields"]["proc.name"] == name


@pytest.mark.parametrize("name", ["\x9b31m", "\x7f", "\u202egpj.exe", "\U000e0001", "\u2028"])
def test_json_shows_what_terminals_act_on_as_escapes(name: str) -> None:
    written = alert_json(alert({"proc.name": name}))
    assert written.isascii()
    assert json.loads(written)["output_fields"]["proc.name"] == name


IN_POD = {
    "container.id": "3ad7b26ded6d",
    "container.name": "web",
    "k8s.ns.name": "shop",
    "k8s.pod.name": "web-1",
    "k8s.owner.kind": "Deployment",
    "tiercel.missing": "pod",
}


def test_an_alert_of_a_container_says_where_without_being_asked() -> None:
    made = alert({"proc.name": "sh", "proc.cmdline": "sh -c id", **IN_POD})
    asked = {"proc.name": "sh", "user.uid": None, "proc.aname": None, "user.name": None}
    assert made.output_fields == asked | IN_POD
    assert made.output == "shell (sh <NA> <NA> <NA>)"


@pytest.mark.parametrize("place", [{}, {"container.id": "host", "container.name": "host", "k8s.node.name": "node-1"}])
def test_an_alert_of_the_host_has_what_its_output_names_alone(place: dict[str, Any]) -> None:
    assert set(alert({"proc.name": "sh", **place}).output_fields) == {
        "proc.name",
        "user.uid",
        "proc.aname",
        "user.name",
    }


def test_secrets_of_command_lines_are_masked_unless_they_may_be_shown() -> None:
    event = Event("syscall", TIME, {"proc.cmdline": "mysql --password=hunter2 -h db", "container.id": "host"})
    output = compile_output("command=%proc.cmdline")
    made = make_alert(RULE, event, output, "h")
    assert made.output == "command=mysql --password=*** -h db"
    assert made.output_fields["proc.cmdline"] == "mysql --password=*** -h db"
    assert "hunter2" in make_alert(RULE, event, output, "h", secrets=True).output
