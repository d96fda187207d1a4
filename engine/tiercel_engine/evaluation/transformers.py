"""Transformers: ``tolower(…)``, ``join(…)`` and their kin. Meaning as in Falco's documentation and libsinsp 0.25.

A transformer of one argument applies to each member of a list, but ``len``, which counts them.
None among the arguments, or in the result, is a field without a value.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tiercel_engine.condition import FieldOperand, Literal, Operand
from tiercel_engine.evaluation.operators import lower, upper


def decode_base64(value: str | bytes) -> str | bytes | None:
    """Base64 decoded, padding optional; None if it is not Base64."""
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    try:
        decoded = b64decode(data.rstrip(b"=") + b"=" * (-len(data.rstrip(b"=")) % 4), validate=True)
    except ValueError:
        return None
    return decoded.decode("utf-8", "surrogateescape") if isinstance(value, str) else decoded


def basename(path: str) -> str:
    """What follows the last slash: empty for ``/usr/bin/``, unlike basename(1)."""
    return path[path.rfind("/") + 1 :]


def join(separator: str, *items: str | Sequence[str]) -> str:
    """The strings of the lists and the single ones, one after the other, with the separator between."""
    return separator.join(
        text for item in items for text in ((item,) if isinstance(item, str) else item) if isinstance(text, str)
    )


def concat(*items: str) -> str:
    return "".join(items)


def getopt(arguments: Sequence[str] | str, specification: str, selector: str | None = None) -> list[str] | str | None:
    """Short options by getopt(3): ``["n", "t", "value"]``, ``?`` for an option that isn't in the specification.

    Ends at ``--`` and at the first word that is no option; long options are passed over. An option
    that lacks its argument gives an empty string. With a selector, that option's last argument, or
    its letter if it takes none; None if it isn't there.
    """
    words = [arguments] if isinstance(arguments, str) else arguments
    letters = specification.removeprefix(":")
    valid = set(letters) - {":"}
    with_argument = {letter for letter, after in pairwise(letters) if after == ":" != letter}
    found: list[tuple[str, str | None]] = []
    rest = iter(words)
    for word in rest:
        if word.startswith("--") and len(word) > 2:
            continue
        if word == "--" or not word.startswith("-") or len(word) == 1:
            break
        for index, letter in enumerate(word[1:], 2):
            if letter not in valid:
                found.append(("?", None))
            elif letter not in with_argument:
                found.append((letter, None))
            else:
                argument = word[index:] or next(rest, None)
                found.append(("", None) if argument is None else (letter, argument))
                if argument is None and letter == selector:
                    return ""
                break
    if selector is None:
        return [text for option in found for text in option if text is not None]
    chosen = [letter if argument is None else argument for letter, argument in found if letter == selector]
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
"""Each transformer by name, as a function of its operands' values, none of them None."""


def value_of(operand: Operand, event: Mapping[str, Any]) -> Any:
    """The value of an operand for one event, None if it has none. Generated code does the same, quicker."""
    if isinstance(operand, Literal):
        return operand.value
    if isinstance(operand, FieldOperand):
        return event[operand.key]
    values = [value_of(inner, event) for inner in operand.operands]
    return None if None in values else FUNCTIONS[operand.name](*values)
