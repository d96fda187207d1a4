"""The mirror of Debian that this machine's package sources name, in either of their forms."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from guests.places import Unavailable

_SOURCES = Path("/etc/apt")
_LINE = re.compile(r"^deb\s+(?:\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)$")


@dataclass(frozen=True, slots=True)
class Mirror:
    """URIs; of the security updates there may be none."""

    main: str
    security: str | None


@dataclass(frozen=True, slots=True)
class _Source:
    uri: str
    suite: str


def find_mirror(sources: Path = _SOURCES) -> Mirror:
    """``TIERCEL_DEBIAN_MIRROR``, or what the package sources have. Raises Unavailable."""
    known = list(_sources(sources))
    chosen = os.environ.get("TIERCEL_DEBIAN_MIRROR")
    main = chosen or next((source.uri for source in known if _is_debian(source, "debian")), None)
    if main is None:
        raise Unavailable("this machine's package sources name no mirror of Debian; TIERCEL_DEBIAN_MIRROR can")
    security = next((source.uri for source in known if _is_debian(source, "debian-security")), None)
    return Mirror(main.rstrip("/"), security and security.rstrip("/"))


def _is_debian(source: _Source, archive: str) -> bool:
    wanted = source.suite.endswith("-security") == (archive == "debian-security")
    return wanted and source.uri.rstrip("/").rpartition("/")[2] == archive


def _sources(folder: Path) -> Iterator[_Source]:
    for path in (folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))):
        if path.suffix == ".list" and path.is_file():
            yield from _of_lines(path.read_text(errors="replace"))
        elif path.suffix == ".sources" and path.is_file():
            yield from _of_stanzas(path.read_text(errors="replace"))


def _of_lines(text: str) -> Iterator[_Source]:
    for line in text.splitlines():
        if match := _LINE.match(line.strip()):
            yield _Source(_resolved(match["uri"]), match["suite"])


def _of_stanzas(text: str) -> Iterator[_Source]:
    without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", without_comments):
        fields: dict[str, list[str]] = {}
        name = ""
        for line in stanza.splitlines():
            if not line[:1].isspace():
                name, _, line = line.partition(":")  # noqa: PLW2901
            fields.setdefault(name.lower(), []).extend(line.split())
        if "deb" in fields.get("types", []) and fields.get("enabled", ["yes"]) != ["no"]:
            yield from (
                _Source(_resolved(uri), suite) for uri in fields.get("uris", []) for suite in fields.get("suites", [])
            )


def _resolved(uri: str) -> str:
    """Images of cloud providers name a file that lists the mirrors."""
    path = uri.removeprefix("mirror+file:")
    if path == uri:
        return uri
    try:
        listed = Path("/" + path.lstrip("/")).read_text(errors="replace").split("\n")
    except OSError:
        return uri
    return next((line.split()[0] for line in listed if line.strip() and not line.startswith("#")), uri)
