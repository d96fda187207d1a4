"""From a pod's controller up to what people made: a Deployment, a CronJob."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tiercel_agent.workloads.cluster.pods import controller
from tiercel_agent.workloads.model import Owner

_TIMEOUT = (2.0, 2.0)  # seconds to connect and to answer
_MOST = 2048
_LONGEST_CHAIN = 4
_NOT_FOUND = 404


class Owners:
    """What is above an owner is asked once. A chain that can't be asked for ends early, and is asked for again."""

    def __init__(self, api: client.ApiClient) -> None:
        self._asks: Mapping[tuple[str, str], Callable[..., Any]] = {
            ("apps", "ReplicaSet"): client.AppsV1Api(api).read_namespaced_replica_set,
            ("batch", "Job"): client.BatchV1Api(api).read_namespaced_job,
        }
        self._above: OrderedDict[str, tuple[Owner, ...]] = OrderedDict()

    def chain(self, namespace: str, nearest: tuple[Owner, ...]) -> tuple[Owner, ...]:
        """The owners of an object, the nearest first."""
        chain = list(nearest)
        while chain and len(chain) < _LONGEST_CHAIN and (above := self._controller_of(namespace, chain[-1])):
            chain += above
        return tuple(chain)

    def _controller_of(self, namespace: str, owner: Owner) -> tuple[Owner, ...]:
        ask = self._asks.get((owner.group, owner.kind))
        if ask is None:
            return ()
        known = self._above.get(owner.uid)
        if known is not None:
            self._above.move_to_end(owner.uid)
            return known
        try:
            answer = ask(owner.name, namespace, _preload_content=False, _request_timeout=_TIMEOUT)
            metadata = orjson.loads(answer.data)["metadata"]
            found = controller(metadata) if metadata["uid"] == owner.uid else ()
        except ApiException as error:
            if error.status != _NOT_FOUND:
                return ()
            found = ()
        except (urllib3.exceptions.HTTPError, OSError, ValueError, KeyError, TypeError):
            return ()
        self._above[owner.uid] = found
        if len(self._above) > _MOST:
            self._above.popitem(last=False)
        return found
