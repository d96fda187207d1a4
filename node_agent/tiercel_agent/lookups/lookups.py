"""Asks for look-ups, and waits for the answers: for a bounded time in all, whatever file servers do.

A look-up concerns somebody: the container or service whose process, files or memory it reads. Whoever doesn't answer,
or answers slowly, is asked no more for a while, and not at all until the look-up has come to its end. So it costs the
answers that concern it, and hardly any time.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from cachetools import LRUCache

from tiercel_agent.kernel.bytecode.compiler import Child, start_of
from tiercel_agent.lookups.ask import T
from tiercel_agent.lookups.packets import MOST, READY, THREADS, Part, read_content, read_part, request
from tiercel_agent.warning import AgentWarning
from tiercel_engine.located import located
from tiercel_engine.resources.node_agent import WarningKind

_LOG = logging.getLogger(__name__)

DEADLINE = 0.5
"""Seconds that one answer is waited for."""
WINDOW = 10.0
"""Seconds for which the times below count."""
MOST_FOR_ONE = 0.5
"""Seconds in a window that the look-ups of one kind for one of those concerned may sleep."""
MOST_FOR_ALL = 3.0
"""Seconds in a window that all look-ups may sleep while they are waited for."""
_MOST_CONCERNED = 4096
_RESTART = 1.0  # seconds between two starts of the process
_END = 1.0  # seconds that its end is waited for


@dataclass(slots=True)
class _Patience:
    """What is left of the patience with somebody. ``open`` is the last look-up, which may be under way still."""

    most: float
    begun: float = float("-inf")
    slept: float = 0.0
    open: int = 0

    def is_left(self, now: float) -> bool:
        if now - self.begun >= WINDOW:
            self.begun, self.slept = now, 0.0
        return self.slept < self.most


class Lookups:
    """Look-ups by a process of their own, which begins with this object.

    ``modules`` are those of the functions that are asked for; ``begun`` is called with each process that is started.
    One thread calls all methods. ``clock`` is monotonic seconds.
    """

    def __init__(
        self,
        modules: Sequence[str],
        begun: Callable[[Child], None] = lambda _: None,
        *,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._modules = tuple(modules)
        self._begun = begun
        self._deadline = deadline
        self._clock = clock
        self._patience: LRUCache[tuple[str, str], _Patience] = LRUCache(_MOST_CONCERNED)
        self._of_all = _Patience(MOST_FOR_ALL)
        self._number = 0
        self._open: dict[int, tuple[str, _Patience]] = {}
        self._content = bytearray()
        self._socket: socket.socket | None = None
        self._poller = select.poll()
        self._ready = False
        self._failures: set[str] = set()
        self.process: Child | None = None
        """The process that makes the look-ups; None while there is none."""
        self.unanswered = 0
        """Look-ups without an answer, so far."""
        self._started = float("-inf")
        self._start()

    def ask(self, concerned: str, /, *look_ups: partial[T | None]) -> T | None:
        """Has the first of these calls made by the other process for which there is an answer in time; None if there is
        none for any of them. A further one may know less than the first: None is no answer of its.

        ``concerned`` is whose files or memory are read, as it is shown to people. The functions are of the modules.
        They are sent by their names, their arguments and values by pickle. It must make no difference to anybody else
        whether they are called.
        """
        for look_up in look_ups:
            content = self._answer(concerned, look_up)
            if content is not None:
                value = self._value(look_up, content)
                if value is not None or look_up is look_ups[0]:
                    return value
        self.unanswered += 1
        return None

    def wait_until_ready(self, seconds: float) -> None:
        """Waits until look-ups can be made, for ``seconds`` at most."""
        end = time.monotonic() + seconds
        while not self._ready and self._socket is not None and (left := end - time.monotonic()) > 0:
            self._poller.poll(left * 1000)
            self._take_answers()

    def warnings(self) -> list[AgentWarning]:
        """Who doesn't answer now."""
        if not self._open:
            return []
        self._take_answers()
        names = tuple(sorted({concerned for concerned, _ in self._open.values()}))
        return [AgentWarning(WarningKind.LOOKUPS_UNANSWERED, names)] if names else []

    def close(self) -> None:
        """Ends the process, unless it hangs: then it ends as soon as it doesn't. Closing twice is allowed."""
        process, self._modules = self.process, ()
        self._end()
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(_END)

    def _start(self) -> None:
        if not self._modules or self._clock() - self._started < _RESTART:
            return
        self._started = self._clock()
        own, others = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        own.setblocking(False)
        with others:
            try:
                self._popen = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                    [sys.executable, "-P", "-m", "tiercel_agent.lookups.process", str(others.fileno()), *self._modules],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,  # a process that hangs must keep none of the agent's files open
                    stderr=subprocess.DEVNULL,
                    pass_fds=(others.fileno(),),
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                _LOG.error("the process that makes look-ups can't be started: %s", located(error))
                own.close()
                return
        self.process = Child(self._popen.pid, start_of(self._popen.pid))
        self._begun(self.process)
        self._socket = own
        self._poller.register(own, select.POLLIN)

    def _end(self) -> None:
        """Gives the process up. What it was asked is without an answer then."""
        if self._socket is not None:
            self._poller.unregister(self._socket)
            self._socket.close()
        self._socket, self.process, self._ready = None, None, False
        self._open.clear()

    def _answer(self, concerned: str, look_up: partial[T | None]) -> bytearray | None:
        """The content of an answer; None if there is none in time."""
        self._take_answers()
        key = look_up.func.__qualname__, concerned
        patience = self._patience.get(key) or _Patience(MOST_FOR_ONE)
        if not self._may_ask(patience) or not self._send(request(self._number + 1, look_up)):
            return None
        number = patience.open = self._number = self._number + 1
        self._open[number] = concerned, patience
        content = self._await(number)
        if content is None:
            self._of_all.slept += self._deadline
        if content is None or patience.slept:
            self._patience[key] = patience
        return content

    def _may_ask(self, patience: _Patience) -> bool:
        """Whether there may be another look-up for somebody with whom there is so much patience."""
        now = self._clock()
        return (
            self._ready
            and len(self._open) < THREADS
            and patience.open not in self._open
            and patience.is_left(now)
            and self._of_all.is_left(now)
        )

    def _send(self, packet: bytes) -> bool:
        if self._socket is None:
            return False
        try:
            os.write(self._socket.fileno(), packet)
        except BlockingIOError:
            return False
        except OSError:
            self._end()
            return False
        return True

    def _value(self, look_up: partial[T | None], content: bytearray) -> T | None:
        value: T | None
        value, failure = read_content(content)
        if failure and failure not in self._failures:
            self._failures.add(failure)
            _LOG.error("a look-up failed (%s): %s", look_up.func.__qualname__, failure)
        return value

    def _await(self, number: int) -> bytearray | None:
        """The content of an answer; None if it doesn't come in time."""
        end = self._clock() + self._deadline
        self._content = bytearray()
        while number in self._open:
            left = end - self._clock()
            if left <= 0 or not self._poller.poll(left * 1000):
                return None
            content = self._take_answers(number)
            if content is not None:
                return content
        return None  # the process has ended

    def _take_answers(self, wanted: int = 0) -> bytearray | None:
        """Takes what has come. The content of an answer is kept only if it is the wanted one, and not late."""
        if self._socket is None:
            self._start()
        elif self._ready and not self._open:
            return None
        while self._socket is not None:
            try:
                packet = os.read(self._socket.fileno(), MOST)
            except BlockingIOError:
                break
            except OSError:
                packet = b""
            if not packet:
                _LOG.error("the process that makes look-ups has ended")
                self._end()
            elif packet == READY:
                self._ready = True
            elif (content := self._take(read_part(packet), wanted)) is not None:
                return content
        return None

    def _take(self, part: Part, wanted: int) -> bytearray | None:
        """Takes a packet; the whole content if it is the last one of the wanted answer."""
        is_wanted = part.number == wanted
        if is_wanted:
            self._content += part.content
        if part.more:
            return None
        _, patience = self._open.pop(part.number)
        patience.slept += part.slept
        if not is_wanted:
            return None
        self._of_all.slept += part.slept
        return self._content
