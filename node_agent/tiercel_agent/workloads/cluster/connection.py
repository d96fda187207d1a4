"""How the agent reaches the API server: as a pod does, or by a kubeconfig file."""

from __future__ import annotations

import socket
from pathlib import Path

from kubernetes import client, config

from tiercel_agent.workloads.settings import NoCluster


def connect(kubeconfig: Path | None) -> client.ApiClient:
    """A client of the API. It connects when it is first asked. Raises NoCluster."""
    settings = client.Configuration()
    try:
        if kubeconfig is not None:
            config.load_kube_config(str(kubeconfig), client_configuration=settings)
        else:
            config.load_incluster_config(client_configuration=settings)
    except (config.ConfigException, OSError, ValueError, TypeError) as error:
        raise NoCluster(f"no way to the Kubernetes API: {error}") from error
    settings.retries = False
    # A connection on which nothing comes may be dead: the kernel finds out within half a minute.
    settings.socket_options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    ]
    return client.ApiClient(settings)
