"""The folders in which sinks keep their queues on the disk."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tiercel_engine.scope import SYSTEM_NAMESPACE

KEPT = 86400.0
"""Seconds for which the alerts of a removed sink are kept: it may have been removed by mistake."""

_OWN = "_"  # no namespace's name
_GONE = "gone"  # the file that tells since when its sink is
_NAME = re.compile(r"[a-z0-9_]([-a-z0-9_.]{0,251}[a-z0-9_])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Where sinks keep what waits, and how many bytes all of them together may. Without a folder: in memory."""

    folder: Path | None = None
    limit: int = 1 << 30


def spool_folder(root: Path | None, namespace: str, name: str) -> Path | None:
    """The folder of a sink's spool; None if what waits is kept in memory."""
    if root is None:
        return None
    for part in (namespace or _OWN, name):
        if not _NAME.fullmatch(part):
            return None  # as the API server names nothing
    return root / (namespace or _OWN) / name


def remove_old(root: Path, keep: Collection[tuple[str, str]], now: float, limit: int) -> None:
    """Removes what sinks have left that have been gone for long; ``now`` is seconds since the epoch.

    Where all together have more than ``limit`` bytes, those go too that tenants' sinks have left, the oldest first, and
    then the others.
    """
    left: list[tuple[bool, float, Path]] = []
    size = 0
    with suppress(OSError):
        for folder in root.glob("*/*"):
            key = ("" if folder.parent.name == _OWN else folder.parent.name), folder.name
            if key in keep:
                (folder / _GONE).unlink(missing_ok=True)
                size += _size(folder)
            elif folder.is_dir() and not folder.is_symlink():
                left.append((key[0] in ("", SYSTEM_NAMESPACE), _gone_since(folder, now), folder))
    for _, since, folder in sorted(left, reverse=True):
        size += _size(folder)
        if size > limit or now - since > KEPT:
            size -= _size(folder)
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                folder.parent.rmdir()  # unless others are in it


def _gone_since(folder: Path, now: float) -> float:
    """When the sink of the folder was removed, in seconds since the epoch: now, if that wasn't known before."""
    mark = folder / _GONE
    with suppress(OSError):
        return mark.lstat().st_mtime
    with suppress(OSError):
        mark.touch()
        os.utime(mark, (now, now))
    return now


def _size(folder: Path) -> int:
    """Bytes of the files in it."""
    size = 0
    with suppress(OSError):
        for path in folder.rglob("*"):
            status = path.lstat()
            size += 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return size
