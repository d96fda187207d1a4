"""kopf watches the cluster, through whatever ends its watches.

kopf ends as a whole when the API server gives an answer that isn't worth another try in its eyes. An API server that is
starting says 404 to every custom resource for a moment, so that would be after each outage. And it may wait at its end
for tasks of its own that never end. So each turn of kopf has a thread and an event loop, in which nothing else is
cancelled with it and which can be left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from concurrent.futures import Future

import kopf

from tiercel_engine.located import located
from tiercel_operator.cluster.kube import PAGE, Kube

LOGGER = logging.getLogger(__name__)

_AGAIN_AFTER = 2.0
"""Seconds until the cluster is watched again. kopf has tried for longer where it found that worth it."""
_LEFT_AFTER = 5.0
"""Seconds that kopf's tasks have for their end."""


async def watch(registry: kopf.OperatorRegistry, kube: Kube) -> None:
    """Calls the registry's handlers, from another thread, with what happens in the cluster, until SIGTERM or SIGINT.

    After an interruption every object that is there is told again; what was deleted meanwhile isn't told.
    """
    stop: Future[None] = Future()
    stopped = asyncio.Event()
    stop.add_done_callback(lambda _: stopped.set())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _end, stop)
    try:
        while not stop.done():
            try:
                await asyncio.to_thread(kube.check_ready)  # what isn't served when kopf starts, it may never watch
                await asyncio.to_thread(_run, registry, stop)
            except Exception as error:  # kopf's errors have no public names
                LOGGER.warning("the cluster can't be watched, trying again: %s (%s)", error, located(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN_AFTER):
                        await stopped.wait()
    finally:
        _end(stop)


def _end(stop: Future[None]) -> None:
    if not stop.done():
        stop.set_result(None)


def _run(registry: kopf.OperatorRegistry, stop: Future[None]) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_turn(registry, stop))
    finally:
        loop.close()


async def _turn(registry: kopf.OperatorRegistry, stop: Future[None]) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def end(_: Future[None]) -> None:
        with contextlib.suppress(RuntimeError):  # the turn has ended before
            loop.call_soon_threadsafe(stopped.set)

    tasks = await kopf.spawn_tasks(registry=registry, clusterwide=True, settings=_settings())
    stop.add_done_callback(end)
    done, _ = await asyncio.wait({*tasks, asyncio.create_task(stopped.wait())}, return_when=asyncio.FIRST_COMPLETED)
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=_LEFT_AFTER)
    for task in done:
        task.result()


def _settings() -> kopf.OperatorSettings:
    """Settings with which kopf writes nothing into the objects and posts no Events."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.process.ultimate_exiting_timeout = None  # else it kills the process some time after a turn has ended
    settings.watching.connect_timeout = 10
    settings.watching.server_timeout = 300
    settings.watching.chunk_size = PAGE
    return settings
