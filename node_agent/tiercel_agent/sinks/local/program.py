"""Alerts to a program's standard input, one a line."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from tiercel_agent.sinks.model import BadSink, Sink, Unavailable
from tiercel_agent.sinks.text import one_line
from tiercel_engine.alert import Alert
from tiercel_engine.resources.destinations import ProgramSink

PATIENCE = 15.0
"""Seconds in which a program must have read an alert."""

_HANDED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
"""What the program gets of the agent's environment, which may hold secrets."""

_LOOK_AFTER = 10.0  # seconds between two looks whether it has ended
_END_BY_ITSELF, _END_WHEN_ASKED, _END_WHEN_KILLED = 2.0, 1.0, 1.0  # seconds
_ONE_PAGE = 4096


def open_program(sink: ProgramSink, line: Callable[[Alert], bytes], patience: float = PATIENCE) -> Sink:
    """``line`` gives an alert's form, which is written as one line. Raises BadSink.

    The program is started at the first alert, and at the next one after it has ended. An alert counts as delivered
    when the program has read it; its output goes nowhere.
    """
    if not sink.command or not Path(sink.command[0]).is_absolute():
        raise BadSink("the program needs an absolute path: /usr/local/bin/mine")
    if any("\0" in argument for argument in sink.command):
        raise BadSink("the program's path and arguments can't hold the character NUL")
    feeder = Feeder(sink.command, patience)

    def send(alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            feeder.write(one_line(line(alert)) + b"\n")

    # One at a time: of several, nobody would know which the program has read.
    return Sink(send=send, tick=feeder.look_after, close=feeder.close, batch=1)


class Feeder:
    """Runs a program, in a session of its own, and writes to it. It needn't run yet, and may have ended."""

    def __init__(self, command: Sequence[str], patience: float) -> None:
        self._command = command
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, data: bytes) -> None:
        """Returns when the program has read it. Raises Unavailable; after that, the next write starts it anew."""
        if self._process is None:
            self._process = self._start()
        process = self._process
        if process.poll() is not None:
            raise self._ended(process)
        try:
            _feed(_stdin(process).fileno(), data, self._patience)
        except BrokenPipeError:
            raise self._ended(process) from None
        except TimeoutError:
            # The program may have read half of the line, which must not become a part of another one.
            self._let_go(process, by_itself=0.0, when_asked=0.0)
            raise Unavailable(f"the program read nothing for {self._patience:g} seconds and was killed") from None

    def look_after(self) -> float | None:
        """Waits for the program if it has ended, so that no zombie stays. Seconds until the next call."""
        return _LOOK_AFTER if self._process is not None and self._process.poll() is None else None

    def close(self) -> None:
        """Waits until the program has ended at the end of its input; if it doesn't, it is made to."""
        if self._process is not None:
            self._let_go(self._process, by_itself=_END_BY_ITSELF, when_asked=_END_WHEN_ASKED)

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(  # noqa: S603 - the node's admin has chosen it
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env=_environment(os.environ),
                start_new_session=True,  # Ctrl-C is for the agent, which has alerts for the program even then
            )
        except OSError as error:
            raise Unavailable(f"the program can't be started: {error.strerror or 'unknown'}") from error
        descriptor = _stdin(process).fileno()
        os.set_blocking(descriptor, False)
        # A pipe of one page can be written to again only when all was read (pipe(7)): that is how it is known.
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _ONE_PAGE)
        return process

    def _ended(self, process: subprocess.Popen[bytes]) -> Unavailable:
        """It has ended, or has closed its input, which is the end of it too."""
        by_itself = self._let_go(process, by_itself=_END_BY_ITSELF, when_asked=_END_WHEN_ASKED)
        if not by_itself:
            return Unavailable("the program closed its standard input")
        if process.returncode < 0:
            return Unavailable(f"the program was ended by signal {-process.returncode}")
        return Unavailable(f"the program ended with status {process.returncode}")

    def _let_go(self, process: subprocess.Popen[bytes], *, by_itself: float, when_asked: float) -> bool:
        """Ends it, within so many seconds before harder means. Whether none was needed."""
        self._process = None
        with contextlib.suppress(OSError):
            _stdin(process).close()
        if _waited(process, by_itself):
            return True
        _signal_all(process, signal.SIGTERM)
        if not _waited(process, when_asked):
            _signal_all(process, signal.SIGKILL)
            _waited(process, _END_WHEN_KILLED)
        return False


def _environment(agents: Mapping[str, str]) -> dict[str, str]:
    return {name: agents[name] for name in _HANDED_ON if name in agents}


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


def _feed(descriptor: int, data: bytes, patience: float) -> None:
    """Raises BrokenPipeError if nobody reads, TimeoutError if nothing is read for ``patience`` seconds."""
    rest = memoryview(data)
    while rest:
        with contextlib.suppress(BlockingIOError):
            rest = rest[os.write(descriptor, rest) :]
        wait_until_read(descriptor, patience)


def wait_until_read(descriptor: int, patience: float) -> None:
    """Waits for a pipe of one page to be empty. Raises as ``_feed`` does; a reader that has gone may have read all."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    events = poll.poll(patience * 1000)
    if not events:
        raise TimeoutError
    if events[0][1] & select.POLLERR and _unread(descriptor):
        raise BrokenPipeError


def _unread(descriptor: int) -> int:
    """Bytes in a pipe."""
    count = fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4))
    return int.from_bytes(count, sys.byteorder)


def _waited(process: subprocess.Popen[bytes], seconds: float) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return True
    return False


def _signal_all(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To it and what it has started; it hasn't been waited for, so that its number is nobody else's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
