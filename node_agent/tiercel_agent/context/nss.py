"""The host's name service (nsswitch.conf: LDAP, SSSD …), asked in the background since it may wait for a network."""

from __future__ import annotations

import grp
import logging
import pwd
import threading
import time
from collections import deque
from collections.abc import Callable

from cachetools import LRUCache

from tiercel_engine.located import located

_LOG = logging.getLogger(__name__)
_USER, _GROUP = "user", "group"
_Key = tuple[str, int]
_Answer = tuple[str, str, str] | str | None


def find_user(uid: int) -> tuple[str, str, str] | None:
    """Name, home and shell from the C library, None if it knows no such user."""
    try:
        entry = pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return None
    except OSError as error:
        _LOG.info("the name service fails for the user %d: %s", uid, located(error))
        return None
    return entry.pw_name, entry.pw_dir, entry.pw_shell


def find_group(gid: int) -> str | None:
    """A group's name from the C library, None if it knows no such group."""
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        return None
    except OSError as error:
        _LOG.info("the name service fails for the group %d: %s", gid, located(error))
        return None


class Nss:
    """Answers from the name service.

    A caller waits ``patience`` seconds at most, and not at all while an earlier question is unanswered. An answer is
    used for ``lifetime`` seconds, even if it says that there is no such account. ``limit`` is the most answers that are
    kept, and the most questions that wait.
    """

    def __init__(
        self,
        *,
        user: Callable[[int], tuple[str, str, str] | None] = find_user,
        group: Callable[[int], str | None] = find_group,
        enabled: bool = True,
        patience: float = 0.05,
        lifetime: float = 300.0,
        limit: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find: dict[str, Callable[[int], _Answer]] = {_USER: user, _GROUP: group}
        self._enabled = enabled
        self._patience = patience
        self._lifetime = lifetime
        self._limit = limit
        self._clock = clock
        self._answers: LRUCache[_Key, tuple[float, _Answer]] = LRUCache(limit)
        self._questions: deque[_Key] = deque()
        self._asking: _Key | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def user(self, uid: int) -> tuple[str, str, str] | None:
        """Name, home and shell; None if there is no such user or no answer yet."""
        answer = self._answer((_USER, uid))
        return answer if isinstance(answer, tuple) else None

    def group(self, gid: int) -> str | None:
        """The name; None if there is no such group or no answer yet."""
        answer = self._answer((_GROUP, gid))
        return answer if isinstance(answer, str) else None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _answer(self, key: _Key) -> _Answer:
        if not self._enabled or self._closed:
            return None
        with self._changed:
            known = self._answers.get(key)
            if known is not None and self._clock() - known[0] < self._lifetime:
                return known[1]
            idle = self._asking is None and not self._questions
            if key != self._asking and key not in self._questions and len(self._questions) < self._limit:
                self._questions.append(key)
                self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="name service", daemon=True)
                self._thread.start()
            if idle:
                self._changed.wait_for(lambda: self._asking is None and not self._questions, self._patience)
                known = self._answers.get(key, known)
            return known[1] if known is not None else None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._questions))
                if self._closed:
                    return
                key = self._asking = self._questions.popleft()
            answer = self._find[key[0]](key[1])
            with self._changed:
                self._asking = None
                self._answers[key] = (self._clock(), answer)
                self._changed.notify_all()
