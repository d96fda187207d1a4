"""The HTTPS server that the API server asks before it stores a SecurityRule or an AlertSink.

Only the API server is answered. What a tenant has written is read by workers alone, each of which does one review,
within limits. The server never blocks a cluster. A request that it can't read gets an error, which the API server
ignores (``failurePolicy: Ignore``). An object that it can't check, or not in time, is allowed with a warning. The
operator checks every object when it is stored, before any agent gets it, and the object's status says what is wrong."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
from aiohttp import StreamReader, web

from tiercel_engine.rule import Origin
from tiercel_engine.rules.objects import RuleObject
from tiercel_engine.units import MEBIBYTE
from tiercel_operator.admission.certificates import Certificates
from tiercel_operator.admission.configuration import PATH, TIMEOUT
from tiercel_operator.admission.door import ClientCertificates, Door, is_one_of
from tiercel_operator.admission.request_head import HEAD, RequestHead
from tiercel_operator.admission.review import NotAReview, Verdict, answer, concerned, reviewed
from tiercel_operator.cluster.budgets import TENANT, Size
from tiercel_operator.workers.limits import Limits
from tiercel_operator.workers.pool import NotDone, WorkerPool
from tiercel_operator.workers.slots import FairSlots

LOGGER = logging.getLogger(__name__)

LARGEST_BODY: Final = 4 * MEBIBYTE
"""Bytes. The API server accepts objects of up to 1.5 MiB, and a request of an update has the old object too."""
REVIEW: Final = Limits(processor=2, time=4, memory=96 * MEBIBYTE)
"""What a review may take. One of a usual object takes some hundredths of a second."""
_PATIENCE = TIMEOUT - 0.5
_IDLE = 60.0  # seconds until a connection on which nothing is asked is closed
_NOT_CHECKED = (
    "tiercel couldn't check the object, so it is stored unchecked; no agent gets it before it is checked, "
    "and its status will say so"
)
_NOT_A_REVIEW = NotAReview.__name__

Objects = Callable[[], Iterable[RuleObject]]
FreshObjects = Callable[[str], Awaitable[Iterable[RuleObject]]]
"""Those that a review of an object of a namespace may look at, which ``concerned`` gives; others may be among them."""


class Webhook:
    """Checks objects against ``others``: all SecurityRules, as far as they are known here.

    A macro that was applied a moment ago may be missing there. So before an object is refused, it is checked once more
    against ``fresh``: the SecurityRules that the API server has now. ``tenant`` is the budget of a tenant's namespace.
    Namespaces take turns at the ``slots``; of a request that waits for its turn, no more than the beginning is here.
    Callers ask a path with one of ``tokens`` in it, and present one of the
    client certificates, if such are asked for.
    """

    def __init__(
        self,
        others: Objects,
        workers: WorkerPool,
        slots: FairSlots,
        fresh: FreshObjects | None = None,
        *,
        tokens: Sequence[str] = (),
        clients: ClientCertificates | None = None,
        tenant: Size = TENANT,
    ) -> None:
        self.tokens = tuple(tokens)
        self._others = others
        self._fresh = fresh
        self._tenant = tenant
        self._workers = workers
        self._slots = slots
        self._clients = clients
        self._context = _context(clients)
        self._runner: web.AppRunner | None = None
        self._door: Door | None = None

    async def start(self, host: str, port: int, certificates: Certificates) -> int:
        """Serves until ``stop``. Returns the port, which the system chooses if it is 0. Raises OSError if the port is
        taken."""
        self.use(certificates)
        application = web.Application(client_max_size=LARGEST_BODY)
        application.add_routes([web.post(f"{PATH}/{{token}}", self._validate)])
        # what isn't read of a request that was refused is never read
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=TIMEOUT, keepalive_timeout=_IDLE, lingering_time=0
        )
        await self._runner.setup()
        assert self._runner.server is not None
        self._door = Door(self._runner.server, self._context)
        try:
            return self._door.open(host, port)
        except OSError:
            await self._runner.cleanup()
            raise

    def use(self, certificates: Certificates) -> None:
        """Serves with these certificates from the next connection on."""
        # the function that loads them needs a file: this one exists in memory only
        file = os.memfd_create("tiercel-webhook", os.MFD_CLOEXEC)
        with os.fdopen(file, "wb") as chain:
            chain.write(certificates.certificate + certificates.key)
            chain.flush()
            self._context.load_cert_chain(f"/proc/self/fd/{file}")

    async def stop(self) -> None:
        """Answers the requests that have come, and ends."""
        if self._door is not None:
            self._door.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _validate(self, request: web.Request) -> web.Response:
        if not is_one_of(request.match_info["token"], self.tokens):
            raise web.HTTPNotFound
        transport = request.transport
        if self._clients is not None and (
            transport is None or not self._clients.admits(transport.get_extra_info("peercert"))
        ):
            raise web.HTTPForbidden
        if self._door is not None:
            self._door.admit(transport)
        if (request.content_length or 0) > LARGEST_BODY:
            raise _too_large(request.content_length or 0)
        until = asyncio.get_running_loop().time() + _PATIENCE
        try:
            async with asyncio.timeout_at(until):
                begun = await _read(request.content, HEAD)
        except TimeoutError:
            return web.Response(status=408, text="the body didn't come in time\n")
        head = RequestHead.of(begun)
        try:
            async with asyncio.timeout_at(until), self._slots.of(head.namespace):  # until then the rest waits unread
                response = await self._check(begun + await _read(request.content), head)
        except NotAReview as error:
            return web.Response(status=400, text=f"{error}\n")
        except TimeoutError:
            LOGGER.warning("not checked in time: %s/%s", head.namespace, head.name)
        except NotDone as error:
            LOGGER.warning("not checked: %s/%s: %s", head.namespace, head.name, error)
        except web.HTTPException:
            raise
        except Exception:
            LOGGER.exception("not checked: %s/%s", head.namespace, head.name)
        else:
            return web.Response(body=response, content_type="application/json")
        unchecked = answer(head.uid, Verdict(warnings=(_NOT_CHECKED,)))
        return web.Response(body=orjson.dumps(unchecked), content_type="application/json")

    async def _check(self, body: bytes, head: RequestHead) -> bytes:
        others = concerned(self._others(), head.namespace)
        response = await self._review(body, head, others)
        if self._fresh is None or orjson.loads(response)["response"]["allowed"]:
            return response
        fresh = concerned(await self._fresh(head.namespace), head.namespace)
        return response if _specs(fresh) == _specs(others) else await self._review(body, head, fresh)

    async def _review(self, body: bytes, head: RequestHead, others: Sequence[RuleObject]) -> bytes:
        response = await self._workers.run(REVIEW, reviewed, body, head.namespace, others, self._tenant)
        refused = orjson.loads(response).get("notAReview")
        if refused is not None:
            raise NotAReview(refused)
        return response


async def _read(content: StreamReader, most: int = LARGEST_BODY) -> bytes:
    """The next bytes of a body, to its end or so many of them at least, as they have come."""
    parts, length = [], 0
    while length < most and (part := await content.readany()):
        parts.append(part)
        length += len(part)
    if length > LARGEST_BODY or (length >= LARGEST_BODY and not content.at_eof()):
        raise _too_large(length)
    return b"".join(parts)


def _too_large(length: int) -> web.HTTPException:
    return web.HTTPRequestEntityTooLarge(LARGEST_BODY, length)


def _context(clients: ClientCertificates | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.authority)
    return context


def _specs(objects: Iterable[RuleObject]) -> dict[Origin, Mapping[str, Any]]:
    return {each.origin: each.spec for each in objects}
