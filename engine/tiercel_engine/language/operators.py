"""How operators, quantifiers and transformers are written, and what is often written by mistake."""

from __future__ import annotations

from difflib import get_close_matches

from tiercel_engine.condition import Operator, Quantifier

NUMERIC = frozenset({Operator.LT, Operator.LE, Operator.GT, Operator.GE})
"""Operators with one number on the right."""
SET = frozenset({Operator.IN, Operator.INTERSECTS, Operator.PMATCH})
"""Operators with a list on the right."""
QUANTIFIABLE = frozenset(Operator) - NUMERIC - SET - {Operator.EXISTS}
"""Operators with one value on the right, or a quantifier and a list."""

SYMBOLS = {
    "==": Operator.EQ,
    "=": Operator.EQ,
    "!=": Operator.NE,
    "<=": Operator.LE,
    "<": Operator.LT,
    ">=": Operator.GE,
    ">": Operator.GT,
}
"""Operators that are symbols, the longer ones first. ``=>`` is ``=`` and a value that begins with ``>``."""

WORDS = {operator.value: operator for operator in Operator if operator.value.isalpha()}
QUANTIFIERS = {quantifier.value: quantifier for quantifier in Quantifier}

TRANSFORMERS = ("tolower", "toupper", "b64", "basename", "len", "join", "concat", "getopt")
VAL = "val"

_OTHER_LANGUAGES = {
    "=~": "regex",
    "~": "regex",
    "~=": "regex",
    "matches": "regex",
    "match": "regex",
    "re": "regex",
    "like": "glob",
    "<>": "!=",
    "===": "=",
    "!==": "!=",
    "is": "=",
    "eq": "=",
    "equals": "=",
    "ne": "!=",
    "lt": "<",
    "gt": ">",
    "le": "<=",
    "ge": ">=",
    "has": "contains",
    "includes": "contains",
    "exist": "exists",
    "any": "in",
}


def similar_operator(written: str) -> str:
    """A hint that names the operator that ``written`` probably means, ``""`` if there is none."""
    lowered = written[:32].lower()
    if lowered in _OTHER_LANGUAGES:
        return f"did you mean `{_OTHER_LANGUAGES[lowered]}`?"
    for close in get_close_matches(lowered, [*WORDS, *SYMBOLS], n=1, cutoff=0.6):
        return f"did you mean `{close}`?"
    return ""


def similar_transformer(written: str) -> str:
    """A hint that names the transformer that ``written`` probably means, or else all transformers."""
    for close in get_close_matches(written[:32].lower(), [*TRANSFORMERS, VAL], n=1, cutoff=0.6):
        return f"did you mean `{close}(`?"
    return f"there are {', '.join(TRANSFORMERS)} and {VAL}; a value with parentheses in it is written in quotes"
