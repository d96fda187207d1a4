"""Templates: what is read, what is rendered, and what is wrong."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.rendering.template import MOST_PLACES, TemplateError, inside_json, parse_template, render

HOSTILE = "a\"b\\c\n\x1b[31m\u202e\udcff<b>&'</b> {{ rule }} %0a"
FIELDS: dict[str, Any] = {
    "proc.name": "cat",
    "proc.cmdline": HOSTILE,
    "proc.aname[2]": "sshd",
    "proc.aname": ["sh", "sshd"],
    "user.uid": 0,
    "fd.name": None,
    "toupper(proc.name)": "CAT",
    "evt.rawtime": 1_700_000_000_000_000_001,
}
ALERT = Alert(
    1_795_436_768_078_933_574, "Read a file", Priority.WARNING, "syscall", "node-1", "read by cat", ("a", "b"), FIELDS
)


def text(template: str, alert: Alert = ALERT) -> str:
    return render(parse_template(template), alert)


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("", ""),
        ("plain }} { } text", "plain }} { } text"),
        ("{{rule}}", "Read a file"),
        ("[{{ priority }}] {{ rule }}: {{ output }}!", "[Warning] Read a file: read by cat!"),
        ("{{ text }}", "12:26:08.078933574: Warning read by cat"),
        ("{{ time }}", "2026-11-23T12:26:08.078933574Z"),
        ("{{ id }}", ALERT.id),
        ("{{ hostname }} {{ source }} {{ tags }}", "node-1 syscall a, b"),
        ("{{ proc.name }} {{proc.aname[2]}} {{ proc.aname }} {{ user.uid }}", "cat sshd (sh,sshd) 0"),
        ("{{ toupper(proc.name) }}", "CAT"),
        ("{{ evt.rawtime }}", "2023-11-14T22:13:20.000000001Z"),
        ("{{ fd.name }} {{ k8s.pod.name }}", "<NA> <NA>"),
        ("{{ fd.name | json }} {{ k8s.pod.name | json }}", "null null"),
        ("{{ rule | json }} {{ user.uid | json }} {{ proc.aname | json }}", '"Read a file" 0 ["sh","sshd"]'),
        ("{{ output | json }} {{ tags | json }}", '"read by cat" ["a","b"]'),
        ("{{ rule | url }}?{{ proc.aname | url }}", "Read%20a%20file?%28sh%2Csshd%29"),
        ('{"a": {{ rule | json }}}', '{"a": "Read a file"}'),
        ("{{\n rule\n|\njson }}", '"Read a file"'),
    ],
)
def test_rendering(template: str, wanted: str) -> None:
    assert text(template) == wanted


def test_hostile_text_stays_text() -> None:
    assert text("{{ proc.cmdline }}") == "a\"b\\c\\n\\x1b[31m\\u202e\ufffd<b>&'</b> {{ rule }} %0a"
    assert text("<p>{{ proc.cmdline | html }}</p>").count("<") == 2
    assert unquote(text("{{ proc.cmdline | url }}")) == text("{{ proc.cmdline }}")
    assert text("{{ proc.cmdline | url }}").isascii()
    encoded = text("{{ proc.cmdline | json }}")
    assert encoded.isprintable()
    assert json.loads(encoded) == HOSTILE.replace("\udcff", "\ufffd")


def test_all_fields() -> None:
    fields = json.loads(text("{{ fields | json }}"))
    assert fields["proc.name"] == "cat"
    assert fields["fd.name"] is None
    assert fields["evt.time"] == ALERT.time
    assert text("{{ evt.time }}") == "2026-11-23T12:26:08.078933574Z"


def test_within_the_quotes_of_json() -> None:
    made = render(parse_template('{"text": "{{ rule }} by {{ proc.cmdline }}"}'), ALERT, inside_json)
    assert json.loads(made)["text"].startswith('Read a file by a"b\\c')


@given(st.text(), st.text())
def test_no_value_ends_the_json_around_it(rule: str, value: str) -> None:
    alert = Alert(1, rule, Priority.DEBUG, "syscall", "h", value, (), {"proc.name": value})
    template = '{"plain": "{{ proc.name }} {{ rule }} {{ output }}", "whole": {{ proc.name | json }}}'
    document = json.loads(render(parse_template(template), alert, inside_json))
    assert list(document) == ["plain", "whole"]


@given(st.text(alphabet='{}| \nabc.json"rule[]()'))
def test_any_text_is_read_or_refused(template: str) -> None:
    rendered, line = None, 0
    try:
        rendered = render(parse_template(template), ALERT)
    except TemplateError as error:
        line = error.line
    if "{{" not in template:
        assert rendered == template
    elif rendered is None:
        assert 1 <= line <= template.count("\n") + 1


@pytest.mark.parametrize(
    ("template", "line", "column", "says"),
    [
        ("a {{ rule", 1, 3, "{{ is not closed (write {{ name }})"),
        ("a\nbc {{ rule }\n}", 2, 4, "{{ is not closed"),
        ("{{ }}", 1, 3, "there is no name between {{ and }}"),
        ("{{ | json }}", 1, 3, "there is no name"),
        ("{{ ruel }}", 1, 4, "'ruel' is no field (did you mean rule?)"),
        ("x\n  {{ proc.nmae }}", 2, 6, "'proc.nmae' is no field (did you mean proc.name?)"),
        ("{{ proc.names }}", 1, 4, "'proc.names' is no field"),
        ("{{ proc.name and more }}", 1, 4, "is no field"),
        ("{{ rule | jsn }}", 1, 9, "'jsn' is no filter (filters are json, url, html)"),
        ("{{ rule | }}", 1, 9, "is no filter"),
        ("{{ rule | json | html }}", 1, 9, "is no filter"),
        ("{{ fields }}", 1, 4, "write {{ fields | json }}"),
        ("{{ fields | html }}", 1, 4, "write {{ fields | json }}"),
        ("{{ 5 }}", 1, 4, "'5' is no name"),
        ("{{ \x1b[31m }}", 1, 4, "'\\\\x1b[31m' is no name"),
        ("{{{ rule }}}", 1, 3, "is no name"),
        ("{{ __class__ }}", 1, 4, "is no name"),
        ("{{ rule.__class__ }}", 1, 4, "is no field"),
        (f"{{{{ {'a' * 5000} }}}}", 1, 4, "is no name"),
    ],
)
def test_mistakes(template: str, line: int, column: int, says: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(template)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert says in str(caught.value)
    assert f"line {line}, column {column}: " in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_there_is_an_end_to_placeholders() -> None:
    parse_template("{{ rule }}" * MOST_PLACES)
    with pytest.raises(TemplateError, match="more than 256 placeholders"):
        parse_template("{{ rule }}" * (MOST_PLACES + 1))
