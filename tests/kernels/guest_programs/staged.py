"""Runs in a guest: `tiercel detect` with a set of rules, and three attacks that each raise one rule of it.

``staged.py RESULT NAME RULES…``; the name is one of those in ``ATTACKS``. Writes JSON to the file: the seconds until it
watched, the rules of its alerts, and what it said.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

_DEADLINE = 120.0  # seconds until the alerts must have come; nothing is ever waited out
_SCRATCH = "/var/tmp/staged"

ATTACKS: Mapping[str, Mapping[str, str]] = {
    "ours": {
        "Sensitive file opened for reading": "cat /etc/shadow",
        "Setuid program created": f"cp /bin/true {_SCRATCH}; chmod u+s {_SCRATCH}; rm {_SCRATCH}",
        "Program run from memory or a temporary folder": "cp /bin/true /dev/shm/staged; /dev/shm/staged",
    },
    "falco": {
        "Read sensitive file untrusted": "cat /etc/shadow",
        "Create Symlink Over Sensitive Files": f"ln -s /etc/shadow {_SCRATCH}; rm {_SCRATCH}",
        "Execution from /dev/shm": "cp /bin/true /dev/shm/staged; /dev/shm/staged",
    },
}
"""By the rule that each raises."""


def main(result: str, name: str, *rules: str) -> None:
    attacks = ATTACKS[name]
    given = [word for path in rules for word in ("-r", path)]
    began = time.monotonic()
    alerts, said = Path("/run/staged-alerts"), Path("/run/staged-said")
    with alerts.open("wb") as out, said.open("wb") as errors:
        agent = subprocess.Popen([".venv/bin/tiercel", "detect", "--json", *given], stdout=out, stderr=errors)
    _wait(lambda: agent.poll() is not None or "watching:" in said.read_text(errors="replace"))
    watching = time.monotonic() - began if agent.poll() is None else None
    if watching is not None:
        for script in attacks.values():
            subprocess.run(["/bin/sh", "-c", script], stdout=subprocess.DEVNULL, check=False)
        _wait(lambda: agent.poll() is not None or set(attacks) <= set(_raised(alerts)))
        agent.send_signal(signal.SIGINT)
    try:
        status: int | None = agent.wait(_DEADLINE)
    except subprocess.TimeoutExpired:
        agent.kill()
        status = None
    found = {
        "watching": watching,
        "expected": list(attacks),
        "raised": _raised(alerts),
        "status": status,
        "said": said.read_text(errors="replace")[-3000:],
    }
    Path(result).write_text(json.dumps(found))


def _raised(alerts: Path) -> list[str]:
    """The rules of the alerts so far."""
    return [json.loads(line)["rule"] for line in alerts.read_text().split("\n")[:-1]]


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 4 * _DEADLINE
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
