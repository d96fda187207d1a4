"""The event: what a rule is evaluated against."""

from __future__ import annotations

from collections.abc import Iterable

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
        if fields:
            self.update(fields)
        self.source = source
        """``syscall`` or another event source."""
        self.time = time
        """Nanoseconds since the epoch."""

    def __missing__(self, key: str) -> Value | None:
        return None

    def materialize(self) -> dict[str, Value | None]:
        """Every field that the event has, for recording it: subclasses compute what was not read yet."""
        return dict(self)

    def views(self) -> Iterable[Event]:
        """The readings under which a whole rule is evaluated, one after the other.

        A file has two names: as the caller gave it and as the kernel resolved it. An event whose
        names differ is its own first view and yields a second in which the fields that carry
        ``Field.names_file`` hold the resolved name; a rule matches if it matches under either.

        ``fd.realname``, ``fs.path.realname``, ``…realsource`` and ``…realtarget`` are looked up among the
        fields that are there already, never computed: a subclass that computes them overrides
        this, and makes its second view by ``resolved_view`` too.
        """
        # Written out, since this is asked of every event.
        if (
            "fd.realname" not in self
            and "fs.path.realname" not in self
            and "fs.path.realsource" not in self
            and "fs.path.realtarget" not in self
        ):
            return (self,)
        view = resolved_view(
            self,
            self["fd.realname"],
            self["fs.path.realname"],
            self["fs.path.realsource"],
            self["fs.path.realtarget"],
        )
        return (self,) if view is None else (self, view)


_PATH_FIELDS = ("fs.path.name", "evt.abspath", *(f"evt.arg.{name}" for name in ("name", "path", "filename", "dir")))
_SOURCE_FIELDS = ("fs.path.source", "evt.abspath.src", "evt.arg.oldpath")
_TARGET_FIELDS = ("fs.path.target", "evt.abspath.dst", "evt.arg.newpath", "evt.arg.linkpath")


class ResolvedView(Event):
    """An event with its files under their resolved names; all else is read from the event itself."""

    __slots__ = ("event",)

    def __init__(self, event: Event, names: dict[str, Value | None]) -> None:
        super().__init__(event.source, event.time, names)
        self.event = event

    def __missing__(self, key: str) -> Value | None:
        return self.event[key]

    def views(self) -> Iterable[Event]:
        return (self,)


def resolved_view(
    event: Event,
    fd_name: Value | None = None,
    path: Value | None = None,
    source: Value | None = None,
    target: Value | None = None,
) -> ResolvedView | None:
    """The event with the names that the kernel resolved: its descriptor's, the path's that it acts on, and
    where a rename or link starts from and leads to.

    A name that is None or equal stays. Of ``fd_name`` and ``path`` one stands in for the other.
    Only fields with a value are replaced. None if nothing differs.
    """
    names: dict[str, Value | None] = {
        **dict.fromkeys(_PATH_FIELDS, path or fd_name),
        **dict.fromkeys(_SOURCE_FIELDS, source),
        **dict.fromkeys(_TARGET_FIELDS, target),
    }
    if isinstance(name := fd_name or path, str):
        directory, _, names["fd.filename"] = name.rpartition("/")
        names["fd.name"] = name
        names["fd.directory"] = directory or "/"
        container = str(event["container.id"])
        names["fd.containername"] = f"{container}:{name}"
        names["fd.containerdirectory"] = f"{container}:{directory or '/'}"
    changed: dict[str, Value | None] = {
        key: value for key, value in names.items() if value is not None and event[key] not in (None, value)
    }
    return ResolvedView(event, changed) if changed else None
