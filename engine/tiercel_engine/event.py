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

    def materialize(self) -> dict[str, Value | None]:
        """Every field that the event has, for recording it: subclasses compute what was not read yet."""
        return dict(self)

    def views(self) -> Iterator[Event]:
        """The readings under which a whole rule is evaluated, one after the other.

        A file has two names: as the caller gave it and as the kernel resolved it. An event whose
        names differ is its own first view and yields a second in which the fields that carry
        ``Field.names_file`` hold the resolved name; a rule matches if it matches under either.

        ``fd.realname``, ``fs.path.realsource`` and ``fs.path.realtarget`` are looked up among the
        fields that are there already, never computed: a subclass that computes them overrides
        this, and makes its second view by ``resolved_view`` too.
        """
        yield self
        if not self._REAL_NAMES.isdisjoint(self):
            view = resolved_view(self, *map(self.get, ("fd.realname", "fs.path.realsource", "fs.path.realtarget")))
            if view is not None:
                yield view

    _REAL_NAMES = frozenset({"fd.realname", "fs.path.realsource", "fs.path.realtarget"})


class ResolvedView(Event):
    """An event with its files under their resolved names; all else is read from the event itself."""

    __slots__ = ("event",)

    def __init__(self, event: Event, names: dict[str, Value | None]) -> None:
        super().__init__(event.source, event.time, names)
        self.event = event

    def __missing__(self, key: str) -> Value | None:
        return self.event[key]

    def materialize(self) -> dict[str, Value | None]:
        """Every field that the event has, for recording it: subclasses compute what was not read yet."""
        return dict(self)

    def views(self) -> Iterator[Event]:
        yield self


def resolved_view(
    event: Event, name: Value | None = None, source: Value | None = None, target: Value | None = None
) -> ResolvedView | None:
    """The event with its file's name, and a rename's or link's source and target, as the kernel resolved them.

    A name that is None or equal stays. Only fields with a value are replaced. None if nothing differs.
    """
    names: dict[str, Value | None] = {}
    if isinstance(name, str):
        directory, _, filename = name.rpartition("/")
        names = {"fd.name": name, "fs.path.name": name, "fd.directory": directory or "/", "fd.filename": filename}
    if isinstance(source, str):
        names["fs.path.source"] = source
    if isinstance(target, str):
        names["fs.path.target"] = target
    changed = {key: value for key, value in names.items() if event[key] not in (None, value)}
    return ResolvedView(event, changed) if changed else None
