"""The log and the pid file."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tiercel_agent import logs
from tiercel_agent.config import LogConfig
from tiercel_agent.log_queue import LONGEST, MOST_WAITING
from tiercel_agent.service.pid_file import pid_file


@pytest.fixture
def written(capfd: pytest.CaptureFixture[str]):
    """What stands on standard error, once all that was logged is written."""

    def read() -> str:
        flush()
        return capfd.readouterr().err

    return read


def flush() -> None:
    for handler in logs.LOGGER.handlers:
        handler.flush()


def test_the_journal_gets_levels_and_no_time(written):
    logs.set_up(LogConfig("info"), {"JOURNAL_STREAM": "8:123"})
    logs.LOGGER.warning("careful")
    logs.LOGGER.error("bad")
    logs.LOGGER.debug("unseen")
    assert written() == "<4>careful\n<3>bad\n"


def test_hostile_text_stays_on_its_line(written):
    logs.set_up(LogConfig("info"), {"JOURNAL_STREAM": "8:123"})
    logs.LOGGER.info("name: %s", "a\n<0>forged\x1b[2J\udcff")
    assert written() == "<6>name: a\\n<0>forged\\x1b[2J\ufffd\n"


def test_modules_write_to_their_own_loggers(written):
    logs.set_up(LogConfig("info"), {"JOURNAL_STREAM": "8:123"})
    for name in ("tiercel_agent.evaluation.loop", "tiercel_engine.telemetry", "tiercel_cli.agent", "tiercel.operator"):
        logging.getLogger(name).warning("from %s", name)
    assert written() == (
        "<4>from tiercel_agent.evaluation.loop\n<4>from tiercel_engine.telemetry\n"
        "<4>from tiercel_cli.agent\n<4>from tiercel.operator\n"
    )


def test_warnings_go_to_a_function_as_safe_lines(written):
    lines: list[str] = []
    logs.send_warnings_to(lines.append)
    logging.getLogger("tiercel_agent.delivery").info("unseen")
    logging.getLogger("tiercel_agent.delivery").warning("name: %s", "a\nb\x1b[2J")
    flush()
    assert (lines, written()) == (["name: a\\nb\\x1b[2J"], "")


def test_what_libraries_log_is_not_on_standard_error():
    program = "import logging; from tiercel_agent import logs; from tiercel_agent.config import LogConfig\n"
    program += "logs.set_up(LogConfig('info')); logging.getLogger('of.a.library').error('\\x1b[31m https://secret')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_on_a_terminal_lines_carry_time_and_level(written):
    logs.set_up(LogConfig("debug"), {})
    logs.LOGGER.debug("detail")
    assert written().endswith(" DEBUG detail\n")


def test_an_unreachable_syslog_is_said_and_the_log_is_kept(written, monkeypatch: pytest.MonkeyPatch):
    def unreachable(*args: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(logging.handlers, "SysLogHandler", unreachable)
    monkeypatch.setattr(unreachable, "LOG_DAEMON", 3, raising=False)
    logs.set_up(LogConfig("info", ("syslog",)), {"JOURNAL_STREAM": "1:1"})
    logs.LOGGER.info("still here")
    assert written() == ("<4>syslog can't be reached at /dev/log: No such file or directory\n<6>still here\n")


def test_whoever_logs_does_not_wait_for_whoever_reads():
    """A pipe holds 64 KiB: a program that waited for its reader would not end."""
    program = "import logging; from tiercel_agent import logs; from tiercel_agent.config import LogConfig\n"
    program += "logs.set_up(LogConfig('info'))\nfor n in range(5000): logs.LOGGER.info('%d %s', n, 'x' * 100)\n"
    program += "print('went on', flush=True)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"went on\n"
        assert process.wait(60) == 0, "nor does its end wait longer than some seconds"


def test_lines_that_nobody_takes_in_time_are_counted():
    taken: list[str] = []
    free = threading.Event()

    def take(line: str) -> None:
        free.wait()
        taken.append(line)

    logs.send_warnings_to(take)
    for number in range(MOST_WAITING + 101):
        logs.LOGGER.warning("%d", number)
    free.set()
    flush()
    logs.LOGGER.warning("the next")
    flush()
    written = int(taken[-3]) + 1
    left_out = (
        f"{MOST_WAITING + 101 - written} lines of the log were left out here: those before were not taken in time"
    )
    assert taken == [*map(str, range(written)), left_out, "the next"]
    assert written >= MOST_WAITING


def test_a_line_has_a_longest_length():
    taken: list[str] = []
    logs.send_warnings_to(taken.append)
    logs.LOGGER.warning("%s", "x" * 10 * LONGEST)
    flush()
    assert [len(line) for line in taken] == [LONGEST]


def test_the_pid_file_is_there_while_it_is_held(tmp_path: Path):
    path = tmp_path / "tiercel.pid"
    with pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_pid_file_left_behind_is_taken_over(tmp_path: Path):
    path = tmp_path / "tiercel.pid"
    path.write_text("1\nold and longer than a pid\n")
    with pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_second_agent_is_refused_and_the_first_ones_file_stays(tmp_path: Path):
    path = tmp_path / "tiercel.pid"
    second = (
        "import sys; from pathlib import Path; from tiercel_agent.service.pid_file import *\n"
        "try:\n"
        "    with pid_file(Path(sys.argv[1])): print('both run')\n"
        "except AlreadyRunning as error: print(error)\n"
    )
    with pid_file(path):
        result = subprocess.run([sys.executable, "-c", second, path], capture_output=True, text=True, check=True)
        assert result.stdout == f"process {os.getpid()} holds the pid file {path}: stop it first\n"
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_link_in_the_pid_files_place_is_not_followed(tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "tiercel.pid").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"), pid_file(tmp_path / "tiercel.pid"):
        pass
    assert victim.read_text() == "precious"
