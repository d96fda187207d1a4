"""`tiercel detect` with the rules for the evasions, and what it alerts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE = float(os.environ.get("TIERCEL_TEST_DEADLINE", "60"))  # seconds; nothing is ever waited out
_PORT = 47113
_END = "the end"
_RULES = """\
- rule: {end}
  condition: evt.type in (mkdir, mkdirat) and fs.path.name endswith {folder}/end
  desc: the marker after an evasion
  output: end
  priority: INFO
- rule: open
  condition: evt.type in (open, openat, openat2) and fd.name = {folder}/secret
  desc: a file is opened
  output: "%fd.name %fd.realname %evt.is_io_uring"
  priority: INFO
- rule: connect
  condition: evt.type = connect and fd.sip = "127.0.0.1" and fd.sport = {port}
  desc: a port is connected to
  output: "%fd.name"
  priority: INFO
- rule: changed
  condition: >
    evt.type in (mkdir, mkdirat, symlink, symlinkat, rename, renameat, renameat2, link, linkat, unlink, unlinkat, rmdir,
    mknod, mknodat, chmod, fchmodat, chown, fchownat, truncate)
    and (fs.path.name startswith {folder}/watched/ or fs.path.source startswith {folder}/watched/
    or fs.path.target startswith {folder}/watched/)
  desc: a watched folder changes
  output: "%evt.type"
  priority: INFO
- rule: flipped
  condition: evt.type in (rename, renameat, renameat2) and fs.path.target = {folder}/flipped/1
  desc: a file gets a watched name
  output: "%fs.path.target %fs.path.realtarget"
  priority: INFO
- rule: mounted
  condition: evt.type in (mount, fsconfig) and fs.path.source startswith /dev/
  desc: a disk is mounted
  output: "%fs.path.source %fs.path.realsource"
  priority: INFO
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """`tiercel detect` watches ``folder`` and ``port``."""

    folder: Path
    port: int
    kinds: tuple[str, ...]
    """The kinds of hooks of the kernel that are used, none on some kernels."""
    rings: bool
    """Whether operations of io_uring are seen on this kernel."""
    during: Callable[[Callable[[], object]], list[Mapping[str, Any]]]
    """Calls the function, and returns the alerts of what it did."""


@contextmanager
def watching(folder: Path, kinds: tuple[str, ...], *, rings: bool) -> Iterator[Watched]:
    """Runs `tiercel detect` with the rules, in that folder."""
    for name in ("watched", "flipped", "mounted"):
        (folder / name).mkdir()
    (folder / "secret").write_text("secret")
    rules, alerts, said = folder / "rules.yaml", folder / "alerts", folder / "said"
    rules.write_text(_RULES.format(folder=folder, port=_PORT, end=_END))
    command = [sys.executable, "-c", "from tiercel_cli.main import main; main()", "detect", "--json", "-r", str(rules)]
    with alerts.open("wb") as out, said.open("wb") as errors:
        agent = subprocess.Popen(command, stdout=out, stderr=errors)
    try:
        _wait(lambda: agent.poll() is not None or "watching:" in said.read_text(errors="replace"))
        assert agent.poll() is None, said.read_text(errors="replace")
        yield Watched(folder, _PORT, kinds, rings, _During(folder, alerts))
    finally:
        agent.terminate()
        agent.wait()
        print(said.read_text(errors="replace")[-2000:])


class _During:
    def __init__(self, folder: Path, alerts: Path) -> None:
        self._marker = folder / "end"
        self._alerts = alerts
        self._read = 0

    def __call__(self, body: Callable[[], object]) -> list[Mapping[str, Any]]:
        body()
        self._marker.mkdir()
        self._marker.rmdir()
        found: list[Mapping[str, Any]] = []
        _wait(lambda: self._take(found))
        return [alert for alert in found if alert["rule"] != _END and not alert["rule"].startswith("Tiercel: ")]

    def _take(self, found: list[Mapping[str, Any]]) -> bool:
        """Adds the alerts that have come, and tells whether that of the marker was there."""
        with self._alerts.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        self._read += len(whole) + (1 if whole else 0)
        found += [json.loads(line) for line in whole.splitlines()]
        return any(alert["rule"] == _END for alert in found)


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < deadline, "nothing came in time"
        time.sleep(0.02)
