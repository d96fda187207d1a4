"""The guests themselves: what a step leaves, a step that hangs, a guest that crashes, and one that does not boot."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from guests import GuestError
from guests.guest import boot


def test_a_guest_that_misbehaves(crash: GuestError) -> None:
    plain, hangs = (crash.visit.steps[name] for name in ("plain", "hangs"))
    assert (plain.status, plain.output, plain.files) == (3, b"out\n\x1b[2Jerr", {"/run/made": b"\0bytes"})
    assert plain.text() == "out\n\\x1b[2Jerr"
    assert (hangs.status, hangs.output) == (None, b"begun\n")
    assert "crashes" not in crash.visit.steps
    told = str(crash)
    assert "ended during crashes" in told
    assert "last \\x1b[31mwords" in told
    assert "\x1b" not in told


@pytest.mark.parametrize(("tells_at", "boots"), [(1, 1), (2, 2), (9, 3)])
def test_a_guest_without_a_word_is_booted_again(tmp_path: Path, tells_at: int, boots: int) -> None:
    folder = shlex.quote(str(tmp_path))
    script = f"cd {folder}; echo >>boots; test $(wc -l <boots) -lt {tells_at} || echo '{{}}' >results"
    boot(["sh", "-c", script], tmp_path, deadline=60)
    assert len((tmp_path / "boots").read_text().splitlines()) == boots
