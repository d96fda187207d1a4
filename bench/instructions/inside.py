"""Runs in the guest: every load without the agent, then with it. Prints instructions a round, as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.instructions.loads import LOADS
from bench.live.loads import WORKLOAD
from bench.live.rulesets import rule_set

_RULES = 90
_FOLDER = Path("/srv")
_PROGRAM = Path("/tmp/workload")


def _measure() -> dict[str, float]:
    return {
        load.name: float(subprocess.check_output([_PROGRAM, "rounds", load.name, str(load.rounds), _FOLDER], text=True))
        for load in LOADS
    }


def main() -> None:
    _FOLDER.mkdir(exist_ok=True)
    (_FOLDER / "file").write_text("x")
    subprocess.run(["cc", "-O2", "-o", _PROGRAM, WORKLOAD], check=True)
    rules = Path("/tmp/rules.yaml")
    rules.write_text(rule_set(_RULES))
    alone = _measure()
    command = [str(Path(sys.executable).with_name("tiercel")), "detect", "-r", str(rules)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as agent:
        assert agent.stderr is not None
        for line in agent.stderr:
            if line.startswith("watching:"):
                break
        else:
            sys.exit("the agent doesn't watch")
        watched = _measure()
        agent.terminate()
        told = agent.stderr.read()
    print(json.dumps({"alone": alone, "watched": watched, "told": told}))


if __name__ == "__main__":
    main()
