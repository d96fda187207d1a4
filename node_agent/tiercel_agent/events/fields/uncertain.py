"""``tiercel.uncertain``: which texts of the event are known only in part."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tiercel_agent.events.images import NO_IMAGE, Image
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_engine.event import Value
from tiercel_engine.uncertain import is_uncertain


def _of_image(image: Image) -> Iterator[str]:
    if image is NO_IMAGE:
        yield "program"
    if image.arguments.is_cut:
        yield "arguments"
    if image.environment is not None and image.environment.is_cut:
        yield "environment"
    if is_uncertain(image.exe_path):
        yield "executable"
    if is_uncertain(image.cwd):
        yield "working directory"


def _uncertain(record: SyscallRecord) -> Value | None:
    texts = list(_of_image(record.image))
    names = record.names
    of_names = [
        part
        for name in (names.fd, names.path, names.source, names.target)
        for part in (name.raw, name.given, name.real)
    ]
    if any(map(is_uncertain, of_names)):
        texts.append("file name")
    images = (record.ancestor_image(index) for index in range(len(record.ancestors)))
    if record.has_more_ancestors or any(True for image in images for _ in _of_image(image)):
        texts.append("ancestors")
    return ", ".join(texts) or None


FIELDS: dict[str, Callable[[SyscallRecord], Value | None]] = {"tiercel.uncertain": _uncertain}
WITH_ARGUMENT: dict[str, Callable[[SyscallRecord, str], Value | None]] = {}
