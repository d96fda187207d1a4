"""Runs in a guest: tells what the kernel's verifier says of each program.

``verifier.py RESULT SETS…`` writes JSON to a file: for each set of programs, by program, the verifier's statistics as
``tiercel_agent.detection.verification`` has them. What was compiled for that, `tiercel detect` finds later.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tiercel_agent.detection.verification import statistics_of_rules
from tiercel_agent.evaluation.rule_set import default_rules, load_rule_set
from tiercel_agent.kernel.bytecode.provider import usual_programs
from tiercel_engine.event_types import SYSCALL_EVENT_TYPES
from tiercel_engine.matching.requirements import Requirements

_EVERYTHING = Requirements(SYSCALL_EVENT_TYPES, frozenset({"proc.env", "proc.cwd", "evt.buffer"}), frozenset())


def main(result: str, *sets: str) -> None:
    """``usual`` is what the rules that come with the agent need, ``everything`` all that rules can ask for; ``helpers``
    the same where memory is read as on kernels that know nothing better."""
    ready = load_rule_set([default_rules()])
    asked: dict[str, dict[str, Any]] = {
        "usual": {"requirements": ready.requirements},
        "everything": {"requirements": _EVERYTHING, "measuring": True},
        "helpers": {"requirements": _EVERYTHING, "measuring": True, "with_helpers": True},
    }
    found = {}
    for name in sets:
        statistics = statistics_of_rules(**asked[name], rules=ready.rules, programs=usual_programs())
        found[name] = {program: asdict(each) for program, each in statistics.items()}
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
