"""The process of tenants' sinks as the agent has it: it is started, asked, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import astuple

from tiercel_agent.delivery.tenants.messages import (
    LONGEST_ANSWER,
    Done,
    policy_message,
    read_answer,
    receive,
    send,
)
from tiercel_agent.powers.giving_up import USER, Limits
from tiercel_agent.sinks.network.egress_policy import EgressPolicy
from tiercel_engine.located import located

_START = 60.0  # seconds until it is ready, on a busy machine
_ANSWERS = 20.0  # seconds until its main thread answers
_END = 1.0  # seconds that its end is waited for
_KEPT = ("LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")  # no proxy, and nothing of the cluster
_KILL = "import os, sys; os.kill(int(sys.argv[1]), 9)"


class Ended(Exception):
    """The process has ended, or has had to be. The message says how."""


class TenantProcess:
    """One process. Any thread may call all methods."""

    def __init__(self, limits: Limits) -> None:
        """Raises Ended if it doesn't begin to work."""
        self._lock = threading.Lock()
        self._policy: EgressPolicy | None = None
        # Whoever isn't root has no powers that another user would have to be without.
        self._as_user = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
        self._control, other = socket.socketpair()
        with other:
            try:
                self._popen = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603
                    [
                        *(sys.executable, "-I", "-m", "tiercel_agent.delivery.tenants.process", str(other.fileno())),
                        *map(str, astuple(limits)),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # what libraries write is a tenant's to choose
                    pass_fds=(other.fileno(),),
                    cwd="/",
                    env={name: os.environ[name] for name in _KEPT if name in os.environ},
                    start_new_session=True,
                    **self._as_user,
                )
            except (OSError, subprocess.SubprocessError) as error:
                self._control.close()
                lacks = " (CAP_SETUID or CAP_SETGID lacks)" if isinstance(error, PermissionError) else ""
                raise Ended(f"the process of tenants' sinks can't be started{lacks}: {located(error)}") from None
        self._control.settimeout(_START)
        self._acknowledged()
        self._control.settimeout(_ANSWERS)

    @property
    def pid(self) -> int:
        return int(self._popen.pid)

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    def hold_to(self, policy: EgressPolicy) -> None:
        """Returns when it is held to this policy. Raises Ended."""
        with self._lock:
            if policy is not self._policy:
                self._tell(b"p", policy_message(policy))
                self._policy = policy

    def connection(self) -> socket.socket:
        """A new connection to it, for one sink. Raises Ended."""
        own, other = socket.socketpair()
        try:
            with self._lock, other:
                self._tell(b"s", None, other.fileno())
        except BaseException:
            own.close()
            raise
        return own

    def end(self) -> None:
        """Ends it, whatever it does."""
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END)
            return
        self.kill()

    def kill(self) -> None:
        try:
            self._popen.kill()
        except PermissionError:  # root without CAP_KILL ends no process of another user's: that user does
            subprocess.run(  # type: ignore[call-overload]  # noqa: S603
                [sys.executable, "-I", "-S", "-c", _KILL, str(self.pid)], check=False, cwd="/", env={}, **self._as_user
            )
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END)

    def how_it_ended(self) -> str:
        """In words, if it has ended or does so at once."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._popen.wait(_END)
            how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            return f"the process of tenants' sinks has ended ({how})"
        return "the process of tenants' sinks doesn't answer"

    def _tell(self, kind: bytes, parts: list[bytes] | None, *descriptors: int) -> None:
        """Sends one thing and waits until it has been taken. Raises Ended. The caller holds the lock."""
        try:
            socket.send_fds(self._control, [kind], descriptors)
            if parts is not None:
                send(self._control, parts)
        except OSError:
            self._gone()
        self._acknowledged()

    def _acknowledged(self) -> None:
        try:
            if read_answer(receive(self._control, LONGEST_ANSWER)) == Done():
                return
        except (OSError, EOFError, ValueError):
            pass
        self._gone()

    def _gone(self) -> None:
        how = self.how_it_ended()
        self.kill()
        raise Ended(how) from None
