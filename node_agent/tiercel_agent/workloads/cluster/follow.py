"""Following a collection of the API: it is listed once, then watched, and listed again whenever the watch fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import urllib3

from tiercel_agent.background import BackgroundThread
from tiercel_agent.backoff import Backoff
from tiercel_agent.workloads.cluster.api import Api, ApiError
from tiercel_engine.located import located

_LOG = logging.getLogger(__name__)

Json = dict[str, Any]

_WATCH_FOR = 300  # seconds after which the server ends a watch, so that watches move between servers
_ANSWER = 10.0  # seconds
_QUIET = _WATCH_FOR + 30.0
_LONGEST_PAUSE = 30.0
_LARGEST = 16 << 20  # bytes of one object
_GONE = 410

_TROUBLE = (
    ApiError,
    urllib3.exceptions.HTTPError,
    OSError,
    orjson.JSONDecodeError,
    KeyError,
    TypeError,
    ValueError,
)


class Follower:
    """Follows in a thread of its own, which calls ``replace`` with all objects and ``change`` with each that is
    added, modified (True) or deleted (False).

    ``path`` is the collection's, ``selector`` a field selector or "".
    """

    def __init__(
        self,
        api: Api,
        path: str,
        selector: str,
        replace: Callable[[list[Json]], None],
        change: Callable[[Json, bool], None],
    ) -> None:
        self.connected = False
        """Whether what was passed on last is up to date, as far as that can be known."""
        self.failure = ""
        """The last failure."""
        self._api = api
        self._path = path
        self._selector = {"fieldSelector": selector} if selector else {}
        self._replace = replace
        self._change = change
        self._thread = BackgroundThread(f"follow {path}", self._run)
        self._thread.start()

    def close(self) -> None:
        """From now on no more calls are made. The thread ends when it no longer waits for the server."""
        self._thread.stop()

    def _run(self) -> None:
        backoff = Backoff(longest=_LONGEST_PAUSE)
        while not self._thread.stopping:
            try:
                self._follow()
                backoff.worked()
            except _TROUBLE as error:
                if self.connected:
                    backoff.worked()
                pause = backoff.failed(None)
                level = logging.WARNING if backoff.failures == 1 else logging.DEBUG  # not each of many in a row
                _LOG.log(level, "%s can't be followed: %s", self._path, located(error))
                self.connected = False
                self.failure = str(error) or type(error).__name__
                self._thread.pause(pause)

    def _follow(self) -> None:
        """Lists and watches. Returns when the server no longer has the version from which the watch would go on."""
        listed = orjson.loads(self._get({"resourceVersion": "0"}, _ANSWER).data)
        self._replace(listed["items"])
        version = listed["metadata"]["resourceVersion"]
        self.connected = True
        while not self._thread.stopping:
            query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_FOR)}
            try:
                answer = self._get(query | {"resourceVersion": version}, _QUIET)
            except ApiError as error:
                if error.status == _GONE:
                    return
                raise
            try:
                for line in _lines(answer):
                    if self._thread.stopping:
                        return
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        if event["object"].get("code") == _GONE:
                            return
                        raise ValueError(event["object"].get("message"))
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._change(event["object"], event["type"] != "DELETED")
            finally:
                answer.close()

    def _get(self, query: dict[str, str], timeout: float) -> urllib3.BaseHTTPResponse:
        return self._api.get(self._path, self._selector | query, timeout)


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The lines of an answer as they arrive. Raises ValueError for a line that is too long."""
    rest = b""
    for piece in answer.stream(1 << 16, decode_content=True):
        *whole, rest = (rest + piece).split(b"\n")
        yield from filter(None, whole)
        if len(rest) > _LARGEST:
            raise ValueError(f"an object of more than {_LARGEST >> 20} MiB")
