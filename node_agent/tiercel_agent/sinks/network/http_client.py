"""Requests to the HTTP server of a sink, and what its answers and failures mean for the alerts.

Nothing of the URL, of headers, of what is sent or of what is answered stands in an error.
"""

from __future__ import annotations

import base64
import gzip
import logging
import os
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import IncompleteRead
from typing import Any
from urllib.parse import unquote
from urllib.request import getproxies_environment, proxy_bypass

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InsecureRequestWarning,
    LocationParseError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ProxySchemeUnknown,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Url, parse_url

from tiercel_agent.sinks.model import BadSink, Refused, SinkSettings, Unavailable
from tiercel_agent.sinks.network.egress_policy import Forbidden, cause_of
from tiercel_agent.sinks.network.failures import connection_failure
from tiercel_agent.sinks.network.tls import server_name, tls_context
from tiercel_engine import __version__
from tiercel_engine.resources.destinations import Compression, Header, SecretSource, Tls

LONGEST_ANSWER = 64 * 1024
"""Bytes of an answer's body that are read."""

_LONGEST_WAIT = 3600.0  # seconds that another side may ask for
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~]*")
_OWN_HEADERS = frozenset(
    {"connection", "content-encoding", "content-length", "te", "trailer", "transfer-encoding", "upgrade"}
)
_REFUSED = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
_HINTS: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "are its credentials right?",
    HTTPStatus.FORBIDDEN: "are its credentials right?",
    HTTPStatus.NOT_FOUND: "is the path of its address right?",
    HTTPStatus.METHOD_NOT_ALLOWED: "is its method right?",
}
_NO_TLS = "it doesn't speak TLS at this address: is it http://?"
_WRITE = "write http://HOST/PATH or https://HOST/PATH"

# It warns of malformed answers with the URL, in which there may be a secret.
logging.getLogger("urllib3").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: until a connection stands, and between two pieces of an answer, which is given that long in all."""

    connect: float = 5.0
    read: float = 15.0


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of success. ``body`` is its beginning, compressed if the other side did that."""

    status: int
    body: bytes


