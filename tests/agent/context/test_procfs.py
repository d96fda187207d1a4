"""Facts of real processes, read from /proc."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from agent_support.file_server import file_server
from agent_support.looking_up import at_once

from tiercel_agent.context import procfs
from tiercel_agent.context.procfs import (
    MAX_TEXT,
    Executable,
    ProcessFacts,
    parse_status,
    read_process,
    scan,
)
from tiercel_agent.context.rootfs import parse_stat
from tiercel_agent.context.words import NO_WORDS
from tiercel_agent.lookups.lookups import Lookups
from tiercel_engine.uncertain import Beginning

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
WAIT = "import sys; print(flush=True); sys.stdin.read()"


class Running:
    """A process that waits to be read, and ends with the test's block."""

    def __init__(self, *command: str, **options: Any) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)

    def __enter__(self) -> ProcessFacts:
        self.process.stdout.readline()
        facts = read_process(at_once, self.process.pid, environ=True)
        assert facts is not None
        return facts

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_this_process() -> None:
    facts = read_process(at_once, os.getpid())
    assert facts is not None
    assert (facts.pid, facts.ppid, facts.pgid, facts.sid) == (
        os.getpid(),
        os.getppid(),
        os.getpgrp(),
        os.getsid(0),
    )
    assert (facts.uids.real, facts.uids.effective, facts.uids.saved) == os.getresuid()
    assert (facts.gids.real, facts.gids.effective, facts.gids.saved) == os.getresgid()
    assert facts.comm == Path("/proc/self/comm").read_text().removesuffix("\n")
    assert facts.cwd == str(Path.cwd())
    assert facts.mount_ns == Path("/proc/self/ns/mnt").stat().st_ino
    assert facts.pid_ns == Path("/proc/self/ns/pid").stat().st_ino
    assert facts.ns_pids[-1:] == (os.getpid(),)
    assert facts.environment is None


def test_the_executable() -> None:
    facts = read_process(at_once, os.getpid())
    status = Path(sys.executable).stat()
    assert facts.exe.path == str(Path(sys.executable).resolve())
    assert not facts.exe.deleted
    assert not facts.exe.from_memfd
    assert (facts.exe.inode, facts.exe.ctime, facts.exe.mtime) == (
        status.st_ino,
        status.st_ctime_ns,
        status.st_mtime_ns,
    )


def test_arguments_and_environment(tmp_path: Path) -> None:
    arguments = ["", "two words", "line\nend", b"\xff".decode("utf-8", "surrogateescape"), ""]
    environment = {"A": "1=2", "B": "x y"}
    with Running(sys.executable, "-c", WAIT, *arguments, cwd=tmp_path, env=environment) as facts:
        assert facts.arguments.split() == [sys.executable, "-c", WAIT, *arguments]
        assert set(environment.items()) <= {tuple(line.split("=", 1)) for line in facts.environment.split()}
        assert facts.cwd == str(tmp_path)


def test_a_long_command_line_is_cut() -> None:
    with Running(sys.executable, "-c", WAIT, "x" * 100_000) as facts:
        arguments = facts.arguments
        assert len(arguments.raw) == MAX_TEXT
        assert (arguments.count, arguments.length) == (4, len(sys.executable) + len(WAIT) + 100_000 + 2 + 4)
        assert isinstance(arguments.split()[-1], Beginning)
        assert arguments.length_behind_first == len(WAIT) + 100_000 + 2


def test_a_kernel_thread_has_neither_arguments_nor_executable() -> None:
    facts = read_process(at_once, 2)
    if facts is None or facts.comm != "kthreadd":
        pytest.skip("process 2 is not kthreadd here")
    assert (facts.arguments, facts.exe) == (NO_WORDS, None)


def test_the_start_lies_between_boot_and_now() -> None:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    with Running(sys.executable, "-c", WAIT) as facts:
        own = read_process(at_once, os.getpid())
        assert own.start_ticks <= facts.start_ticks
        assert facts.start_ticks / os.sysconf("SC_CLK_TCK") >= uptime - 1


def test_a_program_of_a_file_server_that_does_not_answer(tmp_path: Path) -> None:
    """What the kernel knows by itself is known all the same."""
    server = file_server(tmp_path / "served", Path("/bin/sleep").read_bytes())
    lookups = Lookups([procfs.__name__])
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen([server.file, "1000"]))
        stack.callback(process.kill)
        stack.callback(server.close)
        stack.callback(lookups.close)
        lookups.wait_until_ready(60)
        assert read_process(lookups.ask, process.pid).exe.inode == server.file.stat().st_ino
        server.fall_silent(process.pid)
        facts = read_process(lookups.ask, process.pid)
    assert (facts.comm, facts.exe) == ("program", Executable(str(server.file), False, None, None, None))
    assert facts.arguments.split() == [str(server.file), "1000"]
    assert lookups.unanswered == 1


