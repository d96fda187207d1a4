"""Tells systemd how the service is: the protocol of sd_notify(3) over a datagram socket."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping

_PATIENCE = 120  # seconds: loading alone may take as long on a slow machine
_AGAIN = 1.0  # seconds


class Notifier:
    """Sends to ``$NOTIFY_SOCKET``; without one, or when it is gone, does nothing."""

    def __init__(
        self, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock = clock
        self._watchdog = _watchdog_interval(environment)
        self._petted = clock()
        self._asked = float("-inf")

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """To be followed by ``ready``; the time stamp is what Type=notify-reload asks for."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Keeps the watchdog quiet, if systemd set one: sent at half its interval, so call it more often."""
        if self._watchdog is not None and self._clock() - self._petted >= self._watchdog / 2:
            self._petted = self._clock()
            self._send("WATCHDOG=1")

    def busy(self) -> None:
        """Starting or reloading takes long: to be called more often than each ``_PATIENCE`` seconds."""
        if self._clock() - self._asked >= _AGAIN:
            self._asked = self._clock()
            self._send(f"EXTEND_TIMEOUT_USEC={_PATIENCE * 1_000_000}")
        self.alive()

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.settimeout(1)
            out.connect(self._address)
            out.send(message.encode())


def _watchdog_interval(environment: Mapping[str, str]) -> float | None:
    """Seconds, from ``WATCHDOG_USEC`` if it is meant for this process."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1e6
