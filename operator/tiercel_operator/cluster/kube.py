"""The few requests that the operator makes of the API server, by the Kubernetes client."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import urllib3
from kubernetes import client, config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError, DynamicApiError, ForbiddenError, NotFoundError

from tiercel_engine.api_group import API_VERSION
from tiercel_engine.located import located
from tiercel_engine.nesting import read_json

MANAGER = "tiercel-operator"
_TIMEOUT = 10.0  # seconds
_LIST_TIMEOUT = 60.0
PAGE = 25
"""Objects in one answer, of which each may have 1.5 MiB."""
_WATCH_FOR = 300
"""Seconds after which the server ends a watch, so that watches move between servers."""
_LARGEST = 16 << 20  # bytes of one object

API_ERRORS = (DynamicApiError, urllib3.exceptions.HTTPError, OSError)
"""What a request may raise. Each is worth another try later."""


def error_text(error: BaseException) -> str:
    """An error of a request in one line for the log: what the API server says, and where the request was made."""
    return f"{_message(error)} ({located(error)})"


def _message(error: BaseException) -> str:
    if isinstance(error, DynamicApiError):
        try:
            return f"{error.status} {json.loads(error.body or '')['message']}"
        except (ValueError, KeyError, TypeError):
            return f"{error.status} {error.reason}"
    return str(error)


class Expired(Exception):
    """A watch can't go on from a version: what is there has to be listed again."""


