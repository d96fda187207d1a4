"""Containers of runc alone, which no runtime knows."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

from container_support.machine import binary, layer, remove_cgroup, run


def runc_run(folder: Path, id_: str, command: Sequence[str]) -> tuple[int, str]:
    """Runs a container of IMAGE in an empty folder; exit status and output."""
    root = folder / "rootfs"
    with tarfile.open(fileobj=layer()) as archive:
        archive.extractall(root)
    runc = [binary("runc"), "--root", str(folder / "state")]
    run([*runc, "spec", "--bundle", str(folder)])
    config = folder / "config.json"
    spec = json.loads(config.read_text())
    spec["process"] |= {"terminal": False, "args": list(command), "env": ["PATH=/bin"]}
    spec["process"].pop("rlimits", None)  # raising them takes CAP_SYS_RESOURCE, which root may lack
    spec["linux"]["cgroupsPath"] = f"/tests-of-runc-{os.getpid()}/{id_}"
    config.write_text(json.dumps(spec))
    try:
        return run([*runc, "run", "--bundle", str(folder), id_], check=False)
    finally:
        remove_cgroup(f"/tests-of-runc-{os.getpid()}")
