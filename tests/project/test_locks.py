"""requirements/*.lock and pyproject.toml agree: `make lock` was run after the last change of a requirement."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

CHECKOUT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
EXTRAS_OF = {"agent": ["agent"], "operator": ["operator"], "dev": list(EXTRAS)}
"""By lock file: what is installed from it beside what the project needs always."""
PINNED = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[^ ;]+)(?: ; [^\\]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n",
)
COMMENT = re.compile(r" *#[^/@]*\n")


def lock_text(name: str) -> str:
    return (CHECKOUT / f"requirements/{name}.lock").read_text()


def pinned(name: str) -> Mapping[str, Version]:
    return {match["name"]: Version(match["version"]) for match in PINNED.finditer(lock_text(name))}


def required(name: str) -> list[Requirement]:
    if name == "build":
        return [Requirement(text) for text in PYPROJECT["build-system"]["requires"]]
    texts = [*PYPROJECT["project"]["dependencies"], *(text for extra in EXTRAS_OF[name] for text in EXTRAS[extra])]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("name", ["build", *EXTRAS_OF])
def test_each_requirement_is_pinned_within_its_bounds(name: str) -> None:
    versions = pinned(name)
    outside = {
        str(requirement): str(versions.get(canonicalize_name(requirement.name), "not pinned"))
        for requirement in required(name)
        if (version := versions.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(version, prereleases=True)
    }
    assert not outside, "run `make lock`"


def test_nothing_is_pinned_that_was_required_once() -> None:
    """The lock says of each package which others want it."""
    wanted = {canonicalize_name(requirement.name) for requirement in required("dev")}
    by_project: set[str] = set()
    for entry in re.split(r"\n(?=[a-z])", lock_text("dev")):
        if re.search(r"#(?: via)? +tiercel \(pyproject\.toml\)$", entry, re.MULTILINE):
            by_project.add(entry.partition("==")[0])
    assert by_project == wanted, "run `make lock`"


@pytest.mark.parametrize("name", ["agent", "operator"])
def test_images_have_the_versions_that_are_tested(name: str) -> None:
    assert pinned(name).items() <= pinned("dev").items()


@pytest.mark.parametrize("name", ["build", *EXTRAS_OF])
def test_a_lock_has_hashes_and_no_place_where_packages_come_from(name: str) -> None:
    assert pinned(name)
    assert not COMMENT.sub("", PINNED.sub("", lock_text(name)))
