"""Texts that are known only in part, as values of an event's fields.

What a program chooses may be longer than what the kernel reports, and what a process executes may not be known any
more. Such a text must not pass for another, shorter one: a comparison that the missing part decides is undecided, and
a rule matches as soon as it may match (``evaluation.uncertainty``).
"""

from __future__ import annotations


class Uncertain(str):
    """A text of which something is missing, it isn't said where. As a string it is what is known, to be shown."""

    __slots__ = ()


class Beginning(Uncertain):
    """The beginning of a text. Any number of further characters follow, or none."""

    __slots__ = ()


class Ending(Uncertain):
    """The end of a text. Any number of further characters stand before it, or none."""

    __slots__ = ()


class Unknown(Uncertain):
    """Nothing is known of the text, not even whether there is one."""

    __slots__ = ()


UNKNOWN = Unknown()


KINDS: dict[str, type[Uncertain]] = {
    "beginning": Beginning,
    "ending": Ending,
    "part": Uncertain,
    "nothing": Unknown,
}
"""What is known of a text, by the words that recordings have for it."""


def is_uncertain(value: object) -> bool:
    """Whether a field's value, or a member of it, is known only in part."""
    if isinstance(value, list):
        return any(isinstance(member, Uncertain) for member in value)
    return isinstance(value, Uncertain)


def like(text: str, whole: str) -> str:
    """A text that was made of ``whole`` character by character: it lacks what that lacks."""
    return type(whole)(text) if isinstance(whole, Uncertain) else text


def prefixed(prefix: str, text: str) -> str:
    """A text with something in front of it."""
    if isinstance(text, Unknown):
        return text
    return Uncertain(prefix + text) if isinstance(text, Ending) else like(prefix + text, text)


def directory_of(path: str) -> str:
    """What stands before the last slash of a path, ``/`` for the root."""
    if isinstance(path, Unknown):
        return path
    directory, slash, _ = path.rpartition("/")
    if not slash and isinstance(path, Uncertain):
        return UNKNOWN
    if isinstance(path, Ending):
        return Ending(directory)
    return like(directory or "/", path)


def last_component(path: str) -> str:
    """What stands behind the last slash of a path."""
    if isinstance(path, Ending) and "/" in path:
        return path.rpartition("/")[2]
    return UNKNOWN if isinstance(path, Uncertain) else path.rpartition("/")[2]
