"""Look-ups by another process: of things that are answered, and of a named pipe that nobody opens for writing."""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from agent_support.file_server import file_server, hangs
from agent_support.logged import logged
from agent_support.waiting import eventually

from tiercel_agent.lookups.lookups import MOST_FOR_ONE, WINDOW, Lookups
from tiercel_agent.lookups.packets import THREADS
from tiercel_agent.warning import describe

ANSWERED = b"content"


class Asking:
    """Asks by a clock that stands still, so that patience grows only where a test says so."""

    def __init__(self, folder: Path, deadline: float = 0.25) -> None:
        self.now = 0.0
        self.lookups = Lookups(["operator", "pathlib"], deadline=deadline, clock=lambda: self.now)
        self.lookups.wait_until_ready(60)
        self.file, self.pipe = folder / "file", folder / "pipe"
        self.file.write_bytes(ANSWERED)
        os.mkfifo(self.pipe)
        self._strangers = count()

    def read(self, path: Path, concerned: str) -> bytes | None:
        return self.lookups.ask(concerned, partial(Path.read_bytes, path))

    def hang(self, concerned: str) -> None:
        assert self.read(self.pipe, concerned) is None

    def answers(self) -> bool:
        """Whether somebody who wasn't asked before is answered; a busy machine may need a second try."""
        self.now += WINDOW
        return self.read(self.file, f"stranger {next(self._strangers)}") == ANSWERED

    def open_pipe(self) -> None:
        """Whoever waits for the pipe finds that it is empty."""
        os.close(os.open(self.pipe, os.O_WRONLY))


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    asking = Asking(tmp_path)
    yield asking
    asking.lookups.close()


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Asking]:
    """For look-ups that take their time."""
    asking = Asking(tmp_path, deadline=60)
    yield asking
    asking.lookups.close()


def test_values_come_as_they_are(patient: Asking):
    assert patient.lookups.ask("a", partial(operator.add, "\udcff\n", "b")) == "\udcff\nb"
    assert patient.lookups.ask("a", partial(operator.mul, b"abc", 1_000_000)) == b"abc" * 1_000_000
    assert patient.lookups.ask("a", partial(Path.read_text, patient.file, encoding="ascii")) == ANSWERED.decode()
    assert patient.lookups.unanswered == 0
    assert patient.lookups.warnings() == []


def test_the_caller_makes_no_look_up_itself(patient: Asking):
    seen = patient.lookups.ask("a", partial(Path.resolve, Path("/proc/self")))
    assert seen == Path(f"/proc/{patient.lookups.process.pid}")


def test_a_look_up_that_fails_is_logged_without_its_message(patient: Asking):
    with logged() as lines:
        for _ in range(2):
            assert patient.lookups.ask("a", partial(Path.read_bytes, Path("/a secret"))) is None
    (line,) = lines
    assert line.startswith("a look-up failed (Path.read_bytes): FileNotFoundError at ")
    assert "secret" not in line
    assert patient.read(patient.file, "a") == ANSWERED


def test_whoever_does_not_answer_is_not_asked_again_until_the_answer_has_come(asking: Asking):
    asking.hang("container a")
    assert asking.lookups.unanswered == 1
    asking.now += 10 * WINDOW
    assert asking.read(asking.file, "container a") is None
    assert asking.lookups.unanswered == 2
    assert list(map(describe, asking.lookups.warnings())) == [
        "files or processes don't answer, so that events lack names: container a"
    ]
    eventually(asking.answers)  # others are
    asking.open_pipe()
    eventually(lambda: not asking.lookups.warnings())
    asking.now += WINDOW
    assert asking.read(asking.file, "container a") == ANSWERED


def test_look_ups_of_other_kinds_are_made_all_the_same(asking: Asking):
    asking.hang("container a")
    eventually(lambda: asking.lookups.ask("container a", partial(operator.add, 1, next(asking._strangers))) is not None)


def test_where_one_way_is_not_answered_another_is_tried(asking: Asking):
    def answered() -> bool:
        before = asking.lookups.unanswered
        value = asking.lookups.ask("a", partial(Path.read_bytes, asking.pipe), partial(operator.add, 1, 1))
        return value == 2 and asking.lookups.unanswered == before

    eventually(answered)
    eventually(answered)
    assert len(asking.lookups.warnings()) == 1


def test_what_the_other_way_does_not_know_is_not_answered(asking: Asking):
    ways = (partial(Path.read_bytes, path) for path in (asking.pipe, Path("/no such file")))
    assert asking.lookups.ask("a", *ways) is None
    assert asking.lookups.unanswered == 1


def test_late_answers_are_nobody_elses(asking: Asking):
    asking.hang("a")
    asking.hang("b")
    asking.open_pipe()
    eventually(asking.answers)
    eventually(lambda: not asking.lookups.warnings())
    eventually(asking.answers)


def test_whoever_answers_slowly_has_a_share_of_the_time(patient: Asking):
    slow = f"import time; time.sleep({MOST_FOR_ONE}); print('x')"

    def ask() -> object:
        return patient.lookups.ask("a", partial(subprocess.check_output, [sys.executable, "-c", slow]))

    assert ask() == b"x\n"
    assert ask() is None
    assert patient.lookups.unanswered == 1
    patient.now += WINDOW
    assert ask() == b"x\n"


def test_look_ups_that_hang_are_bounded(tmp_path: Path):
    asking = Asking(tmp_path, deadline=0.01)
    for number in range(THREADS):
        asking.now += WINDOW
        asking.hang(f"container {number}")
    threads = Path(f"/proc/{asking.lookups.process.pid}/task")
    assert not any(asking.answers() for _ in range(THREADS))
    assert len(list(threads.iterdir())) == THREADS
    asking.open_pipe()
    eventually(asking.answers)
    asking.lookups.close()


def test_it_goes_on_after_the_process_was_killed(asking: Asking):
    asking.hang("a")
    before = asking.lookups.process
    os.kill(before.pid, signal.SIGKILL)
    eventually(asking.answers)
    assert asking.lookups.process != before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_for_the_agent_and_its_children_do_not_end_it(asking: Asking, number: int):
    before = asking.lookups.process
    os.kill(before.pid, number)
    eventually(asking.answers)
    assert asking.lookups.process == before


def ends(pid: int) -> Callable[[], bool]:
    return lambda: not Path(f"/proc/{pid}").exists()


def test_it_ends_with_the_agent(asking: Asking):
    asking.hang("a")
    pid = asking.lookups.process.pid
    asking.lookups.close()
    assert ends(pid)()
    assert asking.read(asking.file, "b") is None  # and is not started again
    assert asking.lookups.process is None


def test_the_end_of_the_agent_does_not_wait_for_what_nothing_ends(tmp_path: Path):
    with ExitStack() as stack:
        server = file_server(tmp_path / "served", b"")
        stack.callback(server.close)
        asking = Asking(tmp_path)
        stack.callback(asking.lookups.close)
        pid = asking.lookups.process.pid
        server.fall_silent()
        assert asking.read(server.file, "a") is None
        asking.lookups.close()
        eventually(lambda: hangs(pid))
    eventually(lambda: asking.lookups._popen.poll() is not None)
