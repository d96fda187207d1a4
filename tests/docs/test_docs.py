"""What the documents say of this repository is true: paths, links and commands, as far as a program can tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
import yaml
from reference_pages.configuration import settings

from tiercel_cli.main import main
from tiercel_engine.fields import lookup
from tiercel_engine.resources.node_agent import LossCause, WarningKind
from tiercel_engine.rule_tests import read_tests, run
from tiercel_engine.rules import load, read_rules
from tiercel_operator.sinks.checks import sink_errors

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(ROOT.glob("*/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
"""Those that people write; docs/reference has a test of its own."""
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[\w.*{},-]+(/[\w.*{},-]+)*/?")
_SOURCE = re.compile(r"\.(py|c|h|ya?ml|md|service|toml)$")
_PACKAGES = {
    "tiercel_engine": "engine",
    "tiercel_agent": "node_agent",
    "tiercel_operator": "operator",
    "tiercel_cli": "cli",
}
_LINK = re.compile(r"\]\(([^)\s]+)\)|<(?:img|a)[^>]* (?:src|href)=\"([^\"]+)\"")
_BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_DOTTED = re.compile(r"[a-z_0-9]+(\.[a-z_0-9]+)+")
_FIELDS = frozenset("evt proc fd fs user group thread container k8s".split())
_SECTIONS = frozenset("containers kubernetes outputs spool egress programs metrics log".split())
_COMMAND = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?tiercel (.*)$", re.MULTILINE)


def _paths(text: str) -> Iterator[str]:
    """What stands between backquotes and can only be a path of this repository."""
    for code in _CODE.findall(_BLOCK.sub("", text)):
        if not _PATH.fullmatch(code):
            continue
        first, slash, _ = code.partition("/")
        if (slash and (first in _PACKAGES or (ROOT / first).is_dir())) or (slash and _SOURCE.search(code)):
            yield code


def _exists(path: str, page: Path) -> bool:
    """From the repository's folder, that of a package, or the page's own."""
    first = path.partition("/")[0]
    folders = (ROOT / _PACKAGES[first],) if first in _PACKAGES else (ROOT, page.parent)
    return any(any(folder.glob(path.rstrip("/"))) for folder in folders)


@every_page
def test_paths_that_are_named_exist(page: Path) -> None:
    missing = [path for path in _paths(page.read_text()) if not _exists(path, page)]

    assert missing == []


@every_page
def test_files_that_are_linked_exist(page: Path) -> None:
    links = ["".join(match) for match in _LINK.findall(page.read_text())]
    files = [unquote(link.partition("#")[0]) for link in links if "://" not in link and not link.startswith("mailto:")]

    assert [file for file in files if file and not (page.parent / file).exists()] == []


@every_page
def test_commands_that_are_shown_have_these_options(page: Path) -> None:
    context = click.Context(main)
    for line in _COMMAND.findall("\n".join(text for _, text in _BLOCK.findall(page.read_text()))):
        name, *words = line.split()
        if name.startswith("-"):
            continue
        command = main.get_command(context, name)
        assert command is not None, f"there is no command {name}"
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)}
        assert used <= known | {"-h", "--help"}, line


@every_page
def test_fields_and_settings_that_are_named_exist(page: Path) -> None:
    dotted = [code for code in _CODE.findall(_BLOCK.sub("", page.read_text())) if _DOTTED.fullmatch(code)]
    known = settings()
    unknown = [
        name
        for name in dotted
        if (name.partition(".")[0] in _FIELDS and lookup(name) is None)
        or (name.partition(".")[0] in _SECTIONS and name not in known)
    ]

    assert unknown == []


@pytest.mark.parametrize(("kinds", "name"), [(LossCause, "alerts.md"), (WarningKind, "troubleshooting.md")])
def test_every_cause_of_loss_and_every_warning_is_explained(kinds: type[Enum], name: str) -> None:
    explained = _CODE.findall((ROOT / "docs" / name).read_text())

    assert {kind.value for kind in kinds} <= set(explained)


@pytest.mark.parametrize("name", ["troubleshooting.md", "cluster.md", "alerts.md"])
def test_conditions_and_reasons_that_are_named_exist(name: str) -> None:
    words = re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*)`", (ROOT / "docs" / name).read_text())
    sources = [file.read_text() for folder in ("operator", "engine") for file in (ROOT / folder).glob("**/*.py")]

    assert words
    assert [word for word in words if not any(f'"{word}"' in source for source in sources)] == []


@every_page
def test_rules_that_are_shown_are_valid_and_pass_their_tests(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(_manifests(page, "SecurityRule")):
        (tmp_path / f"{number}.yaml").write_text(text)
    files, unread = read_rules([tmp_path])
    loaded, tests = load(files), read_tests(files)

    assert (unread, loaded.errors, loaded.warnings, tests.errors) == ((), (), (), ())
    assert [outcome.message for outcome in run(tests, loaded.rules) if not outcome.passed] == []


@every_page
def test_sinks_that_are_shown_are_valid(page: Path) -> None:
    for text in _manifests(page, "AlertSink"):
        body = yaml.safe_load(text)
        assert sink_errors(body["spec"], body["metadata"]["namespace"]) == ()


def _manifests(page: Path, kind: str) -> list[str]:
    blocks = (text for language, text in _BLOCK.findall(page.read_text()) if language == "yaml")
    return [text for text in blocks if re.search(rf"^kind: {kind}$", text, re.MULTILINE)]
