"""Which kernel is taken: the newest of its series, or the one that is here when no newer one can be had."""

from __future__ import annotations

from pathlib import Path

import pytest
from guests import KERNELS, Unavailable, named, packages

SIX = named(["6.1"])[0]
LISTED = """\
linux-image-6.1.0-9-cloud-amd64 - Linux 6.1 for clouds
linux-image-6.1.0-50-cloud-amd64 - Linux 6.1 for clouds
linux-image-6.1.0-7-cloud-amd64 - Linux 6.1 for clouds
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packages, "CACHE", tmp_path)
    return tmp_path


def _refuse(*_arguments: object, **_more: object) -> str:
    raise Unavailable("no mirror today")


def _keep(cache: Path, release: str) -> None:
    folder = cache / "linux/6.1" / release
    folder.mkdir(parents=True)
    (folder / "vmlinuz").touch()


def test_the_newest_is_taken(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_apt", lambda *_arguments: LISTED)
    _keep(cache, "6.1.0-50-cloud-amd64")
    assert packages.fetch_kernel(SIX).release == "6.1.0-50-cloud-amd64"


def test_without_a_mirror_the_newest_that_is_here(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_apt", _refuse)
    for release in ("6.1.0-9-cloud-amd64", "6.1.0-10-cloud-amd64", "6.1.0-11-cloud-amd64.unfinished"):
        _keep(cache, release)
    assert packages.fetch_kernel(SIX).release == "6.1.0-10-cloud-amd64"


def test_without_a_mirror_and_any_kernel(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_apt", _refuse)
    with pytest.raises(Unavailable, match="no mirror today"):
        packages.fetch_kernel(SIX)


def test_names() -> None:
    assert named([kernel.name for kernel in KERNELS]) == KERNELS
    with pytest.raises(ValueError, match=r"no kernel is called 2\.6"):
        named(["6.1", "2.6"])
