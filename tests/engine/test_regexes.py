"""Regular expressions take a bounded amount of memory, whatever they are and match, and mean the same as ever."""

from __future__ import annotations

import subprocess
import sys
from collections import deque

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from tiercel_engine.regexes import LARGEST, OutOfTime, PatternError, Regexes, RegexPools

GROWING = "[ab]*a[ab]{14}[ab]*c"
"""Each different text of a and b makes RE2's automaton of it larger."""

# Prints how many MiB more the process takes after matching. The texts are the same at each run.
MATCHING = f"""
import pathlib, random
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.event import Event
from tiercel_engine.rules import load
from tiercel_engine.rules.documents.files import RulesFile

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

rule = "- rule: r%d\\n  desc: d\\n  condition: evt.type = execve and proc.args regex '{GROWING}%d'\\n"
rule += "  output: o\\n  priority: INFO\\n"
rules = load([RulesFile("rules.yaml", "".join(rule % (n, n) for n in range(600)))]).rules
matcher = Matcher(rules)
matcher.prepare(["execve"])
before = resident()
chosen = random.Random(1)
matched = []
for number in range(3):
    text = "".join(chosen.choices("ab", k=3500)) + f"c{{number}}"
    event = Event("syscall", 1, {{"evt.type": "execve", "proc.args": text}})
    matched += [rule.name for rule, _ in matcher.match(event)]
print(resident() - before, *matched)
"""


def test_many_expressions_that_grow_with_what_they_match_take_little_memory():
    result = subprocess.run([sys.executable, "-c", MATCHING], capture_output=True, text=True, check=True)
    grown, *matched = result.stdout.split()
    assert matched == ["r0", "r1", "r2"]
    assert int(grown) < 48


@given(st.from_regex(r"([ab.]|\[ab\]|\(a\|b\)|[ab][*+?]){1,12}", fullmatch=True), st.text("ab", max_size=40))
def test_dropped_expressions_and_those_with_little_memory_mean_the_same(pattern: str, text: str) -> None:
    tight = Regexes(total=16 << 10)  # one at a time, with the least memory
    expressions = [pattern, f"{pattern}|{GROWING}", f"{pattern}b"]
    matchers = [tight.matcher(expression) for expression in expressions]
    for _ in range(2):
        for expression, matches in zip(expressions, matchers, strict=True):
            assert matches(text.encode()) == (re2.fullmatch(expression.encode(), text.encode()) is not None)


def test_what_is_compiled_never_takes_more_than_the_bound():
    regexes = Regexes(total=1 << 20)
    matchers = []
    for number in range(500):
        matchers.append(regexes.matcher(f"{GROWING}{number}"))
        assert 0 < regexes.memory <= 1 << 20
    regexes.matcher(f"({GROWING}){{60}}")
    for number, matches in enumerate(matchers):
        assert matches(b"a" * 15 + f"c{number}".encode())
        assert regexes.memory <= 1 << 20


def compiled(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The expressions that are compiled from now on."""
    seen: list[bytes] = []
    compile_ = re2.compile

    def note(pattern: bytes, options: object) -> object:
        seen.append(pattern)
        return compile_(pattern, options)

    monkeypatch.setattr(re2, "compile", note)
    return seen


def test_an_expression_that_is_used_all_the_time_is_not_compiled_again(monkeypatch):
    seen = compiled(monkeypatch)
    regexes = Regexes(total=128 << 10)
    used = regexes.matcher("used")
    rare = regexes.matcher("rare")
    for number in range(100):
        assert used(b"used")
        regexes.matcher(f"other{number}")
    assert seen.count(b"used") == 1
    assert rare(b"rare")
    assert seen.count(b"rare") == 2


def test_equal_expressions_are_compiled_once(monkeypatch):
    seen = compiled(monkeypatch)
    regexes = Regexes()
    first, second = regexes.matcher("a"), regexes.matcher("a")
    other = regexes.matcher("a", ignore_case=True)
    assert (first(b"a"), second(b"a"), second(b"A"), other(b"A")) == (True, True, False, True)
    assert seen == [b"a", b"a"]


def test_an_expression_of_many_characters_is_taken_and_one_that_repeats_too_much_refused():
    regexes = Regexes()
    names = [f"host-{number}.example" for number in range(900)]
    assert regexes.matcher("|".join(names))(b"host-899.example")
    with pytest.raises(PatternError, match=f"it needs more than {LARGEST >> 10} KiB of memory"):
        regexes.matcher(r"(\pL{10}x?){100}")


def test_a_namespace_with_many_expressions_drops_none_of_others(monkeypatch):
    seen = compiled(monkeypatch)
    pools = RegexPools(total=1 << 20, most=256 << 10)
    system, shop, bank = Regexes(), pools.of("shop"), pools.of("bank")
    others = [system.matcher("of the system"), bank.matcher("of bank")]
    of_shop = [shop.matcher(f"{GROWING}{number}") for number in range(500)]
    assert shop.memory <= 256 << 10
    for matches, text in zip(others, (b"of the system", b"of bank"), strict=True):
        assert matches(text)
    assert all(matches(b"a" * 15 + f"c{number}".encode()) for number, matches in enumerate(of_shop))
    assert [seen.count(each) for each in (b"of the system", b"of bank")] == [1, 1]
    assert seen.count(f"{GROWING}0".encode()) == 2


def test_all_namespaces_together_have_a_bound():
    pools = RegexPools(total=1 << 20, most=256 << 10)
    kept = [(pools.of(f"ns-{number}"), []) for number in range(10)]
    for pool, matchers in kept:
        matchers += [pool.matcher(f"{GROWING}{number}") for number in range(50)]
    assert sum(pool.memory for pool, _ in kept) <= 1 << 20
    assert pools.of("ns-3") is kept[3][0]
    del pool, kept[1:]
    kept[0][0].matcher("more")
    assert pools.of("new") is not None  # the others are gone, and have left their room
    matchers = [kept[0][0].matcher(f"{GROWING}x{number}") for number in range(50)]
    assert 128 << 10 < kept[0][0].memory <= 256 << 10


def test_matching_can_be_ended_after_some_text():
    regexes = Regexes()
    matches = regexes.matcher(GROWING)
    looked = []

    def look() -> None:
        looked.append(1)
        if len(looked) == 3:
            raise OutOfTime

    regexes.look = look
    with pytest.raises(OutOfTime):
        deque(map(matches, [b"ab" * 1000] * 1000))
    assert len(looked) == 3
    regexes.look = None
    assert not matches(b"ab" * 1_000_000)
