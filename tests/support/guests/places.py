"""Where things are kept, made once however many runs want them, and programs that are called for that."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tiercel_engine.printable import printable

CHECKOUT = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tiercel/kernels"
GIT = ("git", "-c", "safe.directory=*", "-C", str(CHECKOUT))
"""Whoever the checkout belongs to: it is only read."""
_FOLDERS = ("/usr/sbin", "/sbin")
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), *_FOLDERS])


class Unavailable(Exception):
    """This machine can't run guests, or not these ones: why, in a line."""


def tell(text: str) -> None:
    """What takes minutes the first time says so."""
    print(f"kernels: {text}", file=sys.stderr, flush=True)


def tail(text: str, lines: int) -> str:
    """The last lines, escaped."""
    return "\n".join(printable(line) for line in text.splitlines()[-lines:])


def tool(name: str) -> str:
    """Absolute path of a program of this machine."""
    if found := shutil.which(name, path=_PATH):
        return found
    raise Unavailable(f"no {name} here: run scripts/setup-kernels as root")


def run(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> str:
    """What a program of this machine prints. Raises Unavailable with its last words if it fails."""
    program, *arguments = command
    done = subprocess.run(
        [tool(str(program)), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "PATH": _PATH, "LC_ALL": "C.UTF-8", **(env or {})},
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise Unavailable(f"{Path(program).name} failed: {tail(said, 5)}")
    return done.stdout.decode(errors="replace")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else is at the path meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def made(path: Path, make: Callable[[Path], None]) -> Path:
    """The folder, which ``make`` fills if it isn't there yet: all of it or nothing, and once."""
    if path.exists():
        return path
    with locked(path):
        unfinished = path.with_name(f"{path.name}.unfinished")
        if not path.exists():
            if unfinished.exists():  # of a run that was killed
                shutil.rmtree(unfinished)
            unfinished.mkdir()
            try:
                make(unfinished)
                unfinished.rename(path)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
    return path


def make_disk(tree: Path, file: Path, free: int = 32 << 20) -> None:
    """A file system with the contents of a folder, and room for some more."""
    used = int(run(["du", "-s", "-B1", tree]).split()[0])
    with file.open("wb") as disk:
        disk.truncate((used * 5 // 4 + free + 4095) & ~4095)
    run(["mkfs.ext4", "-q", "-m", "0", "-E", "root_owner=0:0", "-d", tree, file])
