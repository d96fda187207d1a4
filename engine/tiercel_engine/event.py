"""The event: the values of fields that a rule's condition is evaluated with."""

from __future__ import annotations

from collections.abc import Iterable

from tiercel_engine.uncertain import directory_of, is_uncertain, last_component, prefixed

# Bytes of a text that are not valid UTF-8 are kept as surrogate escapes (PEP 383) until the text is printed.
# Fields of the multiplicities ANY and LIST (see fields.model.Multiplicity) hold a list of scalars.
Scalar = str | int | float | bool | bytes
Value = Scalar | list[str] | list[int]


class Event(dict[str, Value | None]):
    """The values of the fields of one event, by key: ``"fd.name"``, or with an argument ``"proc.aname[2]"``.

    A field without a value is absent or None. Reading an absent field by ``event[key]`` gives None, so that generated
    code needs no ``get``. Subclasses may compute a value when it is first read (``__missing__``) and store it.

    ``uncertain`` is whether a value that has been read is known only in part (``tiercel_engine.uncertain``).
    """

    __slots__ = ("source", "time", "uncertain")

    def __init__(self, source: str, time: int, fields: dict[str, Value | None] | None = None) -> None:
        if fields:
            self.update(fields)
        self.uncertain = False
        self.source = source
        """The event source: ``syscall`` or another one."""
        self.time = time
        """When it happened, in nanoseconds since the epoch."""

    def __missing__(self, key: str) -> Value | None:
        return None

    def materialize(self) -> dict[str, Value | None]:
        """All fields that the event has, to record it. Subclasses compute the values that have not been read yet."""
        return dict(self)

    def views(self) -> Iterable[Event]:
        """The one or two views of the event with which a whole rule is evaluated, one after the other.

        A file has two names: the one that the caller gave and the one that the kernel resolved. If they differ, the
        first view is the event itself, and in the second view the fields that have ``Field.names_file`` hold the
        resolved name. A rule matches if it matches in either view.

        ``fd.realname``, ``fs.path.realname``, ``fs.path.realsource`` and ``fs.path.realtarget`` are only used if the
        event already has them; they are not computed here. A subclass that computes them overrides this method, and
        makes its second view with ``resolved_view``.
        """
        # Written without a loop because it runs for every event.
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
_FIRST_FIELDS = ("evt.abspath.src", "evt.arg.oldpath")
_SECOND_FIELDS = ("evt.abspath.dst", "evt.arg.newpath", "evt.arg.linkpath")
LINKS = frozenset({"link", "linkat", "symlink", "symlinkat"})
"""Event types whose first path is the target, and the second, the new name, the source."""


class ResolvedView(Event):
    """An event whose files have their resolved names. All other fields are read from the event itself."""

    __slots__ = ("event",)

    def __init__(self, event: Event, names: dict[str, Value | None]) -> None:
        super().__init__(event.source, event.time, names)
        self.event = event
        self.uncertain = any(map(is_uncertain, names.values()))

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
    """A view of the event with the names that the kernel resolved, or None if no name differs.

    ``fd_name`` is the name of the descriptor's file, ``path`` that of the path that the call acts on, ``source`` and
    ``target`` those of ``fs.path.source`` and ``fs.path.target``. A name that is None, or equal to the one in the
    event, changes nothing. If only one of ``fd_name`` and ``path`` is given, it is used for both. Only fields that
    have a value are replaced.
    """
    first, second = (target, source) if event["evt.type"] in LINKS else (source, target)
    names: dict[str, Value | None] = {
        **dict.fromkeys(_PATH_FIELDS, fd_name if path is None else path),
        "fs.path.source": source,
        "fs.path.target": target,
        **dict.fromkeys(_FIRST_FIELDS, first),
        **dict.fromkeys(_SECOND_FIELDS, second),
    }
    if isinstance(name := path if fd_name is None else fd_name, str):
        container = str(event["container.id"])
        directory = directory_of(name)
        names["fd.name"] = name
        names["fd.filename"] = last_component(name)
        names["fd.directory"] = directory
        names["fd.containername"] = prefixed(f"{container}:", name)
        names["fd.containerdirectory"] = prefixed(f"{container}:", directory)
    changed: dict[str, Value | None] = {
        key: value for key, value in names.items() if value is not None and event[key] not in (None, value)
    }
    return ResolvedView(event, changed) if changed else None
