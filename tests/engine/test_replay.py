"""Recorded events: written and read again, and lines that are none."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.event import Event
from tiercel_engine.replay import MAX_LINE_BYTES, Malformed, read_events, read_lines, write_event
from tiercel_engine.uncertain import UNKNOWN, Beginning, Ending, Uncertain


def read(*lines: bytes | dict[str, Any]) -> list[Event | Malformed]:
    encoded = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    return list(read_events([line + b"\n" for line in encoded], "e.jsonl"))


def with_fields(**fields: Any) -> dict[str, Any]:
    return {"source": "syscall", "time": 5, "fields": {key.replace("_", "."): value for key, value in fields.items()}}


ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=())).map(
    # A pair of surrogates is one character in JSON.
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "proc.name": ANY_TEXT,
        "proc.aname": st.lists(ANY_TEXT, min_size=1),
        "fd.num": st.integers(-(1 << 63), (1 << 63) - 1),
        "fd.port": st.lists(st.integers(0, 65535), min_size=1),
        "evt.is_open_read": st.booleans(),
        "evt.buffer": st.binary(),
        "evt.arg.flags": ANY_TEXT,
        "proc.aname[2]": ANY_TEXT,
    },
)


@given(st.lists(VALUES, max_size=5), st.integers(0, (1 << 63) - 1))
def test_what_is_written_is_read_as_the_same(recorded: list[dict[str, Any]], time: int) -> None:
    events = [Event("syscall", time, fields) for fields in recorded]
    lines = [write_event(event) for event in events]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    again = list(read_events(lines, "e.jsonl"))
    assert again == events
    assert [(event.source, event.time) for event in again if isinstance(event, Event)] == [("syscall", time)] * len(
        events
    )


def test_a_recording_leaves_out_fields_without_value_and_reads_those_asked_for() -> None:
    event = Event("syscall", 1, {"proc.name": "x", "fd.num": None, "fd.name": "/"})
    assert json.loads(write_event(event))["fields"] == {"proc.name": "x", "fd.name": "/"}
    assert json.loads(write_event(event, ["proc.name", "fd.num", "proc.pname"]))["fields"] == {"proc.name": "x"}


def test_invalid_utf8_is_read_raw_and_escaped_as_the_same() -> None:
    raw = b'{"source":"syscall","time":1,"fields":{"proc.name":"a\xffb"}}'
    assert read(raw) == read(b'{"source":"syscall","time":1,"fields":{"proc.name":"a\\udcffb"}}')
    (event,) = read(raw)
    assert isinstance(event, Event)
    assert event["proc.name"] == "a\udcffb"


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        (b"oops", "", "is not JSON"),
        (b"{", "", "is not JSON"),
        (b"[" * 100_000, "", "is not JSON"),
        (b'{"source":"syscall","time":NaN,"fields":{}}', "", "is not JSON"),
        (b"null", "", "expected an object"),
        (b"[1]", "", "expected an object"),
        (b'"x"', "", "expected an object"),
        ({"source": "syscall", "fields": {}}, "time", "is missing"),
        ({"time": 5, "source": "syscall"}, "fields", "is missing"),
        ({"source": 1, "time": 5, "fields": {}}, "source", "string"),
        ({"source": "syscall", "time": "5", "fields": {}}, "time", "nanoseconds"),
        ({"source": "syscall", "time": -5, "fields": {}}, "time", "nanoseconds"),
        ({"source": "syscall", "time": 1 << 70, "fields": {}}, "time", "nanoseconds"),
        ({"source": "syscall", "time": 5, "fields": []}, "fields", "object"),
        (with_fields(fd_nam="x"), "fd.nam", "did you mean fd.name?"),
        (with_fields(fd_num="3"), "fd.num", "must be an integer, not a string"),
        (with_fields(fd_num=3.0), "fd.num", "must be an integer, not a number"),
        (with_fields(fd_num=True), "fd.num", "must be an integer, not true or false"),
        (with_fields(fd_name=3), "fd.name", "must be a string, not an integer"),
        (with_fields(fd_name=["x"]), "fd.name", "must be a string, not an array"),
        (with_fields(fd_name={}), "fd.name", "must be a string, not an object"),
        (with_fields(fd_ip="10.0.0.1"), "fd.ip", "must be an array, not a string"),
        (with_fields(fd_port=[1, "2"]), "fd.port", "must be an integer, not a string"),
        (with_fields(proc_aname=[None]), "proc.aname", "null"),
        (with_fields(evt_buffer="xyz"), "evt.buffer", "hexadecimal"),
        (with_fields(evt_buffer=1), "evt.buffer", "hexadecimal"),
        (with_fields(**{"proc_aname[x]": "a"}), "proc.aname[x]", "number"),
        (with_fields(**{"proc_aname[1": "a"}), "proc.aname[1", "]"),
        (with_fields(**{"fd_name[1]": "a"}), "fd.name[1]", "no argument"),
        (with_fields(**{"evt_arg[flags]": "a"}), "evt.arg[flags]", "evt.arg.flags"),
        (with_fields(evt_arg="a"), "evt.arg", "needs an argument"),
    ],
)
def test_a_line_that_is_no_event_is_told_with_its_place_and_the_rest_goes_on(
    line: bytes | dict[str, Any], field: str, message: str
) -> None:
    good = with_fields(fd_name="/a")
    first, malformed, last = read(good, line, b"", good)
    assert isinstance(first, Event)
    assert first == last
    assert isinstance(malformed, Malformed)
    assert (malformed.file, malformed.line, malformed.field) == ("e.jsonl", 2, field)
    assert message in str(malformed)
    # The same again, when the fields are known already.
    again = read(line, line)
    assert [type(event) for event in again] == [Malformed, Malformed]


def test_types_are_checked_on_lines_that_look_like_ones_before() -> None:
    events = read(with_fields(fd_num=1), with_fields(fd_num="1"), with_fields(fd_num=None), with_fields(fd_num=2))
    assert [type(event) for event in events] == [Event, Malformed, Event, Event]


def test_more_layouts_than_are_remembered() -> None:
    lines = [with_fields(**{f"evt_arg_{number}": "x", "fd_num": number}) for number in range(5000)]
    events = read(*lines, *lines)
    assert [event["fd.num"] for event in events if isinstance(event, Event)] == [*range(5000)] * 2


def test_a_line_without_end_is_not_held_in_memory() -> None:
    good = write_event(Event("syscall", 1, {"proc.name": "x"}))
    file = io.BytesIO(good + b'{"source": "' + b"x" * (2 * MAX_LINE_BYTES) + b'"}\n' + good)
    lines = list(read_lines(file))
    assert [len(line) for line in lines] == [len(good), MAX_LINE_BYTES + 1, len(good)]
    first, long, last = read_events(lines, "e.jsonl")
    assert first == last
    assert isinstance(long, Malformed)
    assert "longer" in long.message


def test_arguments_that_name_a_file_bear_its_resolved_name_in_the_second_view() -> None:
    fields = {"evt.type": "mkdir", "evt.arg.path": "/tmp/link/x", "fs.path.name": "/tmp/link/x", "evt.arg.mode": "0"}
    event = Event("syscall", 0, {**fields, "fs.path.realname": "/bin/x"})
    first, second = event.views()
    assert (first["evt.arg.path"], second["evt.arg.path"]) == ("/tmp/link/x", "/bin/x")
    assert second["evt.arg.mode"] == "0"


def test_what_is_known_of_a_text_is_recorded() -> None:
    texts = {"proc.args": Beginning("a"), "fd.name": Ending("b/c"), "evt.args": Uncertain("x"), "proc.exe": UNKNOWN}
    recorded = Event("syscall", 5, {**texts, "proc.name": "cat"})
    (event,) = read(write_event(recorded).rstrip())
    assert isinstance(event, Event)
    assert (dict(event), event.uncertain) == (dict(recorded), True)
    assert {key: type(event[key]) for key in event} == {key: type(recorded[key]) for key in recorded}
    (plain,) = read(with_fields(proc_name="cat"))
    assert isinstance(plain, Event)
    assert not plain.uncertain


@pytest.mark.parametrize(
    "uncertain", [1, ["proc.name"], {"proc.name": "middle"}, {"proc.exe": "beginning"}, {"proc.name": ["beginning"]}]
)
def test_uncertain_that_makes_no_sense(uncertain: object) -> None:
    (malformed,) = read({**with_fields(proc_name="cat"), "uncertain": uncertain})
    assert isinstance(malformed, Malformed)
    assert str(malformed).startswith("e.jsonl:1: ")
