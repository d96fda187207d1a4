"""A restart loads the programs that were compiled before. It needs no compiler, and loads only what the agent
compiled."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from live_support.deprived import mount_disk

from tiercel_agent.kernel.bytecode import compiler
from tiercel_agent.kernel.bytecode.compiler import Child, CompileError, compile_programs

NO_BCC = "Error: bcc can't be used ("


@pytest.fixture
def state_of_detect(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def restarted(detect, tmp_path: Path):
    """Runs the tool where there is no bcc. Returns what it printed, without the summary, and its exit status."""
    (tmp_path / "none").mkdir()
    (tmp_path / "none/bcc.py").touch()  # a module of that name comes first that is something else

    def run() -> tuple[str, int]:
        result = detect(lambda: None, {"PYTHONPATH": str(tmp_path / "none")})
        return result.stderr.partition("Alerts: ")[0], result.returncode

    return run


@pytest.fixture
def kept(detect, tmp_path: Path) -> Path:
    """The file that a first start has written."""
    first = detect(lambda: None)
    assert first.returncode == 0, first.stderr
    (file,) = (tmp_path / "state/programs").iterdir()
    return file


WATCHING = "watching: 1 rules, 1 system calls, 0 warnings\n"


def test_a_restart_needs_no_compiler(kept, restarted):
    assert restarted() == (WATCHING, 0)
    kept.unlink()
    said, status = restarted()
    assert said.startswith(NO_BCC)
    assert status == 3


def test_what_was_tampered_with_is_compiled_anew(kept, restarted, detect):
    kept.write_bytes(kept.read_bytes()[:-1])
    told = f"Warning: compiled programs in {kept.parent} are passed over, and compiled anew: "
    told += "the file is cut short or was changed\n"
    said, status = restarted()
    assert said.startswith(told + NO_BCC)
    assert status == 3, "nothing of the file was loaded"
    assert detect(lambda: None).stderr.startswith(told + WATCHING)
    assert restarted() == (WATCHING, 0)


def test_a_folder_that_cannot_be_written_costs_the_next_start_a_compile_and_nothing_else(detect, tmp_path: Path):
    (tmp_path / "state").write_text("no folder")
    result = detect(lambda: None)
    state = tmp_path / "state"
    said = f"Warning: compiled programs are not kept in {state}/programs: {state} is no folder, or a link\n"
    assert said + WATCHING in result.stderr
    assert result.returncode == 0


@pytest.mark.parametrize(("read_only", "reason"), [(False, "No space left on device"), (True, "Read-only file system")])
def test_a_disk_that_takes_nothing_is_told_once(detect, tmp_path: Path, read_only: bool, reason: str):
    state = tmp_path / "state"
    result = detect(lambda: mount_disk(state, "size=4k,mode=755", read_only=read_only))
    said = f"Warning: compiled programs can't be kept in {state}/programs: {reason} (OSError at "
    warning, _, rest = result.stderr.partition("\n")
    assert warning.startswith(said)
    assert rest.startswith(WATCHING)
    assert result.returncode == 0


def test_a_compiler_that_takes_too_long_is_given_up():
    begun: list[Child] = []
    with pytest.raises(CompileError, match="no result within 0 seconds"):
        compile_programs({}, 0, begun=begun.append)
    assert not Path(f"/proc/{begun[0].pid}").exists()


def test_the_compiler_ends_with_who_waits_for_it(tmp_path: Path):
    """The agent is killed, and the compiler hangs."""
    (tmp_path / "bcc.py").write_text(
        f"import pathlib, time\npathlib.Path({str(tmp_path)!r}, 'hangs').touch()\ntime.sleep(1000000)\n"
    )
    program = (
        "from tiercel_agent.kernel.bytecode.compiler import compile_programs\n"
        "compile_programs({}, begun=lambda child: print(child.pid, flush=True))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        child = os.pidfd_open(int(agent.stdout.readline()))
        while not (tmp_path / "hangs").exists():
            os.sched_yield()
        agent.kill()
    with select.epoll() as ended:
        ended.register(child, select.EPOLLIN)
        assert ended.poll(60)
    os.close(child)


def test_whoever_waits_for_the_compiler_can_say_so_meanwhile(monkeypatch):
    monkeypatch.setattr(compiler, "_POLL_INTERVAL", 0.001)
    calls: list[int] = []
    with pytest.raises(CompileError):  # without macros nothing compiles
        compile_programs({}, meanwhile=lambda: calls.append(1))
    assert calls
