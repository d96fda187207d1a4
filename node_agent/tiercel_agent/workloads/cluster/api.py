"""Requests to the Kubernetes API, with a pod's service account or as a kubeconfig says.

The agent runs on every node and asks for little, so it doesn't load the client library of Kubernetes, which takes 45 MB
of memory. The library is imported only to read a kubeconfig, which no agent in a cluster has.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import urllib3

from tiercel_agent.workloads.settings import SERVICE_ACCOUNT, NoCluster

CONNECT_TIMEOUT = 3.0  # seconds
_LONGEST_REASON = 4096  # bytes

# A connection on which nothing comes may be dead: the kernel finds out within half a minute.
_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class ApiError(Exception):
    """The server refused the request; ``status`` is the HTTP status code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status


class Api:
    """An API server. ``authorization`` gives the value of the header for each request, since tokens change."""

    def __init__(
        self, server: str, certificates: ssl.SSLContext | None, authorization: Callable[[], str | None]
    ) -> None:
        self._server = server.rstrip("/")
        self._authorization = authorization
        self._pool = urllib3.PoolManager(
            ssl_context=certificates, retries=False, maxsize=4, socket_options=_SOCKET_OPTIONS
        )

    def get(self, path: str, query: Mapping[str, str], timeout: float) -> urllib3.BaseHTTPResponse:
        """The answer, whose body is not read yet; ``timeout`` is the most seconds between two pieces of it.

        Raises ApiError, urllib3's errors, and OSError if there is no token.
        """
        return self._request("GET", f"{path}?{urlencode(query)}", timeout)

    def apply(self, path: str, manager: str, body: Mapping[str, Any], timeout: float) -> None:
        """Server-side apply of an object, or of its status. Raises as ``get``."""
        query = urlencode({"fieldManager": manager, "force": "true"})
        self._request("PATCH", f"{path}?{query}", timeout, orjson.dumps(body), "application/apply-patch+yaml").close()

    def create(self, path: str, body: Mapping[str, Any], timeout: float) -> None:
        """Creates an object in the collection. Raises as ``get``."""
        self._request("POST", path, timeout, orjson.dumps(body), "application/json").close()

    def merge(self, path: str, body: Mapping[str, Any], timeout: float) -> None:
        """Changes an object by the merge patch ``body`` (RFC 7386). Raises as ``get``."""
        self._request("PATCH", path, timeout, orjson.dumps(body), "application/merge-patch+json").close()

    def _request(
        self, method: str, path: str, timeout: float, body: bytes | None = None, content_type: str = ""
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json"}
        authorization = self._authorization()
        if authorization:
            headers["Authorization"] = authorization
        if content_type:
            headers["Content-Type"] = content_type
        answer = self._pool.request(
            method,
            f"{self._server}{path}",
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=timeout),
            preload_content=False,
        )
        if answer.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            reason = _reason(answer)
            answer.close()
            raise ApiError(answer.status, reason)
        return answer


def _reason(answer: urllib3.BaseHTTPResponse) -> str:
    try:
        return str(orjson.loads(answer.read(_LONGEST_REASON))["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError, urllib3.exceptions.HTTPError):
        return answer.reason or ""


def connect(kubeconfig: Path | None) -> Api:
    """The API of the cluster that a kubeconfig names, or else of the one that this process runs in. Raises
    NoCluster."""
    try:
        return _by_kubeconfig(kubeconfig) if kubeconfig is not None else _in_cluster()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoCluster(f"no way to the Kubernetes API: {error}") from error


def _in_cluster() -> Api:
    """By what the kubelet provides for pods (kubernetes.io, "Accessing the Kubernetes API from a Pod")."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    certificates = ssl.create_default_context(cafile=SERVICE_ACCOUNT / "ca.crt")
    token = SERVICE_ACCOUNT / "token"
    host = f"[{host}]" if ":" in host else host
    return Api(f"https://{host}:{port}", certificates, lambda: f"Bearer {token.read_text().strip()}")


def _by_kubeconfig(kubeconfig: Path) -> Api:
    from kubernetes import client, config  # noqa: PLC0415 (see above)

    settings = client.Configuration()
    try:
        config.load_kube_config(str(kubeconfig), client_configuration=settings)
    except config.ConfigException as error:
        raise ValueError(str(error)) from error
    certificates = None
    if settings.host.startswith("https:"):
        certificates = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        if not settings.verify_ssl:
            certificates.check_hostname, certificates.verify_mode = False, ssl.CERT_NONE
        if settings.cert_file:
            certificates.load_cert_chain(settings.cert_file, settings.key_file)

    def authorization() -> str | None:
        value = settings.auth_settings().get("BearerToken", {}).get("value")
        return str(value) if value else None

    return Api(settings.host, certificates, authorization)
