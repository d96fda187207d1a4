"""Compiled regular expressions, which take a bounded amount of memory all together.

RE2 makes an automaton of an expression while it matches, and keeps it. An expression can be written so that each text
makes it larger, up to the memory that the expression was given. When that is used up, RE2 goes on in another way whose
time is linear too: slower for usual expressions, quicker for those, which would make new states for each character. So
each expression gets as much as usual ones need, less if there are many, and at least what its program needs. If those
of one pool have too much, some of the pool that were not used lately are dropped, and compiled again when they are
needed.

The expressions of each namespace's rules are a pool of their own, and all others together are one. So nobody's
expressions make others' be dropped.

Each is matched by itself, and not several by an RE2::Set, although that is up to a hundred times as quick for ordinary
ones: for those that grow it takes three times as long, a fifth of a second for a hundred of them and one command line,
and can't be ended in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock
from weakref import WeakValueDictionary

import re2

TOTAL = 16 << 20
"""Bytes of all expressions together that aren't of a namespace's rules, at most."""
NAMESPACES_TOTAL = 16 << 20
"""Bytes of the expressions of all namespaces' rules together, at most."""
NAMESPACE_TOTAL = 4 << 20
"""Bytes of those of one namespace, at most. If there are many namespaces with expressions, each has an equal part."""
LARGEST = 256 << 10
"""Bytes of one expression, at most: enough for 20,000 characters that stand for themselves."""
_USUAL = 64 << 10
_LEAST = 16 << 10
_LOOK_EVERY = 64 << 10  # bytes of text that are matched; 20 milliseconds at worst
_TOO_LARGE = "pattern too large"  # how RE2's error begins

Matches = Callable[[bytes], bool]
"""Whether a whole text in UTF-8 matches."""
_Fullmatch = Callable[[bytes], object]


class OutOfTime(Exception):
    """Raised by ``Regexes.look`` to end what is being evaluated."""


class PatternError(ValueError):
    """RE2 refuses the regular expression; the message is RE2's own, or says that the expression is too large."""


class _Expression:
    """``fullmatch`` is None while it isn't compiled; ``used`` is whether it has matched since that was last asked."""

    __slots__ = ("__weakref__", "fullmatch", "ignore_case", "memory", "pattern", "used")

    def __init__(self, pattern: str, *, ignore_case: bool) -> None:
        self.pattern = pattern
        self.ignore_case = ignore_case
        self.fullmatch: _Fullmatch | None = None
        self.memory = 0
        self.used = False


class Regexes:
    """A pool of expressions with a bound of ``total`` bytes. All methods, and what they return, may be called by
    several threads."""

    def __init__(self, total: int = TOTAL) -> None:
        self.memory = 0
        """Bytes that the expressions which are compiled now may take."""
        self.look: Callable[[], None] | None = None
        """Called each time that much text was matched. It may raise an error to end the matching."""
        self._unseen = 0
        self._total = total
        self._lock = Lock()
        self._compiled: deque[_Expression] = deque()
        self._known: WeakValueDictionary[tuple[str, bool], _Expression] = WeakValueDictionary()

    def matcher(self, pattern: str, *, ignore_case: bool = False) -> Matches:
        """The function that matches texts with an expression. Equal expressions are compiled once. Raises
        PatternError."""
        with self._lock:
            new = _Expression(pattern, ignore_case=ignore_case)
            expression = self._known.setdefault((pattern, ignore_case), new)
        if expression.fullmatch is None:
            self._compile(expression)

        def matches(text: bytes) -> bool:
            expression.used = True
            if self.look is not None:
                self._unseen += len(text)
                if self._unseen > _LOOK_EVERY:
                    self._unseen = 0
                    self.look()
            return (expression.fullmatch or self._compile(expression))(text) is not None

        return matches

    def resize(self, total: int) -> None:
        """Gives the pool another bound."""
        with self._lock:
            self._total = total
            self._make_room()

    def _compile(self, expression: _Expression) -> _Fullmatch:
        """Compiles an expression, and drops others for it if they take too much together."""
        least = _USUAL if self.memory < self._total // 2 else _LEAST
        fullmatch, memory = _compiled(expression.pattern, least, ignore_case=expression.ignore_case)
        with self._lock:
            if expression.fullmatch is not None:  # another thread was quicker
                return expression.fullmatch
            expression.fullmatch, expression.memory = fullmatch, memory
            self.memory += memory
            self._make_room()
            self._compiled.append(expression)
        return fullmatch

    def _make_room(self) -> None:
        spared = len(self._compiled)
        while self.memory > self._total and self._compiled:
            oldest = self._compiled.popleft()
            if oldest.used and spared:
                spared -= 1
                oldest.used = False
                self._compiled.append(oldest)
            else:
                oldest.fullmatch = None
                self.memory -= oldest.memory


class RegexPools:
    """The pools of namespaces, which share a bound of ``total`` bytes equally. A pool that nobody uses any more is
    gone."""

    def __init__(self, total: int = NAMESPACES_TOTAL, most: int = NAMESPACE_TOTAL) -> None:
        self._total = total
        self._most = most
        self._lock = Lock()
        self._pools: WeakValueDictionary[str, Regexes] = WeakValueDictionary()

    def of(self, namespace: str) -> Regexes:
        """The pool of a namespace."""
        with self._lock:
            pool = self._pools.get(namespace)
            if pool is None:
                pool = self._pools[namespace] = Regexes()
                pools = list(self._pools.values())
                for each in pools:
                    each.resize(min(self._most, self._total // len(pools)))
            return pool


REGEXES = Regexes()
"""The pool of this process: of the system's rules, and of all that isn't of a namespace's rules."""
POOLS = RegexPools()
"""The pools of namespaces in this process."""


def _compiled(pattern: str, memory: int, *, ignore_case: bool) -> tuple[_Fullmatch, int]:
    """The function, and the bytes that it may take: ``memory``, or more if its program needs them. Raises
    PatternError."""
    options = re2.Options()
    options.dot_nl = True
    options.never_capture = True
    options.log_errors = False
    options.case_sensitive = not ignore_case
    while True:
        options.max_mem = memory
        try:
            fullmatch: _Fullmatch = re2.compile(pattern.encode(), options).fullmatch
        except re2.error as error:
            text = error.args[0] if error.args else ""
            text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
            if not text.startswith(_TOO_LARGE):
                raise PatternError(text) from None
            if memory >= LARGEST:
                message = f"it needs more than {LARGEST >> 10} KiB of memory: shorten it, or repeat less in it"
                raise PatternError(message) from None
            memory *= 2
        else:
            return fullmatch, memory
        finally:
            re2.purge()  # the library would keep some expressions, whatever they take
