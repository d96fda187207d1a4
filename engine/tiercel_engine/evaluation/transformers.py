"""Transformers such as ``tolower(…)`` and ``join(…)``, as Falco's documentation and libsinsp 0.25 define them.

A transformer of one argument is applied to each member of a list, except ``len``, which counts the members. None,
as an argument or as the result, means that there is no value.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tiercel_engine.condition import FieldOperand, Literal, Operand
from tiercel_engine.evaluation.operators import lower, upper


def decode_base64(value: str | bytes) -> str | bytes | None:
    """The decoded value of a Base64 text, with or without padding; None if it is not Base64."""
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    try:
        decoded = b64decode(data.rstrip(b"=") + b"=" * (-len(data.rstrip(b"=")) % 4), validate=True)
    except ValueError:
        return None
    return decoded.decode("utf-8", "surrogateescape") if isinstance(value, str) else decoded


def basename(path: str) -> str:
    """The part after the last slash. Unlike with basename(1), it is empty for ``/usr/bin/``."""
    return path[path.rfind("/") + 1 :]


def join(separator: str, *items: str | Sequence[str]) -> str:
    """The strings, and the members of the lists, joined by the separator in their order."""
    return separator.join(
        text for item in items for text in ((item,) if isinstance(item, str) else item) if isinstance(text, str)
    )


def concat(*items: str) -> str:
    """The strings, one after the other."""
    return "".join(items)


def getopt(arguments: Sequence[str] | str, specification: str, selector: str | None = None) -> list[str] | str | None:
    """The short options among the arguments, read as getopt(3) does: ``["n", "t", "value"]``.

    An option that is not in the specification gives ``?``. Reading ends at ``--`` and at the first word that is not an
    option; long options are skipped. An option without the argument that it needs gives an empty string. With a
    selector, the result is the last argument of that option, or its letter if it takes no argument, or None if the
    option is not there.
    """
    words = [arguments] if isinstance(arguments, str) else arguments
    letters = specification.removeprefix(":")
    valid = set(letters) - {":"}
    with_argument = {letter for letter, after in pairwise(letters) if after == ":" != letter}
    options: list[tuple[str, str | None]] = []
    rest = iter(words)
    for word in rest:
        if word.startswith("--") and len(word) > 2:
            continue
        if word == "--" or not word.startswith("-") or len(word) == 1:
            break
        for index, letter in enumerate(word[1:], 2):
            if letter not in valid:
                options.append(("?", None))
            elif letter not in with_argument:
                options.append((letter, None))
            else:
                argument = word[index:] or next(rest, None)
                options.append(("", None) if argument is None else (letter, argument))
                if argument is None and letter == selector:
                    return ""
                break
    if selector is None:
        return [text for option in options for text in option if text is not None]
    chosen = [letter if argument is None else argument for letter, argument in options if letter == selector]
    return chosen[-1] if chosen else None


def _each(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(value: Any) -> Any:
        if isinstance(value, list):
            members = [function(member) for member in value]
            return None if None in members else members
        return function(value)

    return apply


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "tolower": _each(lower),
    "toupper": _each(upper),
    "b64": _each(decode_base64),
    "basename": _each(basename),
    "len": len,
    "join": join,
    "concat": concat,
    "getopt": getopt,
}
"""The function of each transformer, by name. It is called with the values of its operands; none of them is None."""


def value_of(operand: Operand, event: Mapping[str, Any]) -> Any:
    """The value of an operand for one event, None if it has no value. Generated code does the same, only faster."""
    if isinstance(operand, Literal):
        return operand.value
    if isinstance(operand, FieldOperand):
        return event[operand.key]
    values = [value_of(inner, event) for inner in operand.operands]
    return None if None in values else FUNCTIONS[operand.name](*values)
