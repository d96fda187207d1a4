"""What a guest is handed: the files of the checkout as they are now, Falco's rules, and what it has to do."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guests.places import CHECKOUT, GIT, run

_STOCK_RULES = CHECKOUT.parent / "shared" / "falco-rules"
"""Where tests look for them, if they are there at all."""


def write_disk(path: Path, steps: Sequence[Mapping[str, Any]], files: Mapping[str, bytes]) -> None:
    """A tar archive as a disk: in it ``tiercel`` and ``shared`` as here, ``guest/steps.json`` and ``guest/<file>``."""
    with path.open("wb") as disk:
        with tarfile.open(fileobj=disk, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for name in _tracked():
                archive.add(CHECKOUT / name, f"tiercel/{name}", recursive=False, filter=_owned_by_root)
            if _STOCK_RULES.is_dir():
                archive.add(_STOCK_RULES, "shared/falco-rules", filter=_owned_by_root)
            for name, content in {"steps.json": json.dumps(steps).encode(), **files}.items():
                entry = tarfile.TarInfo(f"guest/{name}")
                entry.size, entry.mode = len(content), 0o644
                archive.addfile(entry, io.BytesIO(content))
        disk.write(b"\0" * 4096)


def _tracked() -> list[str]:
    """What git has or would have, of what is there."""
    listed = run([*GIT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    return [name for name in listed.split("\0") if name and os.path.lexists(CHECKOUT / name)]


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
