"""On kernels that don't allow programs to read their memory by instructions, programs read it by helper calls. Nothing
else differs."""

from __future__ import annotations

import pytest
from live_support.filter_rules import alerted_rules, rules_of

import tiercel_agent.kernel.machine
from tiercel_agent.detection.detector import open_detector
from tiercel_agent.kernel.errors import DetectorError
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import Requirements

CONDITIONS = {
    "prefix": "fd.name startswith /tiercel-older/",
    "file": "fd.name = /etc/hostname and fd.typechar = f and proc.name != nobody",
    "end": "fd.name = /tiercel-end",
}


def test_helper_calls(monkeypatch):
    monkeypatch.setattr(tiercel_agent.kernel.machine, "direct_reads", lambda _btf: None)
    rules = rules_of(CONDITIONS)
    try:
        detector = open_detector(Requirements.of(rules), rules)
    except DetectorError as error:
        if error.log:
            raise
        pytest.skip(f"live tests need eBPF: {error}")
    names = ["/tiercel-older/x", "/etc/hostname", "/etc/passwd", "/usr/bin", "/proc/self/status"]
    alerted, events = alerted_rules(detector, Matcher(rules), *names)
    detector.close()
    assert alerted == ["prefix", "file"]
    assert events == 2  # the others were stopped
