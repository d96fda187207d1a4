"""Runs in a guest: loads the programs as the agent does, and tells what the verifier says of each.

Writes JSON to a file: for each set of programs, by program, the instructions that the verifier processed, the seconds
that loading took, and the error if the kernel refused it. What is loaded through libbpf in this process is measured,
whichever part of the agent loads it.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiercel_agent import detector
from tiercel_agent.kernel import loader
from tiercel_agent.kernel.libbpf import library
from tiercel_agent.rule_set import default_rules, load_rule_set
from tiercel_agent.source import DetectorError
from tiercel_engine.evaluation.requirements import Requirements

_STATISTICS = 4  # BPF_LOG_STATS
_LOG_SIZE = 1 << 20
_PROCESSED = re.compile(rb"processed (\d+) insns")
_RETURN_0 = bytes.fromhex("b700000000000000" + "9500000000000000")
_EVERYTHING = frozenset({"proc.env", "proc.cwd", "evt.buffer"})
Figures = dict[str, dict[str, Any]]


class _Measured:
    """Stands in for ``bpf_prog_load``. In the place of a program that is refused it loads one that does nothing, so
    that the others are loaded too."""

    def __init__(self, load: Callable[..., int]) -> None:
        self._load = load
        self.figures: Figures = {}

    def __call__(self, type_: int, name: bytes, license_: bytes, code: bytes, count: int, given: Any) -> int:
        options = loader._LoadOptions.from_buffer_copy(given._obj)
        log = ctypes.create_string_buffer(_LOG_SIZE)
        options.log_level, options.log_size, options.log_buf = _STATISTICS, _LOG_SIZE, ctypes.addressof(log)
        began = time.monotonic()
        loaded = self._load(type_, name, license_, code, count, ctypes.byref(options))
        processed = _PROCESSED.search(log.value)
        figures = {
            "instructions": int(processed[1]) if processed else None,
            "seconds": round(time.monotonic() - began, 3),
            "error": None if loaded >= 0 else os.strerror(-loaded),
            "size": count,
        }
        if name != b"probe":
            self.figures[name.decode()] = figures
            if loaded < 0:
                plain = loader._LoadOptions(sz=ctypes.sizeof(loader._LoadOptions), attempts=5)
                return self._load(type_, name, license_, _RETURN_0, 2, ctypes.byref(plain))
        return int(loaded)


def _figures(requirements: Requirements, rules: Any, **more: Any) -> Figures:
    """Of the programs for these rules."""
    libbpf: Any = library()
    load = libbpf.bpf_prog_load
    measured = _Measured(load)
    libbpf.bpf_prog_load = measured
    try:
        detector.open_detector(requirements, rules, **more).close()
    except DetectorError as error:
        measured.figures["all"] = {"instructions": None, "seconds": 0.0, "error": str(error), "size": 0}
    finally:
        libbpf.bpf_prog_load = load
    return measured.figures


def main(result: str, *sets: str) -> None:
    """``usual`` is what the rules that come with the agent need, ``everything`` all that rules can ask for."""
    ready = load_rule_set([default_rules()])
    found = {}
    if "usual" in sets:
        found["usual"] = _figures(ready.requirements, ready.rules)
    if "everything" in sets:
        everything = Requirements(None, _EVERYTHING, frozenset())
        found["everything"] = _figures(everything, ready.rules, measuring=True)
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
