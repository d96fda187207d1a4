"""Child processes: started so that none outlives the bench, read line by line, and what they cost by /proc."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

TICKS = os.sysconf("SC_CLK_TCK")
"""The unit of times in /proc/PID/stat, as a fraction of a second."""


_PAGE = os.sysconf("SC_PAGE_SIZE")


class BenchError(Exception):
    """The bench, or a part of it, can't go on; the message is one sentence."""


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], stdout: int | None, stderr: int | None, folder: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own: Ctrl-C goes to the bench alone, which kills the session on leaving here."""
    null = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command, stdin=null, stdout=stdout, stderr=stderr, cwd=folder, start_new_session=True, bufsize=0
        )
    except OSError as error:
        raise BenchError(f"{command[0]}: {error.strerror}") from error
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def output(command: Sequence[str | Path], folder: Path | None = None) -> str:
    """What a command, run in ``folder``, writes to standard output. Raises BenchError if it fails."""
    with running(command, subprocess.PIPE, subprocess.PIPE, folder) as process:
        out, err = process.communicate()
    if process.returncode:
        told = err.decode(errors="replace").strip() or f"exit status {process.returncode}"
        raise BenchError(f"{command[0]}: {told}")
    return out.decode(errors="replace")


class LineReader(threading.Thread):
    """The lines of a pipe, each with the time when it could be read, in ns of CLOCK_MONOTONIC."""

    def __init__(self, pipe: IO[bytes] | None, leave_out: Callable[[bytes], bool] | None = None) -> None:
        """Lines for which ``leave_out`` is true are only counted."""
        super().__init__(daemon=True)
        assert pipe is not None
        self.lines: list[tuple[int, bytes]] = []
        self.left_out = 0
        self.ended = False
        self._pipe = pipe
        self._leave_out = leave_out
        self._news = threading.Condition()
        self.start()

    def run(self) -> None:
        rest = b""
        while data := os.read(self._pipe.fileno(), 1 << 20):
            moment = time.monotonic_ns()
            *lines, rest = (rest + data).split(b"\n")
            self._take(moment, lines)
        self._pipe.close()
        if rest:  # a last line that was cut
            self._take(time.monotonic_ns(), [rest])
        with self._news:
            self.ended = True
            self._news.notify_all()

    def _take(self, moment: int, lines: Sequence[bytes]) -> None:
        kept = [line for line in lines if self._leave_out is None or not self._leave_out(line)]
        with self._news:
            self.left_out += len(lines) - len(kept)
            self.lines.extend((moment, line) for line in kept)
            self._news.notify_all()

    def wait_for(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Whether ``reached`` came true, which is asked at new lines, before the pipe's end and that many seconds."""
        with self._news:
            self._news.wait_for(lambda: self.ended or reached(), seconds)
            return reached()

    def text(self) -> str:
        return b"\n".join(line for _, line in list(self.lines)).decode(errors="replace")


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process and its descendants in seconds. Raises BenchError if the process has ended."""
    # The process's own clock counts in ns; the children it has waited for are in its stat, in ticks.
    try:
        total = time.clock_gettime(_cpu_clock(pid))
    except OSError as error:
        raise BenchError(f"there is no process {pid} any more") from error
    for member in _tree(pid):
        with contextlib.suppress(OSError):
            _, waited_user, waited_system = _stat(member)
            total += (waited_user + waited_system) / TICKS
            if member != pid:
                total += time.clock_gettime(_cpu_clock(member))
    return total


def peak_memory(pid: int) -> int:
    """The most memory, in bytes, that the process or one of its descendants has had at any time."""
    peaks = [0]
    for member in _tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{member}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peaks.append(int(line.split()[1]) * 1024)
    return max(peaks)


def memory(pid: int) -> int:
    """The memory, in bytes, that the process and its descendants have now, all together."""
    total = 0
    for member in _tree(pid):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{member}/statm").read_text().split()[1]) * _PAGE
    return total


def _cpu_clock(pid: int) -> int:
    """The id of a process's CPU clock (clock_getcpuclockid(3), which Python has no function for)."""
    return ~pid << 3 | 2


def _stat(pid: int) -> tuple[int, int, int]:
    """Parent, and ticks of user and system time of the children that were waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return int(fields[1]), int(fields[13]), int(fields[14])


def _tree(pid: int) -> list[int]:
    """The process and its descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = _stat(int(entry.name))[0]
    tree = [pid]
    for member in tree:  # grows while it is walked
        tree.extend(child for child, parent in parents.items() if parent == member)
    return tree
