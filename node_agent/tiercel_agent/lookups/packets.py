"""What the agent and the process that makes its look-ups send each other.

Requests are one packet each; answers may be large, and take several.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from struct import Struct
from typing import Any

THREADS = 32
"""Look-ups that can be under way at once."""
MOST = 1 << 16
"""Bytes of a packet, at most."""
READY = b"ready"
"""The first packet, once requests are taken."""
_CONTENT = MOST // 2
_HEAD = Struct("=Qd?")


@dataclass(frozen=True, slots=True)
class Part:
    """A packet of an answer: the request's number, for how many seconds the look-up waited for something else than a
    processor, whether more packets follow, and a part of the content."""

    number: int
    slept: float
    more: bool
    content: bytes


def request(number: int, look_up: partial[Any]) -> bytes:
    """A request to call a function, which is sent by its name. Raises ValueError if it is too long."""
    packet = pickle.dumps((number, look_up))
    if len(packet) > MOST:
        raise ValueError("the arguments are too long")
    return packet


def read_request(packet: bytes) -> tuple[int, partial[Any]]:
    number, look_up = pickle.loads(packet)  # noqa: S301 (both ends are this program)
    return number, look_up


def answer(number: int, value: object, failure: str, slept: float) -> Iterator[bytes]:
    """The packets of an answer. ``failure`` is the type and place of the error in the value's place, "" without one."""
    content = pickle.dumps((value, failure))
    for start in range(0, len(content), _CONTENT):
        more = start + _CONTENT < len(content)
        yield _HEAD.pack(number, slept, more) + content[start : start + _CONTENT]


def read_part(packet: bytes) -> Part:
    number, slept, more = _HEAD.unpack_from(packet)
    return Part(number, slept, more, packet[_HEAD.size :])


def read_content(content: bytes | bytearray) -> tuple[Any, str]:
    """The value, and the failure in its place, from the content of all packets of an answer."""
    value, failure = pickle.loads(content)  # noqa: S301 (both ends are this program)
    return value, failure
