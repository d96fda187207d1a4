"""A process that is held to an egress policy and has no files, and does what a test asks for.

The interpreter can't be let go again, so that no test can be held itself.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tiercel_agent.sinks.network.confinement import ForbiddenFile, confine
from tiercel_agent.sinks.network.egress_policy import EgressPolicy, Forbidden, cause_of

PATIENCE = 60.0


@dataclass(frozen=True)
class Outcome:
    """What came of it: the value, or the error's text, and which of the two refusals it comes from."""

    value: Any = None
    error: str = ""
    forbidden: bool = False
    forbidden_file: bool = False


class Confined:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def does(self, act: Callable[..., Any], *arguments: Any, policy: EgressPolicy | None = None) -> Outcome:
        """Has a function of a module called."""
        self._connection.send((policy or EgressPolicy(), act, arguments))
        if not self._connection.poll(PATIENCE):
            raise TimeoutError
        outcome = self._connection.recv()
        assert isinstance(outcome, Outcome)
        return outcome


@contextmanager
def confined() -> Iterator[Confined]:
    context = multiprocessing.get_context("spawn")
    own, other = context.Pipe()
    process = context.Process(target=_serve, args=(other,), daemon=True)
    process.start()
    other.close()
    try:
        yield Confined(own)
    finally:
        own.close()
        process.join(PATIENCE)


def _serve(connection: Connection) -> None:
    policy = EgressPolicy()
    confine(lambda: policy)
    try:
        while True:
            policy, act, arguments = connection.recv()
            connection.send(_outcome(act, arguments))
    except EOFError:
        pass


def _outcome(act: Callable[..., Any], arguments: tuple[Any, ...]) -> Outcome:
    try:
        return Outcome(act(*arguments))
    except BaseException as error:
        refused = cause_of(error, Forbidden) is not None, cause_of(error, ForbiddenFile) is not None
        return Outcome(None, repr(error), *refused)
