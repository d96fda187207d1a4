"""Outputs: what is read, what is printed, and what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from engine_support.evaluation import event
from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.rendering.output import OutputError, compile_output

VALUES = {
    "proc.name": "cat",
    "proc.aname": ["sh", "sshd"],
    "proc.aname[2]": "sshd",
    "user.uid": 0,
    "evt.is_open_read": True,
    "evt.arg.flags": "O_RDONLY",
    "evt.rawtime": 1_700_000_000_000_000_001,
    "fd.name": "/etc/\udcff\x1b[0m",
    "evt.buffer": b"GET \xff",
    "proc.env[PATH]": "/bin",
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a %proc.name b", "a cat b"),
        ("%proc.name.", "cat."),
        ("%proc.name%user.uid", "cat0"),
        ("%proc.name.%user.uid", "cat.0"),
        ("(%proc.aname[2])", "(sshd)"),
        ("%proc.aname", "(sh,sshd)"),
        ("%evt.is_open_read", "true"),
        ("%evt.arg.flags, %evt.arg[flags]", "O_RDONLY, O_RDONLY"),
        ("%proc.env[PATH] %proc.env['PATH']", "/bin /bin"),
        ("%evt.rawtime", "2023-11-14T22:13:20.000000001Z"),
        ("%toupper(proc.name)!", "CAT!"),
        ("%len(proc.aname) %basename(fd.name)", "2 \udcff\x1b[0m"),
        ('%join("->", (proc.name, "x)"))', "cat->x)"),
        ("%fd.name", "/etc/\udcff\x1b[0m"),
        ("%evt.buffer", "GET \udcff"),
        ("%5proc.name|%2proc.name|", "cat  |ca|"),
        ("%proc.pname %toupper(proc.pname) %proc.aname[7]", "<NA> <NA> <NA>"),
        ("*%proc.name %proc.pname", "cat <NA>"),
        ("* a * b", " a * b"),
        ("%proc.name[x]", "cat[x]"),
        ("%proc.names %user.uid_x", "cats 0_x"),
        ("%proc.name.next", "cat.next"),
        ("a %container.info b", "a  b"),
    ],
)
def test_formatting(template: str, text: str) -> None:
    assert compile_output(template).format(event(VALUES)) == text


def test_what_is_odd_is_remarked_upon() -> None:
    template = "%proc.name %proc.exepat %container.info %evt.dir %proc.name.next"
    remarks = [(template[remark.start : remark.end], remark.code) for remark in compile_output(template).remarks]
    assert remarks == [
        ("proc.exepat", "LOAD_COMPILE_CONDITION"),
        ("%container.info", "LOAD_DEPRECATED_ITEM"),
        ("evt.dir", "LOAD_DEPRECATED_ITEM"),
    ]
    assert compile_output(template).remarks[0].hint == "did you mean %proc.exepath?"


def test_a_long_unknown_name_is_told_in_short() -> None:
    with pytest.raises(OutputError) as error:
        compile_output("%" + ".".join(["a"] * 100_000))
    assert len(error.value.message) < 200


def test_the_fields_that_are_read() -> None:
    output = compile_output(
        '%proc.name %proc.aname[2] %evt.arg[flags] %join("-", (proc.pname, fd.name)) %len(fd.types)'
    )
    assert output.fields == {"proc.name", "proc.aname[2]", "evt.arg.flags", "proc.pname", "fd.name", "fd.types"}


def test_values_are_named_as_they_are_written() -> None:
    output = compile_output("%proc.name %tolower(proc.name) %proc.aname[2] %user.name")
    assert output.values(event(VALUES)) == {
        "proc.name": "cat", "tolower(proc.name)": "cat", "proc.aname[2]": "sshd", "user.name": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("template", "marked", "hint"),
    [
        ("50% of", "%", "%proc.name"),
        ("ends with %", "%", "%proc.name"),
        ("%%", "%", "%proc.name"),
        ("a %proc.nam b", "proc.nam", "did you mean %proc.name?"),
        ("a %nothing b", "nothing", "tiercel fields"),
        ("%evt.arg", "evt.arg", "evt.arg[name]"),
        ("%proc.aname[x]", "proc.aname[x]", "proc.aname[1]"),
        ("a %tolower(proc.name", "tolower(", ""),
        ("a %lower(proc.name)", "lower", "tolower"),
        ("a %tolower(proc.nam)", "proc.nam", "proc.name"),
        ("%tolower(user.uid)", "user.uid", ""),
    ],
)
def test_errors_name_the_place(template: str, marked: str, hint: str) -> None:
    with pytest.raises(OutputError) as error:
        compile_output(template)
    assert template[error.value.start : error.value.end] == marked
    assert hint in error.value.hint


@given(st.text("%*()[]'\"\\ .a1-_\n") | st.text())
def test_no_text_is_too_strange(text: str) -> None:
    place = range(0)
    try:
        compile_output(text).format(event(VALUES))
    except OutputError as error:
        place = range(error.start, error.end)
    assert 0 <= place.start <= place.stop <= len(text)


@given(
    st.sampled_from(sorted(VALUES)), st.none() | st.text() | st.integers() | st.binary() | st.booleans() | st.floats()
)
def test_no_value_is_too_strange(key: str, value: Any) -> None:
    made = event({key: value})
    assert isinstance(compile_output(f"%{key}").format(made), str)


def test_an_output_cant_make_much_of_little() -> None:
    """Outputs are tenants' too, and what they make waits in the memory of every node."""
    text = compile_output("%9999proc.name" * 256).format(event(VALUES))
    assert len(text) == 1 << 16
    assert text.startswith("cat ")
    assert text.endswith("…")
    with pytest.raises(OutputError, match="more than 256 fields"):
        compile_output("%proc.name" * 257)