def test_what_lies_in_a_process_or_in_its_files_is_missing_where_nobody_answers() -> None:
    facts = read_process(lambda _concerned, *_look_ups: None, os.getpid(), environ=True)
    assert (facts.arguments, facts.environment) == (NO_WORDS, NO_WORDS)
    assert facts.exe == Executable(str(Path(sys.executable).resolve()), False, None, None, None)
    assert facts.start_ticks == read_process(at_once, os.getpid()).start_ticks


def test_a_session_leader() -> None:
    with Running(sys.executable, "-c", WAIT, start_new_session=True) as facts:
        assert facts.pid == facts.sid == facts.pgid
        assert facts.tty == 0


def test_a_deleted_executable(tmp_path: Path) -> None:
    program = tmp_path / "cat"
    program.write_bytes(Path("/bin/cat").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        inode = program.stat().st_ino
        program.unlink()
        facts = read_process(at_once, process.pid)
        process.communicate()
    assert (facts.exe.path, facts.exe.deleted, facts.exe.inode) == (str(program), True, inode)


def test_an_executable_that_only_claims_to_be_deleted(tmp_path: Path) -> None:
    program = tmp_path / "cat (deleted)"
    program.write_bytes(Path("/bin/cat").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        facts = read_process(at_once, process.pid)
        process.communicate()
    assert (facts.exe.path, facts.exe.deleted) == (str(program), False)


def test_an_executable_in_memory() -> None:
    fd = os.memfd_create("payload")
    os.write(fd, Path("/bin/cat").read_bytes())
    with subprocess.Popen([f"/proc/self/fd/{fd}"], stdin=subprocess.PIPE, pass_fds=[fd]) as process:
        facts = read_process(at_once, process.pid)
        process.communicate()
    os.close(fd)
    assert facts.exe.path == "/memfd:payload"
    assert facts.exe.from_memfd


@pytest.mark.parametrize("name", ["a) R 1 1", "((", "x\ny", "\x1b[31m", "\udcff", ")"])
def test_a_hostile_name_shifts_nothing(name: str) -> None:
    code = f"import ctypes, os; ctypes.CDLL(None).prctl(15, os.fsencode({name!r})); {WAIT}"
    with Running(sys.executable, "-c", code) as facts:
        assert facts.comm == name
        assert facts.ppid == os.getpid()


@needs_root
def test_users_and_capabilities() -> None:
    code = f"import os; os.setresgid(5, 6, 7); os.setresuid(1, 2, 3); {WAIT}"
    with Running(sys.executable, "-c", code) as facts:
        assert (facts.uids.real, facts.uids.effective, facts.uids.saved, facts.uids.filesystem) == (1, 2, 3, 2)
        assert (facts.gids.real, facts.gids.effective, facts.gids.saved, facts.gids.filesystem) == (5, 6, 7, 6)
        assert facts.capabilities.effective == 0
    own = read_process(at_once, os.getpid())
    assert own.capabilities.effective & 1


@needs_root
def test_the_user_who_logged_in() -> None:
    login = Path("/proc/self/loginuid")
    if not login.exists():
        pytest.skip("this kernel keeps no login user")
    expected = int(login.read_text())
    assert read_process(at_once, os.getpid()).loginuid == (-1 if expected == 0xFFFFFFFF else expected)


@needs_root
def test_ids_in_a_namespace_of_its_own() -> None:
    with subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", WAIT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        if not process.stdout.readline():
            pytest.skip("no PID namespaces here")
        child = next(facts for facts in scan(at_once) if facts.ppid == process.pid)
        process.kill()
    assert child.ns_pids == (child.pid, 1)
    assert child.pid_ns != read_process(at_once, os.getpid()).pid_ns


def test_scan_finds_this_process_and_its_parent() -> None:
    pids = {facts.pid for facts in scan(at_once)}
    assert {os.getpid(), os.getppid()} <= pids


def test_processes_that_are_gone() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert read_process(at_once, process.pid) is None
    assert read_process(at_once, 0) is None


def test_a_zombie_still_has_facts() -> None:
    with subprocess.Popen(["true"], stdout=subprocess.PIPE) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        facts = read_process(at_once, process.pid)
    assert facts is not None
    assert (facts.arguments, facts.exe, facts.ppid) == (NO_WORDS, None, os.getpid())


def test_texts_that_are_cut_off() -> None:
    with pytest.raises(ValueError, match="not found"):
        parse_stat(b"12 no name")
    assert parse_status(b"Uid:\t1 2\nNo colon\n\xff: x\n")["Uid"] == ["1", "2"]
