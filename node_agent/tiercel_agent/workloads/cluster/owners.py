"""From a pod's controller up to what people made: a Deployment, a CronJob."""

from __future__ import annotations

from collections import OrderedDict
from http import HTTPStatus
from urllib.parse import quote

import orjson
import urllib3

from tiercel_agent.workloads.cluster.api import Api, ApiError
from tiercel_agent.workloads.cluster.pods import controller
from tiercel_agent.workloads.model import Owner

_PATHS = {
    ("apps", "ReplicaSet"): "/apis/apps/v1/namespaces/{namespace}/replicasets/{name}",
    ("batch", "Job"): "/apis/batch/v1/namespaces/{namespace}/jobs/{name}",
}
"""Of the kinds that others make."""
_TIMEOUT = 2.0  # seconds
_MOST = 2048
_LONGEST_CHAIN = 4


class Owners:
    """What is above an owner is asked once. A chain that can't be asked for ends early, and is asked for again."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._above: OrderedDict[str, tuple[Owner, ...]] = OrderedDict()

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
            self._above.move_to_end(owner.uid)
            return known
        try:
            answer = self._api.get(path.format(namespace=quote(namespace), name=quote(owner.name)), {}, _TIMEOUT)
            metadata = orjson.loads(answer.data)["metadata"]
            found = controller(metadata) if metadata["uid"] == owner.uid else ()
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                return ()
            found = ()
        except (urllib3.exceptions.HTTPError, OSError, ValueError, KeyError, TypeError):
            return ()
        self._above[owner.uid] = found
        if len(self._above) > _MOST:
            self._above.popitem(last=False)
        return found
