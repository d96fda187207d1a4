"""The log and the pid file."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiercel_agent import logs
from tiercel_agent.config import LogConfig
from tiercel_agent.service.pid_file import pid_file


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]):
    """What stands on standard error."""
    return lambda: capsys.readouterr().err


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
