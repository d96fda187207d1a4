"""What a guest is handed."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from guests.checkout import write_disk


def test_the_disk_has_the_checkout_as_it_is(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    write_disk(disk, [{"name": "x"}], {"given": b"bytes"})
    with tarfile.open(disk) as archive:
        names = set(archive.getnames())
        steps, given = (archive.extractfile(f"guest/{name}") for name in ("steps.json", "given"))
        assert steps is not None
        assert given is not None
        assert (json.load(steps), given.read()) == ([{"name": "x"}], b"bytes")
        assert archive.getmember("tiercel/tests/support/guests/inside/init").mode & 0o111
        assert archive.getmember("tiercel/node_agent/tiercel_agent/bpf").issym()
    assert {"tiercel/pyproject.toml", "tiercel/bpf/calls.c"} <= names
    assert not any(name.startswith(("tiercel/.venv", "tiercel/.git/")) for name in names)
