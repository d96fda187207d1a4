"""The kernel's filter never drops what may match because a text is longer than what is known of it."""

from __future__ import annotations

import os
import subprocess

import pytest
from live_support.filter_rules import alerted_rules, rules_of

from tiercel_agent.detection.detector import open_detector
from tiercel_agent.kernel.errors import DetectorError
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import Requirements

RULES = {
    "beginning": "fd.name startswith /etc/tc-watched",
    "not beginning": "fd.filename = tc-deep and not fd.name startswith /etc/tc-watched",
    "end": "fd.name = /tiercel-end",
    "last argument": "fd.name = /etc/hostname and proc.args endswith tc-last",
    "excused": "fd.name = /etc/hostname and proc.args startswith tc-first and not proc.args contains tc-excuse",
    "other program": "fd.name = /etc/hostname and proc.args endswith tc-last and proc.args startswith tc-other",
}
OPENS = 10  # more than the filter needs to learn of a process


@pytest.fixture
def watching():
    if os.geteuid() != 0:
        pytest.skip("live tests need root")
    rules = rules_of(RULES)
    try:
        detector = open_detector(Requirements.of(rules), rules, flood_limit=0)
    except DetectorError as error:
        pytest.skip(f"live tests need eBPF: {error}")
    yield detector, Matcher(rules)
    detector.close()


@pytest.fixture
def deep_folder(tmp_path):
    """The working directory is one whose path has more than 4096 bytes."""
    before = os.open(".", os.O_PATH)
    os.chdir(tmp_path)
    for _ in range(25):
        os.mkdir("n" * 200)
        os.chdir("n" * 200)
    yield
    os.fchdir(before)
    os.close(before)


def test_names_of_which_only_the_end_is_known(watching, deep_folder):
    open("tc-deep", "w").close()
    alerted, _ = alerted_rules(*watching, *["tc-deep"] * 5)
    assert alerted == ["beginning", "not beginning"] * 5


def test_command_lines_of_which_only_the_beginning_is_known(watching, compiled, collect):
    detector, matcher = watching
    program = compiled(
        """
        #include <fcntl.h>
        #include <unistd.h>
        int main() { char c; while (read(0, &c, 1) == 1) close(open("/etc/hostname", O_RDONLY)); }"""
    )
    with subprocess.Popen([program, "tc-first", "x" * 100_000, "any"], stdin=subprocess.PIPE, bufsize=0) as process:
        for _ in range(OPENS):
            process.stdin.write(b"x")
            alerted = []

            def is_it(event, alerted=alerted):
                if event["proc.pid"] == process.pid and event["fd.name"] == "/etc/hostname":
                    alerted += [rule.name for rule, _ in matcher.match(event)]
                detector.evaluated(event)
                return alerted

            collect(detector, is_it)
            assert alerted == ["last argument", "excused"]
