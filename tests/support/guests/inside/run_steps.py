"""Runs in the guest: does the host's steps one after the other, and tells each result at once, a line of JSON each.

Only the guest's own Python is needed. The lines go through a port of their own, where no kernel message gets in.
"""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

_STEPS = Path("/root/guest/steps.json")
_HOME = Path("/root/tiercel")
_OUTPUT = Path("/run/guest-output")
_MOST_OUTPUT = 1 << 20  # bytes
_SO_FAR = 4096  # bytes
_TELL_EVERY = 15.0  # seconds


def _port() -> BinaryIO:
    for port in Path("/sys/class/virtio-ports").iterdir():
        if (port / "name").read_text().strip() == "results":
            return open(f"/dev/{port.name}", "wb", buffering=0)
    raise RuntimeError("the host has no port for results")


def _run(step: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    began = time.monotonic()
    with _OUTPUT.open("wb") as output:
        child = subprocess.Popen(
            ["/bin/bash", "-c", step["script"]],
            cwd=_HOME,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ended = os.pidfd_open(child.pid)  # waited for without looking again and again, which would disturb measurements
        while time.monotonic() < began + step["deadline"]:
            left = began + step["deadline"] - time.monotonic()
            if select.select([ended], [], [], max(0.0, min(left, _TELL_EVERY)))[0]:
                break
            tell({"so_far": _end(_OUTPUT, _SO_FAR)})
        os.close(ended)
        status = child.poll()
        if status is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return {
        "step": step["name"],
        "status": status,
        "seconds": time.monotonic() - began,
        "output": _end(_OUTPUT, _MOST_OUTPUT),
        "files": {name: _encoded(Path(name).read_bytes()) for name in step["files"] if Path(name).is_file()},
    }


def _end(path: Path, most: int) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return _encoded(file.read())


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main() -> None:
    with _port() as port:

        def tell(what: dict[str, Any]) -> None:
            line = json.dumps(what).encode() + b"\n"
            while line:
                line = line[port.write(line) :]

        tell({"release": os.uname().release})
        for step in json.loads(_STEPS.read_text()):
            tell({"begun": step["name"]})
            tell(_run(step, tell))
        tell({"end": True})
    os.sync()
    # At once: there is nothing to save.
    Path("/proc/sysrq-trigger").write_text("o")
    signal.pause()


if __name__ == "__main__":
    main()
