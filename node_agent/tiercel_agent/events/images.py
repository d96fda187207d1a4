"""What processes execute."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_agent.context import procfs
from tiercel_agent.context.words import NO_WORDS, Words, whole
from tiercel_agent.kernel import records
from tiercel_agent.kernel.records import FileFacts, Section, Sections

_OF_AN_IMAGE = 512
"""Bytes of an image without its texts."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a process executes since its last exec. Children that have only forked share it.

    ``arguments`` includes argv[0]; ``environment`` is None unless it was asked for. ``filename`` is the path that was
    passed to execve, "" if unknown. ``exe`` is None for kernel threads and where it couldn't be read. ``started`` is
    the time of the exec in ns since boot, 0 if it was before the agent's start.
    """

    arguments: Words
    environment: Words | None
    exe_path: str
    exe: FileFacts | None
    filename: str = ""
    cwd: str = ""
    started: int = 0

    @property
    def size(self) -> int:
        """The bytes of memory that it takes, about."""
        words = len(self.arguments.raw) + (len(self.environment.raw) if self.environment is not None else 0)
        return _OF_AN_IMAGE + words + len(self.exe_path) + len(self.filename) + len(self.cwd)


NO_IMAGE = Image(NO_WORDS, None, "", None)
"""In place of an image that isn't known."""


def text(raw: bytes) -> str:
    """Bytes from the kernel as text. Bytes that aren't UTF-8 become surrogate escapes."""
    return raw.decode("utf-8", "surrogateescape")


def image_of(record_sections: Sections, time: int) -> Image:
    """The image that an exec record describes."""

    def path(kind: int) -> str:
        return records.path(record_sections[kind]) if kind in record_sections else ""

    def words(kind: int, count: int = 0) -> Words:
        length, raw = record_sections.get(kind, (0, b""))
        return Words(raw, length, max(count, raw.count(b"\0") + 1)) if len(raw) + 1 < length else whole(raw)

    facts = record_sections[Section.EXE][1] if Section.EXE in record_sections else b""
    return Image(
        arguments=words(Section.ARGS, record_sections.get(Section.ARGUMENT_COUNT, (0, b""))[0]),
        environment=words(Section.ENV) if Section.ENV in record_sections else None,
        exe_path=path(Section.EXE_PATH),
        exe=records.file_facts(facts) if facts else None,
        filename=text(record_sections[Section.FILENAME][1]) if Section.FILENAME in record_sections else "",
        cwd=path(Section.CWD),
        started=time,
    )


def image_of_facts(facts: procfs.ProcessFacts) -> Image:
    """The image of a process that was read from /proc."""
    exe = facts.exe
    file = None
    if exe is not None and exe.inode is not None:
        ctime, mtime = divmod(exe.ctime or 0, 1_000_000_000), divmod(exe.mtime or 0, 1_000_000_000)
        traits = records.DETACHED if exe.from_memfd else 0
        file = FileFacts(exe.inode, ctime[0], mtime[0], ctime[1], mtime[1], 0, 0o100000, 0, 1, 0, traits)
    path = exe.path if exe is not None else ""
    path = path.removeprefix("/") if path.startswith("/memfd:") else path
    return Image(facts.arguments, facts.environment, path, file)
