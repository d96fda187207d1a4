"""The loads by name; what they do is in workload.c."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

WORKLOAD = Path(__file__).with_name("workload.c")


@dataclass(frozen=True, slots=True)
class Load:
    """``round`` says what one round is, and ``command`` what it runs, if that is what it does: below the stage's
    folder."""

    name: str
    meaning: str
    round: str
    command: tuple[str, ...] = ()


LOADS = (
    Load("open", "open and close one file", "open+close"),
    Load("open-all", "the same, a process on every core", "open+close"),
    Load("stat", "stat one file", "stat"),
    Load("getpid", "getpid", "getpid"),
    Load("close", "close(-1)", "close"),
    Load("exec", "fork, run /bin/true, wait", "true", ("/bin/true",)),
    Load("connect", "connect to a closed port", "connect"),
    Load("mix", "open, read, close, stat 8 files; pipe; connect", "mix"),
    Load("open-paced", "100,000 opens and closes a second", "open+close"),
    Load("exec-paced", "100 runs of /bin/true a second", "true", ("/bin/true",)),
    Load("compile", "cc -O2 of one file", "cc", ("cc", "-O2", "-c", "load/program.c", "-o", "load/program.o")),
)


@dataclass(frozen=True, slots=True)
class Done:
    """What a load did: ``seconds`` that it took, system ``calls`` that it made, rounds a second that were ``asked`` for
    (0: as many as possible)."""

    rounds: int
    seconds: float
    calls: int
    asked: int

    @property
    def rate(self) -> float:
        """Rounds a second."""
        return self.rounds / self.seconds
