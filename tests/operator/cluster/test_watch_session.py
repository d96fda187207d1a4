"""The session by which kopf lists and watches, at a real HTTP server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import kopf
import pytest
from aiohttp import web

from tiercel_engine.nesting import READ_LEVELS
from tiercel_operator.cluster.watch_session import bounded

DEEP = "[" * 5000 + "]" * 5000


def event(name: str, deep: str = "[]") -> bytes:
    return f'{{"type": "ADDED", "object": {{"metadata": {{"name": "{name}"}}, "spec": {{"deep": {deep}}}}}}}'.encode()


def asking(text: bytes, work: Callable[[aiohttp.ClientSession, str], Awaitable[None]]) -> None:
    """Has the text served, in pieces."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for start in range(0, len(text), 4096):
            await response.write(text[start : start + 4096])
        return response

    async def run() -> None:
        application = web.Application()
        application.add_routes([web.get("/", answer)])
        serving = web.AppRunner(application)
        await serving.setup()
        site = web.TCPSite(serving, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{serving.addresses[0][1]}/"
        login = bounded(lambda **_: kopf.ConnectionInfo(server=url, token="secret"))
        found = await login()
        try:
            async with asyncio.timeout(60):
                await work(found.aiohttp_session, url)
        finally:
            await found.aiohttp_session.close()
            await serving.cleanup()

    asyncio.run(run())


@pytest.mark.parametrize("size", [1 << 20, 100])
def test_each_line_of_a_watch_can_be_read_by_python(size: int) -> None:
    lines = [event("one"), event("poison", DEEP), event("two", '["" , "\\"[[["]'), b"no JSON"]

    async def work(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(url) as response:
            read = b"".join([chunk async for chunk in response.content.iter_chunked(size)])
        one, poison, two, last = read.split(b"\n")
        assert (one, two, last) == (lines[0], lines[2], lines[3]), "these are as they were"
        body: Any = json.loads(poison)
        assert body["object"]["metadata"] == {"name": "poison"}
        assert poison.count(b"[") < READ_LEVELS

    asking(b"\n".join(lines), work)


def test_a_list_can_be_read_with_all_that_is_in_it() -> None:
    async def work(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(url) as response:
            body = await response.json()
        assert [each["object"]["metadata"]["name"] for each in body["items"]] == ["one", "poison", "two"]

    asking(b'{"items": [' + b", ".join([event("one"), event("poison", DEEP), event("two")]) + b"]}", work)


def test_without_credentials_there_is_no_session() -> None:
    assert asyncio.run(bounded(lambda **_: None)()) is None


def test_a_login_by_the_same_credentials_is_the_same_to_kopf() -> None:
    """kopf keeps those that were refused, so as not to try them again and again."""

    async def log_in(token: str) -> kopf.AiohttpSession:
        found: kopf.AiohttpSession = await bounded(lambda **_: kopf.ConnectionInfo(server="http://x", token=token))()
        await found.aiohttp_session.close()
        return found

    async def run() -> None:
        refused = await log_in("secret")
        assert await log_in("secret") in [refused]
        assert await log_in("renewed") not in [refused]

    asyncio.run(run())
