"""Warnings about comparisons that have the right form but probably not the intended meaning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from tiercel_engine import fields
from tiercel_engine.condition import Constant, FieldOperand, Operator, Transformed
from tiercel_engine.event_types import FALCO_ALONE, OBSERVABLE
from tiercel_engine.language.lexer import shown
from tiercel_engine.system_calls import REPORTED_AS

_EQUALITY = frozenset({Operator.EQ, Operator.NE, Operator.IN, Operator.INTERSECTS})
_KNOWN_EVENT_TYPES = frozenset[str]().union(*OBSERVABLE.values())
_EVENT_TYPE_FIELDS = frozenset({"evt.type", "syscall.type"})


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A warning: one of Falco's codes, the message, and what to write instead (``""`` if unknown)."""

    code: str
    message: str
    hint: str = ""


def suspicions(
    left: FieldOperand | Transformed, operator: Operator, constants: tuple[Constant, ...]
) -> Iterator[Suspicion]:
    """The warnings about a comparison of ``left`` with these constants, one of each kind."""
    if operator not in _EQUALITY:
        return
    texts = [constant for constant in constants if isinstance(constant, str)]
    name = left.field.name if isinstance(left, FieldOperand) else ""
    if "<NA>" in texts:
        yield Suspicion(
            "LOAD_UNSAFE_NA_CHECK",
            "a field without a value never equals <NA>: every comparison with it is false",
            f"write `{name or 'field'} exists`",
        )
    if name == "evt.dir":
        yield from _direction(operator, texts)
    elif name in _EVENT_TYPE_FIELDS:
        yield from _event_types(texts)
    else:
        yield from _fields_as_text(texts)


def _direction(operator: Operator, texts: list[str]) -> Iterator[Suspicion]:
    holds = ("<" in texts) is not (operator is Operator.NE)
    message = "evt.dir is always <, since an event is a system call at its return: this "
    if holds:
        yield Suspicion("LOAD_DEPRECATED_ITEM", message + "always holds", "leave it out")
    else:
        yield Suspicion("LOAD_DEPRECATED_ITEM", message + "never holds")


def _event_types(texts: list[str]) -> Iterator[Suspicion]:
    for text in texts:
        if text not in _KNOWN_EVENT_TYPES:
            yield Suspicion("LOAD_UNKNOWN_ITEM", f"events of type {shown(text)} are not observed", instead_of(text))
            return


def instead_of(event_type: str) -> str:
    """A hint for an event type that isn't observed; "" if there is none."""
    if event_type in REPORTED_AS:
        return f"such calls are reported as {REPORTED_AS[event_type]}"
    if event_type in FALCO_ALONE:
        return "Falco has such events, and Tiercel hasn't: leave it out"
    names = get_close_matches(event_type[:32], _KNOWN_EVENT_TYPES, n=1, cutoff=0.75)
    return f"did you mean {names[0]}?" if names else ""


def _fields_as_text(texts: list[str]) -> Iterator[Suspicion]:
    for text in texts:
        if "." in text and fields.lookup(text) is not None:
            message = f"{shown(text)} is compared as text, though there is a field of that name"
            yield Suspicion("LOAD_COMPILE_CONDITION", message, f"write val({shown(text)}) for its value")
            return
