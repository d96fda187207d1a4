"""The agent's end: opens tenants' sinks in their own process, which is there while there is any of them.

A sink's worker waits for each batch until the process says what became of it. When the process ends, what it was given
is still at the head of the queue and is offered again; a new process is started for the next attempt. Whoever makes it
end gets the growing pauses of a sink that fails, like any other.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence

from tiercel_agent.delivery.tenants.child import Ended, TenantProcess
from tiercel_agent.delivery.tenants.messages import (
    LONGEST_ANSWER,
    Answer,
    Failed,
    Failing,
    Opened,
    Opening,
    alerts_message,
    opening_message,
    read_answer,
    receive,
    send,
)
from tiercel_agent.powers.giving_up import Limits
from tiercel_agent.sinks.factory import kind_of, open_sink
from tiercel_agent.sinks.model import BadSink, Place, Refused, Sink, SinkSettings, Unavailable
from tiercel_agent.sinks.network.deadline import LONGEST
from tiercel_agent.sinks.network.egress_policy import EgressPolicy
from tiercel_engine.alert import Alert

LOGGER = logging.getLogger(__name__)

MOST = 400
"""Sinks that are open at once: each takes about half a megabyte of what the process may have."""
_RESTART = 1.0  # seconds between two starts
_OPENS = 60.0  # seconds until a sink is open: libraries are read meanwhile
_GRACE = 30.0  # seconds that a delivery is waited for beyond its own time


class TenantSinks:
    """Opens sinks: an admin's in this process, tenants' in the other one. Workers call it from their threads.

    ``policy`` gives what tenants' sinks may connect to at present; ``longest`` is the most seconds of a delivery,
    and ``most`` how many sinks of tenants may be open at once.
    """

    def __init__(
        self,
        place: Place,
        policy: Callable[[], EgressPolicy],
        *,
        longest: float = LONGEST,
        grace: float = _GRACE,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        most: int = MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._policy = policy
        self._longest = longest
        self._grace = grace
        self._limits = limits
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._process: TenantProcess | None = None
        self._started = float("-inf")
        self._open: set[_TenantSink] = set()

    @property
    def pid(self) -> int | None:
        """The number of the process; None while there is none."""
        process = self._process
        return process.pid if process is not None and process.is_running else None

    def open(self, settings: SinkSettings) -> Sink:
        """Raises BadSink, OSError, and Unavailable while the process can't be had."""
        # Events go to the API server as the agent itself, on the tenant's pods.
        if settings.trusted or kind_of(settings) == "events":
            return open_sink(settings, self._place, self._longest)
        sink = _TenantSink(self, Opening(settings, self._place, self._longest), self._longest + self._grace)
        with self._lock:
            if len(self._open) >= self._most:
                raise Unavailable(f"{self._most} sinks of tenants are open on this node, which is the most")
            self._open.add(sink)
        try:
            opened = sink.connect()
        except BaseException:
            sink.close()
            raise
        return Sink(send=sink.send, batch=opened.batch, wait=opened.wait, close=sink.close)

    def process(self) -> TenantProcess:
        """The process, held to the present policy. It is started if there is none. Raises Unavailable."""
        try:
            with self._lock:
                if self._process is None or not self._process.is_running:
                    self._start()
                process = self._process
            assert process is not None
            process.hold_to(self._policy())
        except Ended as error:
            LOGGER.error("%s", error)
            raise Unavailable(str(error)) from None
        return process

    def closed(self, sink: _TenantSink) -> None:
        """The last one that is closed ends the process."""
        with self._lock:
            self._open.discard(sink)
            is_last = not self._open
            if is_last:
                self._started = float("-inf")
        if is_last:
            self.end()

    def end(self) -> None:
        """Ends the process. What is being sent fails."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.end()

    def _start(self) -> None:
        wait = self._started + _RESTART - self._clock()
        if wait > 0:
            raise Unavailable("the process of tenants' sinks is about to be started again", retry_after=wait)
        self._started = self._clock()
        self._process = TenantProcess(self._limits)


class _TenantSink:
    """A sink in the other process. The thread of its worker calls all methods."""

    def __init__(self, tenants: TenantSinks, opening: Opening, patience: float) -> None:
        self._tenants = tenants
        self._opening = opening
        self._patience = patience
        self._process: TenantProcess | None = None
        self._connection: socket.socket | None = None

    def connect(self) -> Opened:
        """Opens it there. Raises BadSink, Unavailable."""
        process = self._tenants.process()
        try:
            connection = process.connection()
        except Ended as error:
            raise Unavailable(str(error)) from None
        connection.settimeout(_OPENS)
        self._process, self._connection = process, connection
        answer = self._asked(process, connection, opening_message(self._opening))
        connection.settimeout(self._patience)
        if isinstance(answer, Opened):
            return answer
        self._let_go()
        if isinstance(answer, Failed):
            raise BadSink(answer.message) if answer.kind is Failing.BAD else Unavailable(answer.message)
        raise Unavailable("the process of tenants' sinks says something else than it was asked")

    def send(self, alerts: Sequence[Alert]) -> None:
        """Raises Unavailable, Refused."""
        message = alerts_message(alerts)
        process = self._tenants.process()
        if self._connection is None or process is not self._process:
            self._let_go()
            try:
                self.connect()
            except BadSink as error:
                raise Unavailable(str(error)) from None
        assert self._connection is not None
        answer = self._asked(process, self._connection, message)
        if isinstance(answer, Failed):
            if answer.kind is Failing.REFUSED:
                raise Refused(answer.message)
            raise Unavailable(answer.message, answer.retry_after)

    def close(self) -> None:
        self._let_go()
        self._tenants.closed(self)

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _asked(self, process: TenantProcess, connection: socket.socket, message: Sequence[bytes]) -> Answer:
        try:
            send(connection, message)
            return read_answer(receive(connection, LONGEST_ANSWER))
        except (TimeoutError, ValueError):  # it hangs, or is no more what was started
            process.kill()
        except (OSError, EOFError):
            pass
        self._let_go()
        how = process.how_it_ended()
        LOGGER.error("%s", how)
        raise Unavailable(how)
