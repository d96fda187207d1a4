"""The automaton over bytes gives exactly the patterns that match, or says that they are unknown."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tiercel_agent.filter.automaton import ANY, NAME, UNKNOWN, Automaton, Gap, Pattern, build

AMPLE = 20_000

ELEMENTS = st.one_of(st.sampled_from([ANY, NAME]), st.text("aAb/", min_size=1, max_size=3).map(str.encode))
PATTERNS = st.lists(
    st.builds(Pattern, st.lists(ELEMENTS, max_size=5).map(tuple), st.sampled_from([False, False, True])), max_size=6
)
GAPS = st.text("aAbB/x", max_size=3).map(str.encode)


@st.composite
def texts(draw: st.DrawFn, patterns: list[Pattern]) -> bytes:
    """A value that often contains parts of the patterns."""
    text = b""
    for pattern in draw(st.lists(st.sampled_from(patterns), max_size=2)) if patterns else ():
        for element in pattern.elements:
            text += draw(GAPS) if isinstance(element, Gap) else element
        if draw(st.booleans()):
            text = text.swapcase()
    return text + draw(GAPS)


def expression(pattern: Pattern) -> re.Pattern[bytes]:
    parts = {ANY: rb".*", NAME: rb"[^/]*"}
    text = b"".join(parts[part] if isinstance(part, Gap) else re.escape(part) for part in pattern.elements)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if pattern.ignore_case else 0))


def matching(patterns: list[Pattern], text: bytes) -> frozenset[int]:
    return frozenset(index for index, pattern in enumerate(patterns) if expression(pattern).fullmatch(text))


def holding(automaton: Automaton, text: bytes) -> frozenset[int] | None:
    return automaton.accept_sets[automaton.accept(text)]


def contains(*needles: bytes) -> list[Pattern]:
    return [Pattern((ANY, needle, ANY)) for needle in needles]


@given(st.data(), PATTERNS)
def test_the_patterns_that_match_are_those_that_hold(data: st.DataObject, patterns: list[Pattern]) -> None:
    automaton = build(patterns, most_states=AMPLE)
    assume(automaton.complete)
    for text in data.draw(st.lists(texts(patterns), min_size=1, max_size=20)):
        assert holding(automaton, text) == matching(patterns, text)


@given(st.data(), PATTERNS, st.integers(2, 40))
def test_a_small_budget_makes_answers_unknown_but_never_wrong(
    data: st.DataObject, patterns: list[Pattern], most_states: int
) -> None:
    automaton = build(patterns, most_states=most_states)
    assert automaton.states <= most_states
    for text in data.draw(st.lists(texts(patterns), min_size=1, max_size=20)):
        held = holding(automaton, text)
        assert held == matching(patterns, text) or (held is None and not automaton.complete)


@given(st.data(), PATTERNS, st.integers(1, 9))
def test_padding_with_nul_changes_nothing(data: st.DataObject, patterns: list[Pattern], padding: int) -> None:
    automaton = build(patterns, most_states=200)
    text = data.draw(texts(patterns))
    assert automaton.accept(text + b"\0" * padding) == automaton.accept(text)


@given(PATTERNS, st.sampled_from([2, 20, AMPLE]))
def test_the_tables_are_consistent(patterns: list[Pattern], most_states: int) -> None:
    automaton = build(patterns, most_states=most_states)
    states, columns = automaton.states, automaton.columns
    assert len(automaton.classes) == 256
    assert automaton.classes.count(0) == 1
    assert automaton.classes[0] == 0
    assert set(automaton.classes) == set(range(columns))
    assert len(automaton.settled) == states
    assert len(automaton.transitions) == states * columns
    for state in range(states):
        row = automaton.transitions[state * columns : (state + 1) * columns]
        assert row[0] == state
        assert max(row) < states
        assert automaton.settled[state] == (set(row) == {state})
    unknown = [state for state in range(states) if automaton.accepts[state] == UNKNOWN]
    assert unknown == ([] if automaton.complete else [states - 1])
    assert all(automaton.settled[state] for state in unknown)
    assert automaton.accept_sets[UNKNOWN] is None
    assert len(set(automaton.accept_sets)) == len(automaton.accept_sets)
    assert max(automaton.accepts) < len(automaton.accept_sets)


@given(PATTERNS)
def test_a_budget_of_the_states_needed_and_one_is_enough(patterns: list[Pattern]) -> None:
    automaton = build(patterns, most_states=AMPLE)
    assume(automaton.complete)
    assert build(patterns, most_states=automaton.states + 1) == automaton
    assume(automaton.states > 1)
    assert not build(patterns, most_states=automaton.states).complete


@pytest.mark.parametrize(
    ("elements", "holds_of", "not_of"),
    [
        ((), [b""], [b"a"]),
        ((b"/etc/passwd",), [b"/etc/passwd"], [b"", b"/etc/passw", b"/etc/passwd-", b"/ETC/passwd"]),
        ((b"/etc", b"/", b"", b"passwd"), [b"/etc/passwd"], [b"/etc/"]),
        ((b"/etc/", ANY), [b"/etc/", b"/etc/ssh/x"], [b"/etc", b"x/etc/"]),
        ((b"/etc/", NAME), [b"/etc/", b"/etc/x"], [b"/etc/x/"]),
        ((b"/etc/", NAME, ANY, NAME), [b"/etc/", b"/etc/ssh/x"], [b"/etc"]),
        ((ANY,), [b"", b"\xff/\n"], []),
        ((NAME,), [b"", b"\xff\n"], [b"/", b"a/b"]),
        ((ANY, b".so"), [b".so", b"a/b.so.so"], [b".so.1", b"so"]),
        ((b"/home/", NAME, b"/.ssh/", ANY), [b"/home/a/.ssh/id"], [b"/home/a/b/.ssh/id", b"/home/.ssh/"]),
        ((NAME, b"ab", NAME, b"b", ANY), [b"ababab", b"abb/"], [b"ab", b"ab/b"]),
    ],
)
def test_what_a_pattern_holds_of(elements: tuple[bytes | Gap, ...], holds_of: list[bytes], not_of: list[bytes]) -> None:
    automaton = build([Pattern(elements)], most_states=AMPLE)
    assert [holding(automaton, text) for text in holds_of] == [frozenset({0})] * len(holds_of)
    assert [holding(automaton, text) for text in not_of] == [frozenset()] * len(not_of)


def test_only_ascii_letters_have_a_case_to_ignore() -> None:
    automaton = build([Pattern((b"k[@\xe9",), ignore_case=True)], most_states=AMPLE)
    assert holding(automaton, b"K[@\xe9") == frozenset({0})
    for text in (b"k{@\xe9", b"k[`\xe9", b"k[@\xc9"):
        assert holding(automaton, text) == frozenset()


def test_bytes_that_no_pattern_tells_apart_share_a_column() -> None:
    either_case = Pattern((b"ab",), ignore_case=True)
    classes = build([either_case, Pattern((b"B",))], most_states=AMPLE).classes
    assert classes[ord("a")] == classes[ord("A")]
    assert classes[ord("b")] != classes[ord("B")]
    assert classes[ord("/")] == classes[ord("x")] == classes[255]
    assert build([Pattern((NAME,))], most_states=AMPLE).columns == 3


def test_every_byte_can_have_a_column() -> None:
    automaton = build([Pattern((bytes(range(1, 256)),))], most_states=AMPLE)
    assert automaton.columns == 256
    assert holding(automaton, bytes(range(1, 256))) == frozenset({0})


def test_a_literal_with_nul_never_holds() -> None:
    automaton = build([Pattern((b"a\0",)), Pattern((b"a",))], most_states=AMPLE)
    assert holding(automaton, b"a\0\0") == frozenset({1})


def test_there_must_be_room_for_the_start_and_the_unknown_state() -> None:
    with pytest.raises(ValueError, match="2 states"):
        build([], most_states=1)
    assert build([Pattern((b"abc",))], most_states=2).accept(b"abc") == UNKNOWN


def test_nothing_of_a_pattern_is_kept_that_cannot_matter_any_more() -> None:
    automaton = build(contains(b"needle"), most_states=AMPLE)
    assert automaton.states == len("needle") + 1
    assert list(automaton.settled) == [0] * len("needle") + [1]
    in_order = build([Pattern((ANY, b"abc", ANY, b"abd", ANY, b"abe", ANY))], most_states=AMPLE)
    assert in_order.states == 3 * len("abc") + 1


def test_the_budget_goes_to_the_likely_first() -> None:
    needles = [b"%c%c%c" % (letter, letter + 1, letter + 2) for letter in range(ord("A"), ord("X"))]
    paths = [b"/usr/bin/tool-%d" % number for number in range(100)]
    patterns = [*contains(*needles), *(Pattern((path,)) for path in paths), Pattern((b"/etc/", ANY))]
    automaton = build(patterns, most_states=4_000)
    assert not automaton.complete
    for text in (*paths, b"/usr/bin/tool-", b"AB/AB", b"/etc/AB", *(b"/usr/%b/" % needle for needle in needles)):
        assert holding(automaton, text) == matching(patterns, text)
    assert automaton.accept(b"".join(needles)) == UNKNOWN


def test_the_budget_goes_to_literals_before_what_may_follow_prefixes() -> None:
    paths = [b"/srv/%d/a-long-enough-name" % number for number in range(100)]
    patterns = [Pattern((path,)) for path in paths] + [Pattern((path[:8], ANY)) for path in paths] + contains(b"needle")
    automaton = build(patterns, most_states=2_500)
    assert not automaton.complete
    assert all(holding(automaton, path) == matching(patterns, path) for path in paths)


def test_thousands_of_paths_stay_small() -> None:
    paths = [b"/usr/lib/service-%d/module-%d" % (number // 20, number) for number in range(5_000)]
    anchored = [Pattern((path,) if number % 4 else (path, ANY)) for number, path in enumerate(paths)]
    automaton = build(anchored, most_states=60_000)
    assert automaton.complete
    patterns = anchored + contains(*(b"/.secret%d" % number for number in range(10)))
    patterns += [Pattern((ANY, b"_history%d" % number)) for number in range(10)]
    automaton = build(patterns, most_states=60_000)
    assert automaton.states <= 60_000
    for number, path in enumerate(paths):
        assert holding(automaton, path) == frozenset({number})
    for text in (b"/usr/lib/service-x/module-", b"/root/.bash_history7", b"/root/.secret3/x", paths[4] + b"/x"):
        assert holding(automaton, text) == matching(patterns, text)
