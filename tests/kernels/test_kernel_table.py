"""What is kept of full runs, and the table of docs/kernels.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guest_support.guest_outcomes import Evasions, Outcomes
from guest_support.kernel_table import DOCUMENT, EVASIONS, document, evasions_page, tables
from guest_support.results import keep, read_results, result_of
from guest_support.visits import Findings


def _findings(kernel: str, processed: int, refused: str, error: str = "") -> Findings:
    figures = {"send": {"processed": processed, "refused": refused}}
    staged: dict[str, Any] = {"watching": 30.4, "expected": ["a", "b"], "raised": ["b", "c"]}
    return Findings(
        kernel=kernel,
        release=f"{kernel}.1",
        version="abc",
        programs={"usual": {"send": {"processed": 9, "refused": ""}}, "everything": figures},
        staged={"default": staged, "Falco's": {}},
        live=Outcomes(["x"], {}, {"y": "why", "z": "why"}, error),
        evasions=Evasions("LSM", {"a trick": "seen"}) if not refused else Evasions(),
        evading=Outcomes(),
        seconds=1,
    )


def test_rows(tmp_path: Path) -> None:
    for findings in (_findings("6.1", 1_000_000, "too large", "no report"), _findings("5.10", 12345, "")):
        keep(result_of(findings), tmp_path)
    kernels, programs = (table.splitlines() for table in tables(read_results(tmp_path)).split("\n\n"))
    assert kernels[2:] == [
        "| 5.10 | 5.10.1 | abc | yes | 30 | – | 1 of 2 | 1 | 0 | 2 |",
        "| 6.1 | 6.1.1 | abc | 1 refused | 30 | – | 1 of 2 | no result | no result | no result |",
    ]
    assert programs[2:] == ["| send | 12,345 | refused |"]


def test_a_later_run_replaces_what_an_earlier_one_found(tmp_path: Path) -> None:
    for processed in (30, 20):
        keep(result_of(_findings("5.10", processed, "")), tmp_path)
    assert [result.processed["send"] for result in read_results(tmp_path)] == [20]


def test_techniques_of_the_kernels_where_they_were_tried(tmp_path: Path) -> None:
    for findings in (_findings("6.1", 10, "too large"), _findings("5.10", 10, "")):
        keep(result_of(findings), tmp_path)
    table = evasions_page(read_results(tmp_path)).split("\n\n")[-1].splitlines()
    assert table == [
        "| technique | 5.10 |",
        "| --- | --- |",
        "| *commit* | abc |",
        "| *hooks* | LSM |",
        "| a trick | seen |",
    ]


def test_the_pages_are_made_of_what_was_found() -> None:
    assert DOCUMENT.read_text() == document(read_results())
    assert EVASIONS.read_text() == evasions_page(read_results())
