"""What each transformer makes of a value."""

from __future__ import annotations

from typing import Any

import pytest

from tiercel_engine.evaluation.transformers import FUNCTIONS


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("tolower", ["BaSH"], "bash"),
        ("tolower", ["\u0130\u00c4A"], "\u0130\u00c4a"),
        ("toupper", [["a", "\u00dfb"]], ["A", "\u00dfB"]),
        ("basename", ["/usr/bin/cat"], "cat"),
        ("basename", ["/usr/bin/"], ""),
        ("basename", ["cat"], "cat"),
        ("b64", ["aGVsbG8="], "hello"),
        ("b64", ["aGVsbG8"], "hello"),
        ("b64", [b"/w=="], b"\xff"),
        ("b64", ["/w"], "\udcff"),
        ("b64", ["no base64!"], None),
        ("b64", ["\udcff"], None),
        ("len", ["caf\u00e9"], 4),
        ("len", [b"\xc3\xa9"], 2),
        ("len", [["a", "bc"]], 2),
        ("join", ["-", "a", "b"], "a-b"),
        ("join", [",", ["a", "b"]], "a,b"),
        ("concat", ["a", "b", "c"], "abc"),
        ("getopt", [["-n", "-t", "value", "file"], "nt:"], ["n", "t", "value"]),
        ("getopt", [["-ntvalue", "--", "-n"], "nt:"], ["n", "t", "value"]),
        ("getopt", [["-x", "-n"], "n"], ["?", "n"]),
        ("getopt", [["--long", "-n"], "n"], ["n"]),
        ("getopt", [["-", "-n"], "n"], []),
        ("getopt", [["-t"], "t:"], [""]),
        ("getopt", [["-t", "one", "-t", "two"], "t:", "t"], "two"),
        ("getopt", [["-n"], "nt:", "n"], "n"),
        ("getopt", [["-n"], "nt:", "t"], None),
        ("getopt", [["-t"], "t:", "t"], ""),
    ],
)
def test_transformers(name: str, arguments: list[Any], result: Any) -> None:
    assert FUNCTIONS[name](*arguments) == result
