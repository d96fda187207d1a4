"""What a process can't do that has given up its powers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from agent_support.tenants import need_another_user

from tiercel_agent.powers import landlock
from tiercel_agent.powers.giving_up import USER

GIVE_UP = """
import ctypes, errno, os, sys
from tiercel_agent.powers.giving_up import Limits, give_up, keep_time
from tiercel_agent.powers.own_files import own_files
limits = Limits(memory=200 << 20, files=64, seconds=2)
give_up(own_files(), limits)
libc = ctypes.CDLL(None, use_errno=True)
def opened(path, flags=os.O_RDONLY):  # as a library in C does it
    descriptor = libc.open(path.encode(), flags, 0o600)
    return "opened" if descriptor >= 0 else errno.errorcode[ctypes.get_errno()]
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    need_another_user()
    other = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(  # type: ignore[call-overload]
        [sys.executable, "-I", "-c", GIVE_UP + program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        timeout=120,
        **other,
    )


def said(program: str, *arguments: str) -> list[str]:
    done = run(program, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_has_no_powers_and_gets_none() -> None:
    (line,) = said("print(libc.prctl(39, 0, 0, 0, 0), os.geteuid(), libc.setuid(0), libc.chroot(b'/usr'))")
    own = USER if os.geteuid() == 0 else os.geteuid()
    assert line == f"1 {own} -1 -1"


def test_it_has_no_files_but_its_libraries(tmp_path: Path) -> None:
    if not landlock.version():
        pytest.skip("this kernel has no Landlock")
    secret = tmp_path / "readable-by-all"
    secret.write_text("x")
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o001)
    paths = (str(secret), "/etc/passwd", "/proc/1/cmdline", "/proc/self/status", "/sys/kernel/btf/vmlinux", "/")
    assert said("for each in sys.argv[1:]: print(opened(each))", *paths) == ["EACCES"] * len(paths)
    assert said("print(opened('/tmp/tiercel-new', os.O_WRONLY | os.O_CREAT))") == ["EACCES"]
    assert said("print(opened(sys.argv[1]), opened('/dev/null'))", os.__file__) == ["opened opened"]


def test_it_starts_no_program() -> None:
    if not landlock.version():
        pytest.skip("this kernel has no Landlock")
    program = """
try:
    os.execv(sys.executable, [sys.executable, "-c", "print('started')"])
except PermissionError:
    print("refused")
"""
    assert said(program) == ["refused"]


def test_its_memory_has_an_end() -> None:
    program = """
try:
    held = [bytearray(1 << 20) for _ in range(4096)]
except MemoryError:
    held = None
    print("no memory")
"""
    assert said(program) == ["no memory"]


def test_its_files_have_an_end() -> None:
    program = """
import socket
held = []
try:
    while True:
        held.append(socket.socket())
except OSError as error:
    print(errno.errorcode[error.errno], len(held) < 64)
"""
    assert said(program) == ["EMFILE True"]


def test_a_library_that_never_returns_ends_it() -> None:
    """Python can't run another thread meanwhile, so that nothing in the process could end it."""
    done = run("keep_time(limits)\nimport re\nre.match('(a+)+$', 'a' * 64 + 'b')\n")
    assert done.returncode == -signal.SIGXCPU


def test_work_that_lets_others_work_goes_on() -> None:
    program = """
import time
keep_time(limits)
begun = time.process_time()
while time.process_time() - begun < 5.0:  # more than the limit, in pieces
    sum(range(10_000))
print("done")
"""
    assert said(program) == ["done"]
