"""Pieces of work in processes of their own: what exceeds a limit is ended, and costs nothing else."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tiercel_operator.workers import pool as module
from tiercel_operator.workers.limits import Limits
from tiercel_operator.workers.pool import NotDone, TookTooMuch, WorkerPool

MIB = 1 << 20
PLENTY = Limits(processor=60, time=120, memory=64 * MIB)
SHORT = Limits(processor=1, time=120, memory=64 * MIB)


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(["re"])
    yield pool
    pool.close()


def done(pool: WorkerPool, limits: Limits, task: Callable[..., bytes], *arguments: object) -> bytes:
    return asyncio.run(pool.run(limits, task, *arguments))


def test_it_returns_what_the_function_returns(pool: WorkerPool) -> None:
    assert done(pool, PLENTY, bytes, 3) == b"\0\0\0"
    assert len(done(pool, PLENTY, bytes, 8 * MIB)) == 8 * MIB


def test_work_that_takes_too_much_of_a_processor_is_ended(pool: WorkerPool) -> None:
    with pytest.raises(TookTooMuch, match=r"more than 1 s of a processor, 120 s in all, or 64 MiB of memory"):
        done(pool, SHORT, re.fullmatch, r"(a|a)*b", "a" * 100)  # type: ignore[arg-type]


def test_work_that_takes_too_long_is_ended_whatever_it_waits_for(pool: WorkerPool) -> None:
    with pytest.raises(TookTooMuch):
        done(pool, Limits(processor=60, time=1, memory=64 * MIB), time.sleep, 10_000)


def test_work_that_takes_too_much_memory_is_ended(pool: WorkerPool) -> None:
    with pytest.raises(TookTooMuch):
        done(pool, PLENTY, bytes, 65 * MIB)
    assert done(pool, PLENTY, bytes, 1) == b"\0", "and others aren't"


def test_an_error_is_told_without_what_it_says(pool: WorkerPool) -> None:
    with pytest.raises(NotDone, match=r"^ValueError at ") as caught:
        done(pool, PLENTY, int, "hostile text")  # type: ignore[arg-type]
    assert "hostile" not in str(caught.value)


def test_an_answer_that_is_too_long_is_none(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_ANSWER", 1000)
    with pytest.raises(TookTooMuch):
        done(pool, PLENTY, bytes, 1001)
    assert len(done(pool, PLENTY, bytes, 1000)) == 1000


def test_one_that_never_ends_holds_up_no_other(pool: WorkerPool) -> None:
    async def both() -> bytes:
        endless = asyncio.create_task(pool.run(PLENTY, time.sleep, 10_000))
        await asyncio.sleep(0)
        try:
            return await pool.run(PLENTY, bytes, 1)
        finally:
            assert not endless.done()
            endless.cancel()

    assert asyncio.run(both()) == b"\0"


def test_work_that_nobody_waits_for_is_ended(pool: WorkerPool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        waits = f"__import__('socket').create_connection(('127.0.0.1', {server.getsockname()[1]})).recv(1)"

        async def run() -> None:
            work = asyncio.create_task(pool.run(Limits(60, 100_000, 64 * MIB), eval, waits))
            accepted, _ = await asyncio.to_thread(server.accept)
            with accepted:
                accepted.settimeout(60)
                work.cancel()
                assert await asyncio.to_thread(accepted.recv, 1) == b"", "the other end is gone"

        asyncio.run(run())
    assert done(pool, PLENTY, bytes, 1) == b"\0"


def test_the_process_that_makes_them_is_started_anew(pool: WorkerPool) -> None:
    done(pool, PLENTY, bytes, 1)
    assert pool._process is not None
    os.kill(pool._process.pid, signal.SIGKILL)
    pool._process.wait()
    assert done(pool, PLENTY, bytes, 1) == b"\0"


def test_it_ends_with_the_operator() -> None:
    pool = WorkerPool([])
    done(pool, PLENTY, bytes, 1)
    process = pool._process
    assert process is not None
    pool.close()
    assert process.returncode == 0
