"""Tells systemd how the service is: the protocol of sd_notify(3) over a datagram socket."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping

from tiercel_agent.logs import located

LOGGER = logging.getLogger(__name__)

_PATIENCE = 120  # seconds: loading alone may take as long on a slow machine
_AGAIN = 1.0  # seconds
_MOST_UNSENT = 16


class Notifier:
    """Sends to ``$NOTIFY_SOCKET``, and never waits. Does nothing without one, or when it is gone.

    What systemd doesn't take is sent again with the next message, or by ``alive``.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock = clock
        self._watchdog = _watchdog_interval(environment)
        self._watchdog_at = clock()
        self._asked_at = float("-inf")
        self._unsent: deque[str] = deque(maxlen=_MOST_UNSENT)

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Says that a reload begins; ``ready`` ends it. Type=notify-reload asks for the time stamp."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Keeps systemd's watchdog, if there is one, from ending the agent. To be called more often than at half the
        watchdog's interval."""
        if self._watchdog is not None and self._clock() - self._watchdog_at >= self._watchdog / 2:
            self._watchdog_at = self._clock()
            self._send("WATCHDOG=1")
        elif self._unsent:
            self._send_all()

    def busy(self) -> None:
        """Asks for more time to start or reload. To be called more often than each ``_PATIENCE`` seconds."""
        if self._clock() - self._asked_at >= _AGAIN:
            self._asked_at = self._clock()
            self._send(f"EXTEND_TIMEOUT_USEC={_PATIENCE * 1_000_000}")
        self.alive()

    def _send(self, message: str) -> None:
        if self._address:
            self._unsent.append(message)
            self._send_all()

    def _send_all(self) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.setblocking(False)
                out.connect(self._address)
                while self._unsent:
                    out.send(self._unsent[0].encode())
                    self._unsent.popleft()
        except BlockingIOError:  # systemd is busy
            return
        except OSError as error:
            LOGGER.debug("systemd was not told %s: %s", self._unsent[0].partition("\n")[0], located(error))
            self._unsent.clear()


def _watchdog_interval(environment: Mapping[str, str]) -> float | None:
    """Seconds, from ``WATCHDOG_USEC`` if it is meant for this process."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1e6
