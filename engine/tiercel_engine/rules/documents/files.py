"""Reading rules files from disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tiercel_engine.diagnostics import Diagnostic, Location, Severity

MAX_FILE_BYTES = 8 << 20
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class RulesFile:
    """A rules file's name, as diagnostics show it, and its text.

    Bytes that are not UTF-8 stand in ``text`` as surrogate escapes: loading reports them with their place.
    """

    name: str
    text: str


def read_rules(paths: Iterable[str | os.PathLike[str]]) -> tuple[tuple[RulesFile, ...], tuple[Diagnostic, ...]]:
    """The files at ``paths`` in that order, a folder's ``.yaml`` and ``.yml`` files alphabetically.

    What cannot be read, is not a regular file or exceeds ``MAX_FILE_BYTES`` is left out, with a
    LOAD_ERR_FILE_READ in the second result. Raises nothing.
    """
    files: list[RulesFile] = []
    diagnostics: list[Diagnostic] = []
    for path in paths:
        name = os.fspath(path)
        try:
            for member in _members(Path(name)):
                _read(member, files, diagnostics)
        except (OSError, ValueError) as error:
            diagnostics.append(_unreadable(name, error))
    return tuple(files), tuple(diagnostics)


def _members(path: Path) -> Sequence[Path]:
    if not path.is_dir():
        return [path]
    return sorted(member for member in path.iterdir() if member.suffix in SUFFIXES)


def _read(path: Path, files: list[RulesFile], diagnostics: list[Diagnostic]) -> None:
    try:
        files.append(RulesFile(str(path), read_text(path)))
    except (OSError, ValueError) as error:
        diagnostics.append(_unreadable(str(path), error))


def read_text(path: Path) -> str:
    """The text of a regular file of at most ``MAX_FILE_BYTES``; bytes that are not UTF-8 are surrogate escapes.

    Raises OSError, or ValueError for a file that is not regular or too large.
    """
    # O_NONBLOCK: opening a FIFO nobody writes to must not wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    return content.decode("utf-8", "surrogateescape")


def _unreadable(name: str, error: OSError | ValueError) -> Diagnostic:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    message = f"cannot read the file: {reason}"
    return Diagnostic(Severity.ERROR, "LOAD_ERR_FILE_READ", message, Location(name, 1, 1), "file", name)
