"""The arguments and the environment of a process, as they lie in its memory: strings that end with NUL."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_engine.uncertain import UNKNOWN, Beginning


@dataclass(frozen=True, slots=True)
class Words:
    """``raw`` are the first bytes of all ``length``, ``count`` is how many strings they hold.

    They are kept as bytes, which take the least memory, and split when somebody asks for them.
    """

    raw: bytes
    length: int
    count: int

    @property
    def is_cut(self) -> bool:
        """Whether more than the NUL at the end is missing."""
        return len(self.raw) + 1 < self.length

    def split(self) -> list[str]:
        """The strings that are known; the last one may be only the beginning of one. Bytes that aren't UTF-8 become
        surrogate escapes."""
        if not self.raw:
            return []
        raw = self.raw if self.is_cut else self.raw.removesuffix(b"\0")
        strings = raw.decode("utf-8", "surrogateescape").split("\0")
        if self.is_cut:
            strings[-1] = Beginning(strings[-1])
        return strings

    def joined(self, begin: int = 0) -> str:
        """The strings from ``begin`` on, separated by blanks; its beginning if not all are known."""
        strings = self.split()
        text = " ".join(strings[begin:])
        if not self.is_cut:
            return text
        return Beginning(text) if len(strings) > begin else Beginning()

    def at(self, index: int) -> str | None:
        """The string of this number, None if there are fewer."""
        strings = self.split()
        if index < len(strings):
            return strings[index]
        return UNKNOWN if self.is_cut and index < self.count else None

    def value_of(self, name: str) -> str | None:
        """What stands behind ``name=``, None if no string begins with that."""
        prefix = f"{name}="
        for string in self.split():
            if string.startswith(prefix):
                value = string[len(prefix) :]
                return Beginning(value) if isinstance(string, Beginning) else value
        return UNKNOWN if self.is_cut else None

    @property
    def length_behind_first(self) -> int:
        """The length of all strings but the first together, without the NULs. Where not even the first one is known as
        a whole, what is missing of it counts too."""
        if not self.count:
            return 0
        first = len(self.raw.partition(b"\0")[0])
        return max(0, max(self.length, len(self.raw)) - first - self.count)


NO_WORDS = Words(b"", 0, 0)


def whole(raw: bytes) -> Words:
    """Of all bytes: the last NUL may be missing."""
    if not raw:
        return NO_WORDS
    return Words(raw, len(raw), raw.count(b"\0") + (not raw.endswith(b"\0")))
