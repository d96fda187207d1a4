"""Arguments and environment as they lie in memory, whole and cut."""

from __future__ import annotations

import pytest

from tiercel_agent.context.words import NO_WORDS, Words, whole
from tiercel_engine.uncertain import UNKNOWN, Beginning

CUT = Words(b"java\0-cp\0/opt/a:/op", 100_000, 9)


def test_whole_words() -> None:
    words = whole(b"cat\0\0a b\0\xff\0")
    assert words.split() == ["cat", "", "a b", "\udcff"]
    assert (words.count, words.is_cut, words.joined(1)) == (4, False, " a b \udcff")
    assert (words.at(2), words.at(4), words.length_behind_first) == ("a b", None, 4)


def test_a_command_line_that_was_overwritten_may_lack_the_last_nul() -> None:
    assert (whole(b"nginx: worker").split(), whole(b"nginx: worker").count) == (["nginx: worker"], 1)


def test_that_only_the_last_nul_is_missing_cuts_nothing() -> None:
    words = Words(b"cat\0file", 9, 2)
    assert (words.is_cut, words.split(), words.joined()) == (False, ["cat", "file"], "cat file")


def test_no_words() -> None:
    assert (NO_WORDS.split(), NO_WORDS.joined(), NO_WORDS.at(0), NO_WORDS.value_of("A")) == ([], "", None, None)
    assert NO_WORDS.length_behind_first == 0


def test_cut_words() -> None:
    assert CUT.split() == ["java", "-cp", "/opt/a:/op"]
    assert [type(word) for word in CUT.split()] == [str, str, Beginning]
    assert (CUT.joined(1), type(CUT.joined(1))) == ("-cp /opt/a:/op", Beginning)
    assert type(CUT.at(1)) is str
    assert (type(CUT.at(2)), CUT.at(3), CUT.at(8), CUT.at(9)) == (Beginning, UNKNOWN, UNKNOWN, None)
    assert CUT.length_behind_first == 100_000 - len("java") - 9


def test_words_behind_a_first_one_that_is_cut() -> None:
    words = Words(b"x" * 10, 1000, 5)
    assert (words.joined(1), type(words.joined(1))) == ("", Beginning)
    assert words.at(1) is UNKNOWN
    assert words.length_behind_first >= 985  # what is missing of the first one counts too


def test_words_of_which_nothing_could_be_read() -> None:
    words = Words(b"", 50, 3)
    assert (words.is_cut, words.split(), words.at(0), words.value_of("A")) == (True, [], UNKNOWN, UNKNOWN)
    assert isinstance(words.joined(), Beginning)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("A", "1=2", str), ("LONG", "xx", Beginning), ("LD_PRELOAD", "", type(UNKNOWN)), ("AB", "3", str)],
)
def test_variables_of_a_cut_environment(name: str, value: str, kind: type) -> None:
    found = Words(b"A=1=2\0AB=3\0LONG=xx", 5000, 0).value_of(name)
    assert (found, type(found)) == (value, kind)
