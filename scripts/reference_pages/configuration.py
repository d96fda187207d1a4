"""The page of the agent's configuration: what its reader asks for, and the file that documents it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from unittest.mock import patch

from reference_pages.markdown import code, table
from tiercel_agent.config.section import Section
from tiercel_agent.config.tiercel_yaml import translate
from tiercel_engine.priority import Priority
from tiercel_engine.rules.documents.document import Mapping
from tiercel_engine.rules.documents.report import Report
from tiercel_engine.rules.documents.source_file import SourceFile

DOCUMENTED = Path(__file__).parents[2] / "config/tiercel.yaml"

_HEAD = """# tiercel.yaml

`tiercel agent --config FILE` reads this file. Keys that aren't in the table are refused, with the place of the mistake.
A `falco.yaml` works in its place; what has no effect then is said in a warning.

Relative paths start from the folder of the file."""


def page() -> str:
    documented = DOCUMENTED.read_text(encoding="utf-8")
    known = settings()
    rows = ((code(name), known[name]) for name in sorted(known, key=lambda name: _place(name, documented)))
    return "\n\n".join(
        (
            _HEAD,
            table(("Setting", "Value"), rows),
            "## The documented file",
            "This is `config/tiercel.yaml`, which shows every setting with its default.",
            f"```yaml\n{documented.rstrip()}\n```",
        )
    )


def settings() -> dict[str, str]:
    """Each setting by its path, such as ``outputs.file.path``, with what its value is."""
    asked: dict[str, str] = {}
    with patch.dict(os.environ, {}, clear=True):
        translate(_Recording(asked, ""))
    return asked


def _place(setting: str, documented: str) -> int:
    """Where the file documents a setting: a key that is commented out counts too. Raises LookupError if it doesn't."""
    place = 0
    for key in setting.split("."):
        match = re.compile(rf"^[# ]*{re.escape(key)}:", re.MULTILINE).search(documented, place)
        if match is None:
            raise LookupError(f"{DOCUMENTED} doesn't document {setting}")
        place = match.end()
    return place


class _Recording(Section):
    """An empty section that notes what is asked for, and as what."""

    def __init__(self, asked: dict[str, str], path: str) -> None:
        super().__init__(Report(), SourceFile("/etc/tiercel/tiercel.yaml", ""), Mapping((), 0, 0), path)
        self._asked = asked

    def section(self, key: str) -> Section:
        return _Recording(self._asked, self._name(key))

    def text(self, key: str, default: str = "") -> str:
        self._note(key, "text")
        return super().text(key, default)

    def boolean(self, key: str, default: bool) -> bool:
        self._note(key, "`true` or `false`")
        return super().boolean(key, default)

    def number(self, key: str, default: int) -> int:
        self._note(key, "whole number")
        return super().number(key, default)

    def choice(self, key: str, choices: Iterable[str], default: str) -> str:
        known = list(choices)
        self._note(key, ", ".join(map(code, known)))
        return super().choice(key, known, default)

    def priority(self, key: str) -> Priority:
        self._note(key, "a priority")
        return super().priority(key)

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        self._note(key, "list of texts")
        return super().texts(key, default)

    def paths(self, key: str) -> tuple[Path, ...]:
        self._note(key, "list of paths")
        return super().paths(key)

    def _note(self, key: str, kind: str) -> None:
        self._asked.setdefault(self._name(key), kind)
