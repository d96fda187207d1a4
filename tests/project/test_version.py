"""The version is written in one place: what can't read it from there is compared with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tiercel_engine import __version__

CHECKOUT = Path(__file__).parents[2]


def operator_container() -> dict[str, Any]:
    manifests = yaml.safe_load_all((CHECKOUT / "config/base/operator.yaml").read_text())
    (deployment,) = [manifest for manifest in manifests if manifest["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(container)


def test_the_manifests_name_images_of_this_version() -> None:
    container = operator_container()
    values = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert container["image"] == f"tiercel/operator:{__version__}"
    assert values["TIERCEL_AGENT_IMAGE"] == f"tiercel/agent:{__version__}"


def test_no_other_file_repeats_it() -> None:
    named = ("README.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml")
    folders = ("cli", "engine", "node_agent", "operator", "images", "scripts", "docs")
    files = [CHECKOUT / name for name in named]
    files += [path for folder in folders for path in (CHECKOUT / folder).rglob("*") if path.is_file()]
    texts = {path: path.read_bytes() for path in files if "__pycache__" not in path.parts}
    repeating = {str(path.relative_to(CHECKOUT)) for path, text in texts.items() if __version__.encode() in text}
    assert repeating == {"engine/tiercel_engine/__init__.py"}
