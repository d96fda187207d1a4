"""The loads by name; what they do is in bench/live/workload.c."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """``rounds``: as many as make the result exact to half a per cent."""

    name: str
    meaning: str
    rounds: int


LOADS = (
    Load("getppid", "getppid, which nobody asks for", 30_000),
    Load("open", "open and close one file", 30_000),
    Load("names", "open another name each time, which isn't there", 30_000),
    Load("stat", "stat one file", 30_000),
    Load("read-write", "write and read a byte of a file", 30_000),
    Load("connect", "socket, connect to a closed port, close", 10_000),
    Load("exec", "fork, run /bin/true, wait", 300),
)
