"""Collects the errors and warnings of rules files while they are loaded."""

from __future__ import annotations

from collections.abc import Iterable

from tiercel_engine.diagnostics import Diagnostic, Location, Severity
from tiercel_engine.rules.documents.source_file import Span
from tiercel_engine.suggestions import Suggester

MAX_DIAGNOSTICS = 1000
"""The most diagnostics of each severity that are kept. One more diagnostic says how many there were besides."""


class Report:
    """Errors and warnings, sorted by the order of ``files`` and by their places in the files."""

    def __init__(self, files: Iterable[str] = ()) -> None:
        self._files = {name: position for position, name in enumerate(files)}
        self.suggester = Suggester()
        self._diagnostics: dict[Severity, list[Diagnostic]] = {Severity.ERROR: [], Severity.WARNING: []}
        self._unshown = {Severity.ERROR: 0, Severity.WARNING: 0}

    def error(self, code: str, message: str, span: Span, item: tuple[str, str] = ("", ""), hint: str = "") -> None:
        self.add(diagnose(Severity.ERROR, code, message, span, item, hint))

    def warning(self, code: str, message: str, span: Span, item: tuple[str, str] = ("", ""), hint: str = "") -> None:
        self.add(diagnose(Severity.WARNING, code, message, span, item, hint))

    def add(self, diagnostic: Diagnostic) -> None:
        if len(self._diagnostics[diagnostic.severity]) < MAX_DIAGNOSTICS:
            self._diagnostics[diagnostic.severity].append(diagnostic)
        else:
            self._unshown[diagnostic.severity] += 1

    def _position(self, diagnostic: Diagnostic) -> tuple[int, int, int]:
        location = diagnostic.location
        return self._files.get(location.file, 0), location.line, location.column

    def similar(self, name: str, known: Iterable[str]) -> str:
        """A hint for a name that is not among ``known``, or ``""``."""
        return self.suggester.similar(name, known)

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return self._all(Severity.ERROR)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return self._all(Severity.WARNING)

    def _all(self, severity: Severity) -> tuple[Diagnostic, ...]:
        diagnostics = tuple(sorted(self._diagnostics[severity], key=self._position))
        if not self._unshown[severity]:
            return diagnostics
        last = diagnostics[-1]
        message = f"{self._unshown[severity]} more {severity.value}s are not shown"
        return (*diagnostics, Diagnostic(severity, last.code, message, Location(last.location.file, 1, 1), "file"))


def diagnose(
    severity: Severity, code: str, message: str, span: Span, item: tuple[str, str] = ("", ""), hint: str = ""
) -> Diagnostic:
    """A diagnostic at a place. ``item`` is the item's type and name. Only the first line of the place is underlined."""
    location = span.source.location(span.start)
    line = span.source.line(location.line)
    width = max(1, min(span.end - span.start, len(line) - location.column + 1))
    return Diagnostic(severity, code, message, location, *item, source_line=line, width=width, hint=hint)