class Client:
    """Sends to one address, over a connection that is kept. Raises BadSink if the settings are wrong.

    ``headers`` are each request's, and stronger than the client's own. Variables such as HTTPS_PROXY count for trusted
    sinks alone: a proxy would connect to what tenants can't reach.
    """

    def __init__(
        self,
        address: str,
        settings: SinkSettings,
        headers: tuple[Header, ...] = (),
        tls: Tls | None = None,
        *,
        compression: Compression | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        url = _url(address)
        self._address = url._replace(auth=None, fragment=None).url
        self._timeouts = timeouts or Timeouts()
        self._gzip = compression is Compression.GZIP
        own = {"User-Agent": f"tiercel/{__version__}"} | _credentials(url)
        self._headers = _over(own, _given(headers, settings))
        self._pool = _pool(url, settings, tls)
        self._used = False

    def request(
        self, method: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        """The answer, if it is one of success (2xx). Raises Refused, Unavailable."""
        own = {"Content-Type": content_type, **(headers or {})}
        if self._gzip:
            own["Content-Encoding"] = "gzip"
            body = gzip.compress(body, 6, mtime=0)
        try:
            return self._answer(self._sent(method, body, _over(own, self._headers)))
        except (HTTPError, OSError, UnicodeError) as error:
            raise Unavailable(trouble(error, self._timeouts)) from None

    def close(self) -> None:
        self._pool.clear()

    def _sent(self, method: str, body: bytes, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """The answer, of which only the head has been read."""
        used, self._used = self._used, False
        try:
            return self._send(method, body, headers)
        except (ProtocolError, SSLError) as error:
            # The other side may end a connection that was kept just while this side writes to it.
            if not used or (cause_of(error, ConnectionError) is None and cause_of(error, ssl.SSLEOFError) is None):
                raise
        return self._send(method, body, headers)

    def _send(self, method: str, body: bytes, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        return self._pool.request(
            method,
            self._address,
            body=body,
            headers=headers,
            redirect=False,
            retries=False,
            timeout=urllib3.Timeout(connect=self._timeouts.connect, read=self._timeouts.read),
            preload_content=False,
            decode_content=False,
        )

    def _answer(self, response: urllib3.BaseHTTPResponse) -> Response:
        success = 200 <= response.status < 300
        body = b""
        try:
            body = self._body(response)
            self._used = True
        except (HTTPError, OSError):
            if success:
                raise
        finally:
            response.close()  # the connection too, unless all was read
        if not success:
            raise failure(response.status, response.headers.get("Retry-After"))
        return Response(response.status, body)

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """The beginning of the answer's body. The rest of a longer one isn't read."""
        body = bytearray()
        until = time.monotonic() + self._timeouts.read
        while len(body) < LONGEST_ANSWER and (piece := response.read1(LONGEST_ANSWER - len(body))):
            body += piece
            if time.monotonic() > until:
                raise TimeoutError
        return bytes(body)


def failure(status: int, retry_after: str | None = None) -> Refused | Unavailable:
    """What an answer other than 2xx means; ``retry_after`` is its header."""
    if 300 <= status < 400:
        return Unavailable(f"answers {status}: redirects aren't followed, configure the final address")
    try:
        said = f"answers {status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = f"answers {status}"
    if status in _REFUSED:
        return Refused(said)
    hint = _HINTS.get(status)
    return Unavailable(f"{said}: {hint}" if hint else said, _wait(retry_after or ""))


def trouble(error: BaseException, timeouts: Timeouts) -> str:
    """In words, why there is no answer."""
    if (forbidden := cause_of(error, Forbidden)) is not None:
        return str(forbidden)
    return f"the proxy: {_trouble(error, timeouts)}" if isinstance(error, ProxyError) else _trouble(error, timeouts)


def _trouble(error: BaseException, timeouts: Timeouts) -> str:
    if (why := connection_failure(error, _NO_TLS)) is not None:
        return why
    if cause_of(error, ConnectionError) is not None or cause_of(error, IncompleteRead) is not None:
        return "the connection was closed before the answer was complete"
    # urllib3 takes a connection that can't be made for one that took too long, too.
    system = cause_of(error, OSError) if cause_of(error, NewConnectionError) is not None else None
    if system is not None and system.errno:
        return f"no connection: {os.strerror(system.errno).lower()}"
    if cause_of(error, ConnectTimeoutError) is not None:
        return f"no connection within {timeouts.connect:g} s"
    if cause_of(error, ReadTimeoutError) is not None or cause_of(error, TimeoutError) is not None:
        return f"no answer within {timeouts.read:g} s"
    if isinstance(error, (LocationParseError, UnicodeError)):
        return "the name in its address isn't valid"
    if isinstance(error, ProtocolError):
        return "what it answers isn't HTTP"
    return f"it can't be reached ({type(error).__name__})"


def address_of(url: str | None, url_from: SecretSource | None, settings: SinkSettings) -> str:
    """The address: ``url``, or what ``url_from`` refers to. Raises BadSink."""
    if url_from is not None:
        return settings.secret(url_from)
    if url is None:
        raise BadSink("either url or urlFrom is needed")
    return url


def _wait(text: str) -> float | None:
    """Seconds that a Retry-After asks for."""
    if re.fullmatch(r"[0-9]{1,12}", text.strip(), re.ASCII):
        seconds = float(text)
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError, OSError, IndexError):
            return None
    return min(seconds, _LONGEST_WAIT) if seconds > 0 else None


def _url(address: str) -> Url:
    address = address.strip()  # Secrets often end with a newline
    try:
        url = parse_url(address)
    except LocationParseError:
        raise BadSink(f"the address can't be read: {_WRITE}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise BadSink(f"the address isn't one of HTTP: {_WRITE}")
    if any(character.isspace() or not character.isprintable() for character in address):
        raise BadSink("the address has a space or a control character in it")
    return url


def _credentials(url: Url) -> dict[str, str]:
    if not url.auth:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(unquote(url.auth).encode()).decode()}"}


def _given(headers: tuple[Header, ...], settings: SinkSettings) -> dict[str, str]:
    given = {}
    for header in headers:
        if not _TOKEN.fullmatch(header.name):
            raise BadSink("headers: a name has other characters than letters, digits and !#$%&'*+.^_`|~-")
        if header.name.lower() in _OWN_HEADERS:
            raise BadSink(f"headers: {header.name} is up to the agent (compression is a setting of its own)")
        value = settings.secret(header.value_from) if header.value_from is not None else header.value or ""
        value = value.strip()
        if not _VALUE.fullmatch(value):
            raise BadSink(f"headers: the value of {header.name} has a line break or another character than ASCII in it")
        given[header.name] = value
    return given


def _over(below: Mapping[str, str], above: Mapping[str, str]) -> dict[str, str]:
    """Both sets of headers. Where names are equal, in whatever case, the second one counts."""
    names = {name.lower() for name in above}
    return {name: value for name, value in below.items() if name.lower() not in names} | dict(above)


def _pool(url: Url, settings: SinkSettings, tls: Tls | None) -> urllib3.PoolManager:
    options: dict[str, Any] = {"maxsize": 1}
    if url.scheme == "https":
        options["ssl_context"] = tls_context(tls, settings)
        if name := server_name(tls):
            options["server_hostname"] = name
        if tls is not None and tls.insecure_skip_verify:
            urllib3.disable_warnings(InsecureRequestWarning)  # it would be in the log with each request
    if settings.trusted and (proxy := _proxy(url)):
        return _proxied(proxy, options)
    return urllib3.PoolManager(**options)


def _proxy(url: Url) -> str:
    """What the variables of the environment say for this address."""
    if proxy_bypass(url.netloc or ""):
        return ""
    proxy = getproxies_environment().get(url.scheme or "", "")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _proxied(proxy: str, options: Mapping[str, Any]) -> urllib3.ProxyManager:
    try:
        parts = parse_url(proxy)
        return urllib3.ProxyManager(
            parts._replace(auth=None).url,
            proxy_headers={f"Proxy-{name}": value for name, value in _credentials(parts).items()},
            **options,
        )
    except (LocationParseError, ProxySchemeUnknown):
        raise BadSink("the variable HTTPS_PROXY or HTTP_PROXY isn't a proxy's address: http://HOST:PORT") from None
