"""The guests themselves: what a step leaves, a step that hangs, and a guest that crashes."""

from __future__ import annotations

from guests import GuestError


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