class Kube:
    """Every method is one request, and may raise one of ``API_ERRORS``. Objects are JSON, as dicts.

    The client doesn't read answers itself: it couldn't read what is nested too deeply, such as a list with one object
    that a tenant has made for that.
    """

    def __init__(self, kubeconfig: Path | None) -> None:
        settings = client.Configuration()
        if kubeconfig is not None:
            config.load_kube_config(str(kubeconfig), client_configuration=settings)
        else:
            config.load_incluster_config(client_configuration=settings)
        self._client = DynamicClient(client.ApiClient(settings))

    def version(self) -> tuple[int, int]:
        """The version of the API server: major and minor."""
        version = self._client.version["kubernetes"]
        return int(version["major"]), int("".join(filter(str.isdigit, version["minor"])))

    def check_ready(self) -> None:
        """Raises one of ``API_ERRORS`` unless the API server serves all that it is going to serve. One that is starting
        says for a moment that there are no custom resources."""
        with contextlib.suppress(ForbiddenError):  # it answers, and more it doesn't want to tell
            self._client.request("get", "/readyz", serialize=False, _request_timeout=_TIMEOUT)

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """The object, or None if there is none."""
        address = quote(name, safe="")  # the client puts it into the path as it is, and tenants name Secrets
        try:
            answer = self._resource(api_version, kind).get(
                name=address, namespace=namespace, serialize=False, _request_timeout=_TIMEOUT
            )
        except NotFoundError:
            return None
        return _object(answer)

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply: changes that others have made are undone. Returns the object as it is then."""
        metadata = body["metadata"]
        answer = self._resource(body["apiVersion"], body["kind"]).server_side_apply(
            body=dict(body),
            name=metadata["name"],
            namespace=metadata.get("namespace"),
            field_manager=MANAGER,
            force_conflicts=True,
            serialize=False,
            _request_timeout=_TIMEOUT,
        )
        return _object(answer)

    def write_status(
        self, kind: str, name: str, namespace: str | None, status: Mapping[str, Any], before: Mapping[str, Any]
    ) -> bool:
        """Writes a status in place of the one ``before``; False if the object is gone."""
        body = {"status": _merge_patch(before, status)}
        try:
            self._resource(API_VERSION, kind).status.patch(
                body=body,
                name=name,
                namespace=namespace,
                content_type="application/merge-patch+json",
                serialize=False,
                _request_timeout=_TIMEOUT,
            )
        except NotFoundError:
            return False
        return True

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> None:
        """Deletes an object. Nothing happens if it is gone already."""
        try:
            self._resource(api_version, kind).delete(
                name=name, namespace=namespace, serialize=False, _request_timeout=_TIMEOUT
            )
        except NotFoundError:
            return

    def pages(self, api_version: str, kind: str, namespace: str | None = None) -> Iterator[Sequence[dict[str, Any]]]:
        """All objects of a kind, of one namespace or of all: some at a time."""
        resource, token = self._resource(api_version, kind), ""
        while True:
            answer = _object(
                resource.get(
                    namespace=namespace,
                    limit=PAGE,
                    _continue=token or None,
                    serialize=False,
                    _request_timeout=_LIST_TIMEOUT,
                )
            )
            yield answer["items"] or []
            token = answer["metadata"].get("continue") or ""
            if not token:
                return

    def list(self, api_version: str, kind: str, namespace: str | None = None) -> list[dict[str, Any]]:
        """The same, all at once."""
        return [item for page in self.pages(api_version, kind, namespace) for item in page]

    def list_path(self, path: str, labels: str) -> tuple[Sequence[dict[str, Any]], str]:
        """The objects of a collection that have these labels, and the version from which a watch goes on."""
        answer = self._client.request(
            "get", path, query_params=[("labelSelector", labels)], serialize=False, _request_timeout=_LIST_TIMEOUT
        )
        listed = _object(answer)
        return listed["items"] or (), str(listed["metadata"]["resourceVersion"])

    def watch_path(self, path: str, labels: str, version: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """What happens to those objects from a version on: ADDED, MODIFIED or DELETED and the object, or BOOKMARK and
        the version alone. Ends after some minutes. Raises Expired if the version is too old."""
        query = {
            "labelSelector": labels,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_FOR),
        }
        answer = self._client.request(
            "get", path, query_params=list(query.items()), serialize=False, _request_timeout=_WATCH_FOR + _TIMEOUT
        )
        try:
            for line in _lines(answer):
                event = read_json(line)
                if event["type"] == "ERROR":
                    raise Expired(str(event["object"].get("message")))
                yield event["type"], event["object"]
        finally:
            answer.close()

    def create(self, body: Mapping[str, Any]) -> bool:
        """Creates an object; False if it is there already."""
        metadata = body["metadata"]
        try:
            self._resource(body["apiVersion"], body["kind"]).create(
                body=dict(body), namespace=metadata.get("namespace"), serialize=False, _request_timeout=_TIMEOUT
            )
        except ConflictError:
            return False
        return True

    def replace(self, body: Mapping[str, Any]) -> bool:
        """Replaces an object in the version that it was read in; False if it is another by now."""
        metadata = body["metadata"]
        try:
            self._resource(body["apiVersion"], body["kind"]).replace(
                body=dict(body),
                name=metadata["name"],
                namespace=metadata.get("namespace"),
                serialize=False,
                _request_timeout=_TIMEOUT,
            )
        except (ConflictError, NotFoundError):
            return False
        return True

    def post_event(self, event: Mapping[str, Any]) -> None:
        """Creates a Kubernetes Event."""
        namespace = event["metadata"]["namespace"]
        self._resource("v1", "Event").create(
            body=dict(event), namespace=namespace, serialize=False, _request_timeout=_TIMEOUT
        )

    def _resource(self, api_version: str, kind: str) -> Any:
        return self._client.resources.get(api_version=api_version, kind=kind)


def _merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch from ``before`` to ``after``: all that is to be there, and null for each key that is to go."""
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        old = before.get(key)
        patch[key] = (
            _merge_patch(old if isinstance(old, Mapping) else {}, value) if isinstance(value, Mapping) else value
        )
    return patch


def _lines(answer: Any) -> Iterator[bytes]:
    """The lines of an answer as they arrive. Raises ValueError for a line that is too long."""
    rest = b""
    for piece in answer.stream(1 << 16, decode_content=True):
        *whole, rest = (rest + piece).split(b"\n")
        yield from filter(None, whole)
        if len(rest) > _LARGEST:
            raise ValueError(f"an object of more than {_LARGEST >> 20} MiB")


def _object(answer: Any) -> dict[str, Any]:
    """The object in an answer of the API server."""
    read: dict[str, Any] = read_json(answer.data)
    return read
