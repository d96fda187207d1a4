"""The pages of docs/reference, made from the code: a page is made anew, never edited."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from reference_pages import command_line, configuration, custom_resources, event_types, fields, metrics
from reference_pages.markdown import GENERATED

FOLDER = Path(__file__).parents[2] / "docs/reference"

PAGES: Mapping[str, Callable[[], str]] = {
    "fields.md": fields.page,
    "event-types.md": event_types.page,
    "custom-resources.md": custom_resources.page,
    "command-line.md": command_line.page,
    "configuration.md": configuration.page,
    "metrics.md": metrics.page,
}
"""What makes each page, by the name of its file."""


def page(name: str) -> str:
    """The text of a page, with the notice that it is generated."""
    return f"{GENERATED}\n\n{PAGES[name]().rstrip()}\n"


def write_pages() -> None:
    """Writes all pages. Raises OSError if one can't be written."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in PAGES:
        (FOLDER / name).write_text(page(name), encoding="utf-8")
