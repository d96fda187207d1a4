"""The trace event of system calls, found in tracefs by its format."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiercel_agent.kernel.probes.call_event import call_event

FORMAT = """name: sys_exit
ID: 442
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:long id;\toffset:8;\tsize:8;\tsigned:1;
\tfield:long ret;\toffset:16;\tsize:8;\tsigned:1;

print fmt: "NR %ld = %ld", REC->id, REC->ret
"""


def tracefs(folder: Path, text: str) -> str:
    place = folder / "events/raw_syscalls/sys_exit/format"
    place.parent.mkdir(parents=True)
    place.write_text(text)
    return str(folder)


@pytest.mark.parametrize("version", [(7, 0), (8, 1)])
def test_it_is_used_where_programs_at_raw_tracepoints_are_interrupted(tmp_path: Path, version: tuple[int, int]) -> None:
    assert call_event(version, (str(tmp_path / "none"), tracefs(tmp_path, FORMAT))) == 442


@pytest.mark.parametrize("version", [(5, 10), (6, 19), None])
def test_other_kernels_have_the_raw_tracepoint(tmp_path: Path, version: tuple[int, int] | None) -> None:
    assert call_event(version, (tracefs(tmp_path, FORMAT),)) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        FORMAT.replace("offset:16", "offset:24"),
        FORMAT.replace("field:long ret", "field:long result"),
        FORMAT.replace("ID: 442", "ID: x"),
        FORMAT.replace("print", "\tfield:long more;\toffset:24;\tsize:8;\tsigned:1;\nprint"),
    ],
)
def test_another_layout_is_not_taken_for_it(tmp_path: Path, text: str) -> None:
    assert call_event((7, 0), (tracefs(tmp_path, text),)) is None
