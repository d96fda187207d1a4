"""Rules that need every family of calls, and a process that does what each of them asks for."""

from __future__ import annotations

import subprocess
import sys

from live_support.watching import Watching

CONDITIONS = {
    "kill": "evt.type = kill and evt.rawarg.pid = 2147483647",
    "open": "evt.type in (open, openat) and fd.name = /tc-partial/file",
    "connect": "evt.type = connect and fd.sport = 1",
    "send": "evt.type in (sendto, connect) and evt.buffer contains tc-partial",
    "failed exec": "evt.type = execve and evt.arg.filename = /tc-partial/program",
    "exec": "evt.type = execve and proc.args = tc-partial",
    "renamed": "evt.type in (open, openat) and proc.name = tc-renamed and fd.name = /tc-partial/renamed",
    "end": "evt.type = execve and proc.args = tc-partial-end",
}
RULES = "".join(
    f"- rule: {name}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n"
    for name, condition in CONDITIONS.items()
)
ACTIONS = """
import ctypes, os, socket, subprocess
from contextlib import suppress
def opened(name):
    with suppress(OSError): os.open(name, os.O_RDONLY)
ctypes.CDLL(None).kill(2147483647, 0)
opened("/tc-partial/file")
with suppress(OSError): socket.create_connection(("127.0.0.1", 1))
here, there = socket.socketpair()
ctypes.CDLL(None).sendto(here.fileno(), b"tc-partial", 10, 0, None, 0)
with suppress(OSError): os.execv("/tc-partial/program", ["x"])
subprocess.run(["/bin/true", "tc-partial"])
for _ in range(50): opened("/tc-partial/renamed")
input()
open("/proc/self/comm", "w").write("tc-renamed")
opened("/tc-partial/renamed")
subprocess.run(["/bin/true", "tc-partial-end"])
"""


def act(watch: Watching) -> None:
    """Everything that a rule asks for, by one process; it is renamed once what it did before has been evaluated."""
    with subprocess.Popen([sys.executable, "-c", ACTIONS], stdin=subprocess.PIPE) as process:
        watch.until(lambda: "exec" in rules_that_fired(watch))
        for _ in range(5):
            watch.loop.turn(0.05)
        process.communicate(b"\n")
    watch.until(lambda: "end" in rules_that_fired(watch))


def rules_that_fired(watch: Watching) -> set[str]:
    return {alert.rule for alert in watch.alerts}
