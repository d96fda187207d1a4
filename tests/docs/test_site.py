"""The site is built without a warning, its links lead somewhere, and it loads nothing from other hosts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("material", reason="the site needs the extra docs: pip install -e '.[docs]'")

ROOT = Path(__file__).parents[2]
_LOADED = re.compile(r"""<(?:script|img|iframe)[^>]*\ssrc=["']?(?:https?:)?//|<link[^>]*\shref=["']?(?:https?:)?//""")
_IN_STYLES = re.compile(r"""(?:@import\s*|url\(\s*)["']?(?:https?:)?//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # Not --quiet: it would keep warnings from --strict.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = list(site.glob("**/*.html"))

    assert pages
    assert [page.name for page in pages if _LOADED.search(page.read_text())] == []


def test_styles_load_nothing_from_other_hosts(site: Path) -> None:
    assert [style.name for style in site.glob("**/*.css") if _IN_STYLES.search(style.read_text())] == []
