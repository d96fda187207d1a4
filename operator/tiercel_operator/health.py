"""The HTTP server for the kubelet's probes and for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from tiercel_engine.telemetry import CONTENT_TYPE
from tiercel_operator.metrics import open_metrics, read
from tiercel_operator.runner import Runner

_PUBLISH = 5.0
"""Seconds between two updates of the metrics that are pushed by OTLP: they are sent from a thread that can't read the
runner itself."""


UNHEALTHY_AFTER = 300.0
"""Seconds for which reconciliations may fail by the operator's own fault until ``/healthz`` says so, and the kubelet
starts the operator anew. There is one every half minute at least, so this is ten failures, and longer than any of them
takes. A new start forgets what may be broken, and lets another replica lead in the meantime; it is no use while the API
server is away, so that doesn't count."""


async def serve_health(runner: Runner, host: str, port: int, namespace: str = "") -> web.AppRunner:
    """Serves until ``cleanup`` of the returned server is called. Raises OSError if the port is taken. ``namespace`` is
    the operator's own."""

    telemetry = await asyncio.to_thread(open_metrics, namespace)

    async def healthy(_request: web.Request) -> web.Response:
        failing = runner.failing_for
        if failing < UNHEALTHY_AFTER:
            return web.Response(text="ok\n")
        return web.Response(status=503, text=f"no reconciliation has succeeded for {failing:.0f} s (see the log)\n")

    async def metrics(_request: web.Request) -> web.Response:
        telemetry.publish(read(runner))
        text = await asyncio.to_thread(telemetry.text)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    async def publish() -> None:
        while True:
            telemetry.publish(read(runner))
            await asyncio.sleep(_PUBLISH)

    async def publishing(_application: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(publish())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        telemetry.publish(read(runner))
        await asyncio.to_thread(telemetry.close)

    application = web.Application()
    application.add_routes([web.get("/healthz", healthy), web.get("/metrics", metrics)])
    application.cleanup_ctx.append(publishing)
    serving = web.AppRunner(application, access_log=None)
    await serving.setup()
    try:
        await web.TCPSite(serving, host, port).start()
    except OSError:
        await serving.cleanup()
        raise
    return serving
