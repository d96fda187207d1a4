"""Reads rules files from the disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tiercel_engine.diagnostics import Diagnostic, Location, Severity
from tiercel_engine.units import MEBIBYTE

MAX_FILE_BYTES = 8 * MEBIBYTE
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class RulesFile:
    """A rules file: its name, as diagnostics show it, and its text.

    Bytes that are not UTF-8 are surrogate escapes in ``text``. Loading the file reports them with their place.
    """

    name: str
    text: str


def read_rules(paths: Iterable[str | os.PathLike[str]]) -> tuple[tuple[RulesFile, ...], tuple[Diagnostic, ...]]:
    """The files at ``paths`` in that order; for a folder, its ``.yaml`` and ``.yml`` files in alphabetical order.

    A file that cannot be read, is not a regular file or is larger than ``MAX_FILE_BYTES`` is left out, and gives an
    error LOAD_ERR_FILE_READ in the second result. Raises nothing.
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
    """The text of a regular file of at most ``MAX_FILE_BYTES``. Bytes that are not UTF-8 become surrogate escapes.

    Raises OSError, or ValueError for a file that is not a regular one or is too large.
    """
    # With O_NONBLOCK, opening a FIFO that nobody writes to does not wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES // MEBIBYTE} MiB")
    return content.decode("utf-8", "surrogateescape")


def _unreadable(name: str, error: OSError | ValueError) -> Diagnostic:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    message = f"cannot read the file: {reason}"
    return Diagnostic(Severity.ERROR, "LOAD_ERR_FILE_READ", message, Location(name, 1, 1), "file", name)
