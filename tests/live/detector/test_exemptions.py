"""The agent and its compiler aren't watched. A later process of such a number is, and so is the one that has the
agent's number where the agent's own doesn't count."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import struct
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tiercel_agent.detection.detector import open_detector
from tiercel_agent.detection.exemptions import Exemptions
from tiercel_agent.kernel.bytecode.compiler import Child
from tiercel_agent.kernel.bytecode.provider import ProgramSettings
from tiercel_agent.kernel.errors import DetectorError
from tiercel_engine.matching.requirements import Requirements

OPENS = Requirements(frozenset({"open", "openat"}), frozenset(), frozenset())
CLONE3 = 435
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


def fork_with_number(pid: int) -> int:
    """As os.fork(), but the child's number is given."""
    wanted = ctypes.c_int(pid)
    arguments = struct.pack("=11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1, 0)
    forked = LIBC.syscall(ctypes.c_long(CLONE3), ctypes.c_char_p(arguments), ctypes.c_long(len(arguments)))
    if forked < 0:
        pytest.skip(f"no process of a given number: {errno.errorcode[ctypes.get_errno()]}")
    return int(forked)


def test_a_later_process_of_the_compilers_number_is_watched(monkeypatch, collect):
    compilers: list[Child] = []
    begin = Exemptions.begin_compiler

    def note(exemptions: Exemptions, child: Child) -> None:
        compilers.append(child)
        begin(exemptions, child)

    monkeypatch.setattr(Exemptions, "begin_compiler", note)
    try:
        detector = open_detector(OPENS, programs=ProgramSettings())  # which the compiler makes
    except DetectorError as error:
        pytest.skip(f"live tests need eBPF: {error}")
    pid = compilers[-1].pid
    with closing(detector):
        if fork_with_number(pid) == 0:
            _open_and_end()
        os.waitpid(pid, 0)
        events = collect(detector, lambda event: event["fd.name"] == "/tc-reused/4")
        opened = [event["fd.name"] for event in events if event["proc.pid"] == pid]
    assert opened == [f"/tc-reused/{number}" for number in range(5)]


def _open_and_end() -> None:
    for number in range(5):
        with suppress(OSError):
            os.open(f"/tc-reused/{number}", os.O_RDONLY)
    os._exit(0)


# Prints what was opened before the eyes of a detector by itself, by its compiler and by a child, the number that the
# kernel excuses, and that of the child's parent.
IN_A_NAMESPACE = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from live_support.updating import update
from tiercel_agent.detection.detector import open_detector
from tiercel_engine.matching.requirements import Requirements

def touch(name):
    try:
        os.open(name, os.O_RDONLY)
    except OSError:
        pass

types = frozenset({"open", "openat"})
detector = open_detector(Requirements(types, frozenset(), frozenset()))
detector.poll(0)
seen = update(detector, Requirements(types, frozenset({"proc.cwd"}), frozenset()))
touch("/tc-own")
if os.fork() == 0:
    touch("/tc-childs")
    os._exit(0)
os.wait()
while not any(event["fd.name"] == "/tc-childs" for event in seen):
    seen += detector.poll(1)
last = next(event for event in seen if event["fd.name"] == "/tc-childs")
settings = detector._watch.programs.maps["settings"].lookup(bytes(4), 16)
parent = last.record.ancestors[0].pid
mine = [event for event in seen if parent in (event["proc.pid"], event.record.ancestors[0].pid)]
print(json.dumps([[event["fd.name"] for event in mine], int.from_bytes(settings[4:8], "little"), parent]))
detector.close()
"""


def test_in_a_namespace_of_its_own_the_agent_excuses_itself_and_nobody_else():
    support = str(Path(__file__).resolve().parents[2] / "support")
    result = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", IN_A_NAMESPACE, support],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Operation not permitted" in result.stderr:
        pytest.skip("no PID namespaces")
    assert result.returncode == 0, result.stderr
    seen, excused, parent = json.loads(result.stdout)
    assert seen == ["/tc-childs"]
    assert excused == parent != 1
