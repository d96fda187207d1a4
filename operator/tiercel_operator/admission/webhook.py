"""The HTTPS server that the API server asks before it stores a SecurityRule or an AlertSink.

The server never blocks a cluster. A request that it can't read gets an error, which the API server ignores
(``failurePolicy: Ignore``). An object that it can't check, or not in time, is allowed with a warning. The operator
checks every object again when it is stored, and the object's status says what is wrong."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import orjson
from aiohttp import web

from tiercel_engine.api_group import API_GROUP, VERSION
from tiercel_engine.nesting import read_json
from tiercel_engine.printable import printable
from tiercel_engine.resources.alert_sink import ALERT_SINK
from tiercel_engine.resources.security_rule import SECURITY_RULE
from tiercel_engine.rule import Origin
from tiercel_engine.rules.objects import RuleObject
from tiercel_operator.admission.certificates import SERVICE, Certificates
from tiercel_operator.admission.review import NotAReview, Verdict, answer, review
from tiercel_operator.rules.budgets import TENANT, Size

LOGGER = logging.getLogger(__name__)

NAME: Final = f"validate.{API_GROUP}"
PATH: Final = "/validate"
EXEMPTION: Final = f"{API_GROUP}/admission"
"""The label by which an administrator exempts a namespace, with the value ``disabled``."""
TIMEOUT: Final = 5
"""Seconds that the API server waits for an answer."""
LARGEST_BODY: Final = 4 << 20
"""Bytes. The API server accepts objects of up to 1.5 MiB, and a request of an update has the old object too."""
_PATIENCE = TIMEOUT - 0.5
_NOT_CHECKED = "tiercel couldn't check the object, so it is allowed; its status will say what is wrong with it"

Objects = Callable[[], Iterable[RuleObject]]
FreshObjects = Callable[[], Awaitable[Iterable[RuleObject]]]


class Webhook:
    """Checks objects against ``others``: all SecurityRules, as far as they are known here.

    A macro that was applied a moment ago may be missing there. So before an object is refused, it is checked once more
    against ``fresh``: the SecurityRules that the API server has now. ``tenant`` is the budget of a tenant's namespace.
    """

    def __init__(self, others: Objects, fresh: FreshObjects | None = None, tenant: Size = TENANT) -> None:
        self._others = others
        self._fresh = fresh
        self._tenant = tenant
        self._context = _context()
        # one at a time: several threads would not be faster, and would slow down the event loop
        self._checker = ThreadPoolExecutor(1, "tiercel-webhook")
        self._asking = asyncio.Lock()
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int, certificates: Certificates) -> int:
        """Serves until ``stop``. Returns the port, which the system chooses if it is 0. Raises OSError if the port is
        taken."""
        self.use(certificates)
        application = web.Application(client_max_size=LARGEST_BODY)
        application.add_routes([web.post(PATH, self._validate), web.get("/healthz", _healthy)])
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=TIMEOUT)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=self._context)
        await site.start()
        return int(self._runner.addresses[0][1])

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
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._checker.shutdown(wait=False, cancel_futures=True)

    async def _validate(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(TIMEOUT):
                body = read_json(await request.read())
        except ValueError as error:
            return web.Response(status=400, text=f"the body must be JSON: {error}\n")
        except TimeoutError:
            return web.Response(status=408, text="the body didn't come in time\n")
        try:
            response = await self._answer(body)
        except NotAReview as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(body=orjson.dumps(response), content_type="application/json")

    async def _answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_PATIENCE):
                others = tuple(self._others())
                response = await self._check(body, others)
                if self._fresh is not None and not response["response"]["allowed"]:
                    async with self._asking:  # many bad objects at once must not burden the API server
                        fresh = tuple(await self._fresh())
                    if _specs(fresh) != _specs(others):
                        response = await self._check(body, fresh)
        except NotAReview:
            raise
        except TimeoutError:
            LOGGER.warning("not checked in time: %s", _named(body))
        except Exception:
            LOGGER.exception("not checked: %s", _named(body))
        else:
            return response
        return answer(body, Verdict(warnings=(_NOT_CHECKED,)))

    async def _check(self, body: Mapping[str, Any], others: Iterable[RuleObject]) -> dict[str, Any]:
        return await asyncio.get_running_loop().run_in_executor(self._checker, review, body, others, self._tenant)


def webhook_configuration(namespace: str, ca: bytes, url: str | None = None) -> dict[str, Any]:
    """The ValidatingWebhookConfiguration as JSON: for the Service in the operator's namespace, or for a URL at which
    the API server reaches an operator outside of the cluster. It has all defaults that the API server would add."""
    bundle = base64.b64encode(ca).decode()
    service = {"name": SERVICE, "namespace": namespace, "path": PATH, "port": 443}
    client = {"url": url, "caBundle": bundle} if url else {"service": service, "caBundle": bundle}
    rule = {
        "apiGroups": [API_GROUP],
        "apiVersions": [VERSION],
        "operations": ["CREATE", "UPDATE"],
        "resources": [SECURITY_RULE.plural, ALERT_SINK.plural],
        "scope": "Namespaced",
    }
    not_exempted = {"key": EXEMPTION, "operator": "NotIn", "values": ["disabled"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "tiercel", "labels": {"app.kubernetes.io/name": "tiercel"}},
        "webhooks": [
            {
                "name": NAME,
                "clientConfig": client,
                "rules": [rule],
                "failurePolicy": "Ignore",
                "matchPolicy": "Equivalent",
                "namespaceSelector": {"matchExpressions": [not_exempted]},
                "objectSelector": {},
                "sideEffects": "None",
                "timeoutSeconds": TIMEOUT,
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _specs(objects: Iterable[RuleObject]) -> dict[Origin, Mapping[str, Any]]:
    return {each.origin: each.spec for each in objects}


def _named(body: Mapping[str, Any]) -> str:
    """Kind, namespace and name of the object that is asked about, for the log."""
    request = body.get("request") if isinstance(body, Mapping) else None
    asked = request if isinstance(request, Mapping) else {}
    kind = asked.get("kind")
    parts = (kind.get("kind") if isinstance(kind, Mapping) else kind, asked.get("namespace"), asked.get("name"))
    return " ".join(printable(str(part)[:253]) for part in parts)
