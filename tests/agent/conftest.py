"""What several tests of the agent need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

# A process with a mount namespace and a root of its own, as a container has them; with `user`, in a user namespace too.
_CONTAINED = """
import ctypes, os, sys
root, user, join, directory = sys.argv[1:5]
libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUSER, BIND, REC, PRIVATE, DETACH = 0x20000, 0x10000000, 4096, 16384, 1 << 18, 2
def call(result):
    if result:
        sys.exit(f"cannot: {os.strerror(ctypes.get_errno())}")
if join:
    namespace = os.open(f"/proc/{join}/ns/mnt", os.O_RDONLY)
    call(libc.setns(namespace, NEWNS))
    os.chroot(directory)
    os.chdir("/")
    print("ready", flush=True)
    sys.stdin.readline()
    sys.exit()
call(libc.unshare(NEWNS | (NEWUSER if user else 0)))
if user:
    print("unshared", flush=True)
    sys.stdin.readline()
call(libc.mount(None, b"/", None, REC | PRIVATE, None))
call(libc.mount(os.fsencode(root), os.fsencode(root), None, BIND | REC, None))
os.chdir(root)
call(libc.syscall(155 if os.uname().machine == "x86_64" else 41, b".", b"."))  # pivot_root
call(libc.umount2(b".", DETACH))
os.chdir(directory)
print("ready", flush=True)
sys.stdin.readline()
"""

Contained = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def contained() -> Iterator[Contained]:
    """Start a process with a directory as its root and a mount namespace of its own.

    ``user`` is a first host id: the process then has a user namespace in which that is id 0. ``join`` is
    another contained process, in whose mount namespace this one is put, chrooted into ``directory``.
    """
    with ExitStack() as stack:

        def start(
            root: Path, *, user: int | None = None, join: int | None = None, directory: str = "/"
        ) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", _CONTAINED, str(root), str(user or ""), str(join or ""), directory]
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            stack.callback(_end, process)
            assert process.stdin is not None
            assert process.stdout is not None
            line = process.stdout.readline()
            if user is not None and line:
                for name in ("uid_map", "gid_map"):
                    Path(f"/proc/{process.pid}/{name}").write_text(f"0 {user} 65536")
                process.stdin.write("\n")
                process.stdin.flush()
                line = process.stdout.readline()
            if line != "ready\n":
                assert process.stderr is not None
                pytest.skip(f"no namespaces here: {process.stderr.read().strip()[-200:]}")
            return process

        yield start


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def mount_namespace() -> Callable[[int], int]:
    """The inode number of a process's mount namespace."""
    return lambda pid: Path(f"/proc/{pid}/ns/mnt").stat().st_ino
