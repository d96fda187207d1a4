"""What the agent and the process that asks the runtimes send each other: one line of JSON each.

What comes back holds texts that whoever made a container has chosen, read by large libraries: the agent takes it as
values of known types alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tiercel_agent.workloads.model import Container
from tiercel_agent.workloads.runtimes.model import CONTAINERD, CRI, DOCKER
from tiercel_engine.printable import printable
from tiercel_engine.resources.encoding import from_json, to_json

LONGEST = 8 << 20
"""Bytes of a line, at most."""
_LONGEST_FAILURE = 1024  # characters
LONGEST_NAME = 64  # characters


@dataclass(frozen=True, slots=True)
class Question:
    """Asks a socket, by its number, for a container, or with an empty id which runtime listens there."""

    number: int
    socket: int
    id: str = ""
    in_pod: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """``failure`` is why there is no answer; "" if there is one. Without a container, the runtime knows none.
    ``interface`` and ``runtime`` say which runtime listens, if that was asked, as in ``Socket``."""

    number: int
    container: Container | None = None
    interface: str = ""
    runtime: str = ""
    failure: str = ""


def question_line(question: Question) -> bytes:
    return _line(to_json(question))


def read_question(line: bytes) -> Question:
    return from_json(Question, json.loads(line))


def reply_line(reply: Reply) -> bytes:
    document: dict[str, object] = {"number": reply.number, "failure": reply.failure[:_LONGEST_FAILURE]}
    document |= {"interface": reply.interface, "runtime": reply.runtime[:LONGEST_NAME]}
    return _line(document | ({"container": to_json(reply.container)} if reply.container is not None else {}))


def read_reply(line: bytes) -> Reply:
    """Raises ValueError for what is no reply."""
    try:
        reply = from_json(Reply, json.loads(line))
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError("no reply") from error
    if len(reply.failure) > _LONGEST_FAILURE:
        raise ValueError("a failure that is too long")
    if reply.interface not in ("", CRI, CONTAINERD, DOCKER):
        raise ValueError("an interface that there isn't")
    if len(reply.runtime) > LONGEST_NAME or printable(reply.runtime) != reply.runtime:
        raise ValueError("no name of a runtime")
    return reply


def _line(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"
