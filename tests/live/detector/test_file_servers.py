"""A file server that doesn't answer costs what it would have answered, and nothing else."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from agent_support.file_server import FileServer, file_server, hangs
from agent_support.waiting import eventually
from live_support.watching import Watching

from tiercel_agent.loss import Loss
from tiercel_agent.warning import describe
from tiercel_agent.workloads.settings import WorkloadSettings
from tiercel_engine.resources.node_agent import LossCause

UNANSWERED = Loss(LossCause.LOOKUP_UNANSWERED)
ROUNDS = 5
MAKING = """
import os, sys
for line in sys.stdin:
    error = 0
    try:
        os.mkdir(line.strip())
    except OSError as failed:
        error = failed.errno
    print(error, flush=True)
"""


class Making:
    """A process that makes folders when it is told to, and lives on."""

    def __init__(self, cwd: Path = Path("/")) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cwd
        )

    def make(self, folder: Path) -> int:
        """The number of the error, 0 if the folder was made."""
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def __enter__(self) -> Making:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


class Tenant:
    """A file server that answers to nobody but its own processes: one that runs its program, and one that makes a call
    about its files whenever it is told to."""

    def __init__(self, server: FileServer) -> None:
        self.folder = server.inner
        self._server = server
        self._running = subprocess.Popen([server.file, "1000"])
        self._making = Making(server.folder)
        self.call()  # it runs
        server.fall_silent(self._running.pid, self._making.process.pid)

    def call(self) -> None:
        """A call that is refused. The names of such calls are looked up."""
        assert self._making.make(self.folder / "made") == errno.EPERM

    def close(self) -> None:
        for process in (self._running, self._making.process):
            process.kill()
        self._server.close()
        for process in (self._running, self._making.process):
            process.communicate()


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[Tenant]:
    with ExitStack() as stack:
        tenant = Tenant(file_server(tmp_path / "served", Path("/bin/sleep").read_bytes()))
        stack.callback(tenant.close)
        yield tenant


def looking_up(agent: int) -> int:
    """The process that makes an agent's look-ups."""
    children = map(int, Path(f"/proc/{agent}/task/{agent}/children").read_text().split())
    return next(pid for pid in children if b"lookups.process" in Path(f"/proc/{pid}/cmdline").read_bytes())


@contextmanager
def detecting(rules: Path, state: Path) -> Iterator[subprocess.Popen[str]]:
    """`tiercel detect` in a process of its own, which watches already."""
    command = [sys.executable, "-c", "from tiercel_cli.main import main; main()", "detect", "-r", str(rules)]
    environment = {**os.environ, "STATE_DIRECTORY": str(state)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as agent:
        try:
            said = ""
            while "watching: " not in said:
                line = agent.stderr.readline()
                assert line, said
                said += line
            yield agent
        finally:
            agent.kill()


def rules(file: Path, tenant: Tenant) -> str:
    return f"""
- rule: Read
  desc: d
  condition: evt.type = openat and fd.name = {file}
  output: Read by %proc.name
  priority: INFO
- rule: Made
  desc: d
  condition: evt.type in (mkdir, mkdirat) and fs.path.name startswith {tenant.folder}
  output: "%proc.exepath %fs.path.realname"
  priority: INFO
"""


def test_every_event_is_seen_while_a_file_server_does_not_answer(tenant: Tenant, file: Path):
    with Watching(rules(file, tenant), WorkloadSettings()) as watching:
        at_start = watching.detector.counters().lost[UNANSWERED]  # of the program that runs from there
        for _ in range(ROUNDS):
            tenant.call()
            subprocess.run(["/bin/cat", file], check=True, stdout=subprocess.DEVNULL)
        watching.until(lambda: len(watching.of("Read")) == ROUNDS and len(watching.of("Made")) == ROUNDS)
        unknown = 0 if watching.detector.hooks else ROUNDS  # a hook of the kernel tells the names
        assert watching.detector.counters().lost[UNANSWERED] >= at_start + unknown
        (warning,) = map(describe, watching.detector.current_warnings())
        assert warning.startswith("files or processes don't answer")
        watching.until(lambda: watching.of("Tiercel: events lost"))


def test_look_ups_are_no_events(tmp_path: Path, file: Path):
    """Else each of them could cause others."""
    made = tmp_path / "folder/made"
    made.parent.mkdir()
    opening = """
- rule: Made
  desc: d
  condition: evt.type in (mkdir, mkdirat) and fs.path.name = {made}
  output: o
  priority: INFO
- rule: Opened
  desc: d
  condition: evt.type in (open, openat, openat2) and (fd.name = {file} or fd.name startswith {folder})
  output: "%proc.name"
  priority: INFO
"""
    rules = opening.format(made=made, file=file, folder=made.parent)
    with Watching(rules, WorkloadSettings()) as watching:
        with Making() as making:
            assert making.make(made) == 0
            watching.until(lambda: watching.of("Made"))  # its name was looked up by opening its folder
        subprocess.run(["/bin/cat", file], check=True, stdout=subprocess.DEVNULL)
        watching.until(lambda: watching.of("Opened"))
        assert [alert.output_fields["proc.name"] for alert in watching.of("Opened")] == ["cat"]


def test_the_agent_ends_and_starts_again_while_a_look_up_hangs(
    tenant: Tenant, file: Path, tmp_path: Path, state_of_detect: Path
):
    path = tmp_path / "rules.yaml"
    path.write_text(rules(file, tenant))
    left: list[int] = []
    for _ in range(2):
        with detecting(path, state_of_detect) as agent:
            left.append(looking_up(agent.pid))
            tenant.call()
            subprocess.run(["/bin/cat", file], check=True, stdout=subprocess.DEVNULL)
            for line in agent.stdout:
                if "Read" in line:
                    break
            agent.send_signal(signal.SIGTERM)
            agent.communicate()
            assert agent.returncode == 0
    for process in left:  # nothing ends these while the server lives
        eventually(partial(hangs, process))
