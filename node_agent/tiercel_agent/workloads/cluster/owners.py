"""The owners of a pod, from its controller up to the object that people made: a Deployment, a CronJob."""

from __future__ import annotations

import logging
from http import HTTPStatus
from urllib.parse import quote

import orjson
import urllib3
from cachetools import LRUCache

from tiercel_agent.workloads.cluster.api import Api, ApiError
from tiercel_agent.workloads.cluster.pods import controller
from tiercel_agent.workloads.model import Owner
from tiercel_engine.located import located

_LOG = logging.getLogger(__name__)
_PATHS = {
    ("apps", "ReplicaSet"): "/apis/apps/v1/namespaces/{namespace}/replicasets/{name}",
    ("batch", "Job"): "/apis/batch/v1/namespaces/{namespace}/jobs/{name}",
}
"""The paths of the kinds that may have an owner themselves."""
_TIMEOUT = 2.0  # seconds
_MOST = 2048
_LONGEST_CHAIN = 4


class Owners:
    """Asks for the owner of each owner once. A chain ends early where the answer can't be had, and is asked for again
    the next time."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._above: LRUCache[str, tuple[Owner, ...]] = LRUCache(_MOST)

    def chain(self, namespace: str, nearest: tuple[Owner, ...]) -> tuple[Owner, ...]:
        """The owners of an object, the nearest first."""
        chain = list(nearest)
        while chain and len(chain) < _LONGEST_CHAIN and (above := self._controller_of(namespace, chain[-1])):
            chain += above
        return tuple(chain)

    def _controller_of(self, namespace: str, owner: Owner) -> tuple[Owner, ...]:
        path = _PATHS.get((owner.group, owner.kind))
        if path is None:
            return ()
        known = self._above.get(owner.uid)
        if known is not None:
            return known
        try:
            answer = self._api.get(path.format(namespace=quote(namespace), name=quote(owner.name)), {}, _TIMEOUT)
            metadata = orjson.loads(answer.data)["metadata"]
            above = controller(metadata) if metadata["uid"] == owner.uid else ()
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                _LOG.info("the owner of %s %s is unknown: %s", owner.kind, owner.name, located(error))
                return ()
            above = ()
        except (urllib3.exceptions.HTTPError, OSError, ValueError, KeyError, TypeError) as error:
            _LOG.info("the owner of %s %s is unknown: %s", owner.kind, owner.name, located(error))
            return ()
        self._above[owner.uid] = above
        return above
