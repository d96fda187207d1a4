"""A thread that works in the background and that others can wake and stop."""

from __future__ import annotations

import threading
from collections.abc import Callable


class BackgroundThread:
    """Runs ``run`` in a daemon thread, which begins with ``start``. ``run`` ends soon after ``stopping`` is true.

    Methods may be called by any thread, but ``pause`` and ``rest`` by the thread itself alone.
    """

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=run, name=name, daemon=True)

    @property
    def stopping(self) -> bool:
        return self._stopped.is_set()

    def start(self) -> None:
        """Raises RuntimeError if the system has no thread."""
        self._thread.start()

    def pause(self, seconds: float) -> None:
        """Waits for so many seconds, or until the thread is woken or stopped. Having been woken before counts once."""
        if not self.stopping:
            self._woken.wait(seconds)
        if not self.stopping:
            self._woken.clear()

    def rest(self, seconds: float) -> None:
        """Waits for so many seconds, or until the thread is stopped. Being woken doesn't end it."""
        self._stopped.wait(seconds)

    def wake(self) -> None:
        """Ends the pause of the thread, or its next one."""
        self._woken.set()

    def stop(self) -> None:
        """Asks the thread to end: from now on, it doesn't pause any more."""
        self._stopped.set()
        self._woken.set()

    def join(self, timeout: float) -> None:
        """Waits for the end of the thread, for ``timeout`` seconds at most."""
        self._thread.join(timeout)
