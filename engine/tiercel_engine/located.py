"""The type and place of an error, for the log. Errors that are handled without being shown are logged with them."""

from __future__ import annotations

import traceback
from pathlib import PurePath

_OWN = "tiercel_"


def located(error: BaseException) -> str:
    """The error's type and place, such as ``ValueError at tiercel_agent/detection/detector.py:123``.

    If a library raised it, this is the place in the library and the project's own line that led there: ``OSError at
    http/client.py:9, called at tiercel_agent/sinks/http/post.py:20``. The error's message is left out, because it may
    contain secrets or texts of others. For an error that was never raised, it is the type alone.
    """
    name = type(error).__name__
    frames = [(PurePath(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    if not frames:
        return name
    raised = frames[-1]
    own = next((frame for frame in reversed(frames) if _package(frame[0]) is not None), None)
    text = f"{name} at {_place(*raised)}"
    return text if own is None or own == raised else f"{text}, called at {_place(*own)}"


def _place(path: PurePath, line: int) -> str:
    package = _package(path)
    parts = path.parts[-2:] if package is None else path.parts[package:]
    return f"{'/'.join(parts)}:{line}"


def _package(path: PurePath) -> int | None:
    """The index in the path of the folder of one of the project's packages; None if there is none."""
    return next((index for index, part in enumerate(path.parts[:-1]) if part.startswith(_OWN)), None)
