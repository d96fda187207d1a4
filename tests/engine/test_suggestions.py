"""Hints for misspelt names: right as long as there are few, and no cost where there are very many."""

from __future__ import annotations

from collections.abc import Iterator

from engine_support.rules import load_text, rule

from tiercel_engine.suggestions import MAX_KNOWN, MAX_SUGGESTIONS, Suggester


def test_hints() -> None:
    suggester = Suggester()
    assert suggester.field("proc.nmae") == "did you mean proc.name?"
    assert suggester.field("%proc.nmae") == "did you mean %proc.name?"
    assert suggester.field("nothing") == "`tiercel fields` lists all fields"
    assert suggester.similar("shels", ["bash", "shells"]) == "did you mean shells?"
    assert suggester.similar("x", ["bash", "shells"]) == ""


def test_after_many_there_are_no_more() -> None:
    suggester = Suggester(1)
    assert suggester.similar("shels", ["shells"]) != ""
    assert suggester.similar("shels", ["shells"]) == ""
    assert suggester.field("proc.nmae") == "`tiercel fields` lists all fields"


def test_not_more_than_so_many_names_are_looked_at() -> None:
    taken = 0

    def names() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"name{taken}"

    Suggester().similar("x", names())
    assert taken <= MAX_KNOWN + 1


def test_rules_files_share_one_budget_among_conditions_and_outputs() -> None:
    bad = "".join(
        rule(f"evt.type = open and proc.nmae = {number}", name=f"R{number}").replace("%proc.name", "%proc.nmae")
        for number in range(MAX_SUGGESTIONS)
    )
    errors = load_text(bad).errors
    assert len(errors) == 2 * MAX_SUGGESTIONS
    assert sum("did you mean" in error.hint for error in errors) == MAX_SUGGESTIONS
