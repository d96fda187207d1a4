"""The event: what a rule is evaluated against."""

from __future__ import annotations

from collections.abc import Iterator

# Text that is not valid UTF-8 keeps its bytes as surrogate escapes (PEP 383) until it is printed.
# ANY and LIST fields (see fields.model.Multiplicity) hold a list of the scalar kinds.
Scalar = str | int | float | bool | bytes
Value = Scalar | list[str] | list[int]


class Event(dict[str, Value | None]):
    """The fields of one event, by key: ``"fd.name"``, or with an argument ``"proc.aname[2]"``.

    A field without a value is absent or None; reading an absent one by ``event[key]`` gives None,
    so that generated code needs no ``get``. Subclasses may compute values on first reading
    (``__missing__``) and store them.
    """

    __slots__ = ("source", "time")

    def __init__(self, source: str, time: int, fields: dict[str, Value | None] | None = None) -> None:
        super().__init__(fields or {})
        self.source = source
        """``syscall`` or another event source."""
        self.time = time
        """Nanoseconds since the epoch."""

    def __missing__(self, key: str) -> Value | None:
        return None

    def views(self) -> Iterator[Event]:
        """The readings under which a whole rule is evaluated, one after the other.

        A file has two names: as the caller gave it and as the kernel resolved it. An event whose
        names differ is its own first view and yields a second in which the fields that carry
        ``Field.names_file`` hold the resolved name; a rule matches if it matches under either.
        """
        yield self
