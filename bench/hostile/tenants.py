"""What hostile tenants create: SecurityRules that cost as much as their author could think of, each in a namespace of
its own, and the load that their rules are made for."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster_support.custom_resources import rule, security_rule

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tenant:
    """One namespace and what it creates."""

    namespace: str
    does: str
    """One line, for the report."""
    objects: Sequence[Object]


def _clauses(namespace: str) -> Iterator[Object]:
    """Conditions that multiply out: sixteen clauses of each."""
    pairs = "(fd.name = /a{0}{1} or proc.name = p{0}{1}) and (evt.is_open_write = true or proc.pname = q{0}{1})"
    for number in range(300):
        condition = " and ".join(pairs.format(number, letter) for letter in "ab")
        yield security_rule(f"clauses-{number}", namespace, rule(f"C{number}", f"evt.type = openat and {condition}"))


def _expressions(namespace: str) -> Iterator[Object]:
    """Expressions with thousands of states, for arguments that visit all of them."""
    for part in range(6):
        rules = [
            rule(f"E{part}-{number}", f'evt.type = execve and proc.args regex "[ab]*a[ab]{{14}}[ab]*c{part}{number}"')
            for number in range(100)
        ]
        yield security_rule(f"expressions-{part}", namespace, *rules)


def _products(namespace: str) -> Iterator[Object]:
    """A list of ten thousand names, ten times in another, which two thousand rules use."""
    lists = [
        {"list": "names", "items": [f"name-{number}" for number in range(10_000)]},
        {"list": "many", "items": ["names"] * 10},
    ]
    rules = [rule(f"P{number}", f"evt.type = execve and proc.name in (many, p{number})") for number in range(1990)]
    yield security_rule("products", namespace, *lists, *rules)


def _alerts(namespace: str) -> Iterator[Object]:
    """Rules that match whatever is started."""
    for part in range(4):
        rules = [rule(f"A{part}-{number}", "evt.type = execve") for number in range(500)]
        yield security_rule(f"alerts-{part}", namespace, *rules)


def _poison(namespace: str) -> Iterator[Object]:
    """Values that are nested as deep as JSON may be."""
    nested: Any = "x"
    for _ in range(240):
        nested = [nested]
    exceptions = [{"name": "e", "fields": ["proc.name"], "comps": ["in"], "values": nested}]
    yield security_rule("poison", namespace, rule("Poison", exceptions=exceptions))


def _bytes(namespace: str) -> Iterator[Object]:
    """Texts that can't be compressed, and many that can."""
    for number in range(8):
        text = base64.b64encode(os.urandom(700_000)).decode()
        yield security_rule(f"random-{number}", namespace, rule(f"R{number}", desc=text))
    for number in range(260):
        yield security_rule(f"long-{number}", namespace, rule(f"L{number}", output="x" * 900_000))


_KINDS: Mapping[str, tuple[str, Callable[[str], Iterator[Object]]]] = {
    "clauses": ("300 rules whose conditions multiply out", _clauses),
    "expressions": ("600 regular expressions with many states", _expressions),
    "products": ("a list of 10,000, ten times in a list of 1,990 rules", _products),
    "alerts": ("2,000 rules that match each program that starts", _alerts),
    "poison": ("values nested 240 levels deep", _poison),
    "bytes": ("8 MB that can't be compressed, and 234 MB that can", _bytes),
}
NAMES = tuple(_KINDS)


def tenants(names: Sequence[str] = NAMES) -> Iterator[Tenant]:
    """Each tenant of these names, made when it is asked for."""
    for name in names:
        does, make = _KINDS[name]
        namespace = f"hostile-{name}"
        yield Tenant(namespace, does, list(make(namespace)))


def arguments() -> str:
    """Of a program that all expressions read from end to end."""
    return "".join("ab"[byte & 1] for byte in os.urandom(3500))
