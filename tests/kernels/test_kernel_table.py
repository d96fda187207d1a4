"""The table of docs/kernels.md."""

from __future__ import annotations

from typing import Any

from guest_support.kernel_table import summary


def _result(kernel: str, processed: int, refused: str, **live: Any) -> dict[str, Any]:
    figures = {"usual": {"send": {"processed": 9, "refused": ""}}}
    return {
        "kernel": kernel,
        "release": f"{kernel}.1",
        "version": "abc",
        "programs": {**figures, "everything": {"send": {"processed": processed, "refused": refused}}},
        "staged": {"default": {"watching": 30.4, "expected": ["a", "b"], "raised": ["b", "c"]}},
        "live": {"passed": ["x"], "failed": {}, "skipped": {"y": "why", "z": "why"}, "error": "", **live},
    }


def test_rows() -> None:
    results = [_result("6.1", 1_000_000, "too large", error="no report"), _result("5.10", 12345, "")]
    tables = [table.splitlines() for table in summary(results).split("\n\n")]
    assert tables[0][2:] == [
        "| 5.10 | 5.10.1 | abc | yes | 30 | 1 of 2 | 1 | 0 | 2 |",
        "| 6.1 | 6.1.1 | abc | 1 refused | 30 | 1 of 2 | no result | no result | no result |",
    ]
    assert tables[1][2:] == ["| send | 12,345 | refused |"]
