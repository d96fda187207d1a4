"""Finding the mirror of Debian in package sources of either form."""

from __future__ import annotations

from pathlib import Path

import pytest
from guests import Unavailable
from guests.mirror import Mirror, find_mirror

LINES = """\
# deb http://commented.test/debian bookworm main
deb-src http://source.test/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] http://other.test/apt stable main
deb [arch=amd64] http://mirror.test/debian/ bookworm main contrib
deb http://security.test/debian-security bookworm-security main
"""
STANZAS = """\
Types: deb-src
URIs: http://source.test/debian
Suites: trixie
Components: main

# a comment
Enabled: no
Types: deb
URIs: http://disabled.test/debian
Suites: trixie
Components: main

Types: deb deb-src
URIs: http://mirror.test/debian
 http://second.test/debian
Suites: trixie trixie-updates
Components: main

Types: deb
URIs: http://security.test/debian-security/
Suites: trixie-security
Components: main
"""
FOUND = Mirror("http://mirror.test/debian", "http://security.test/debian-security")


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIERCEL_DEBIAN_MIRROR", raising=False)


def _written(folder: Path, name: str, text: str) -> Path:
    (folder / "sources.list.d").mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_lines(tmp_path: Path) -> None:
    assert find_mirror(_written(tmp_path, "sources.list", LINES)) == FOUND


def test_stanzas(tmp_path: Path) -> None:
    assert find_mirror(_written(tmp_path, "sources.list.d/debian.sources", STANZAS)) == FOUND


def test_a_file_that_lists_mirrors(tmp_path: Path) -> None:
    listed = tmp_path / "mirrors/debian"
    listed.parent.mkdir()
    listed.write_text("# nearest first\nhttp://mirror.test/debian\tpriority:1\n")
    text = f"Types: deb\nURIs: mirror+file://{listed}\nSuites: bookworm\nComponents: main\n"
    assert find_mirror(_written(tmp_path, "sources.list.d/x.sources", text)) == Mirror(
        "http://mirror.test/debian", None
    )


def test_the_environment_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERCEL_DEBIAN_MIRROR", "http://chosen.test/debian")
    assert find_mirror(_written(tmp_path, "sources.list", LINES)).main == "http://chosen.test/debian"


def test_a_machine_that_knows_none(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="TIERCEL_DEBIAN_MIRROR"):
        find_mirror(_written(tmp_path, "sources.list", "deb http://archive.test/ubuntu noble main\n"))
