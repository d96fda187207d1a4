"""The agent's own metrics and whether it is alive, by HTTP, and metrics by OTLP where OpenTelemetry's variables ask."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tiercel_agent.metrics.instruments import INSTRUMENTS
from tiercel_agent.metrics.readings import Bounds, Readings, RuleId, by_rule
from tiercel_agent.metrics.server import Server
from tiercel_engine.telemetry import CONTENT_TYPE, Telemetry

__all__ = ["FRESH", "Metrics", "Readings", "RuleId", "by_rule", "serve_metrics"]

LOGGER = logging.getLogger(__name__)

FRESH = 30.0
"""Seconds after which an agent that has published nothing more counts as hanging."""


class Metrics:
    """One thread publishes; others answer requests. ``clock`` is monotonic seconds. Raises OSError if the port can't be
    had."""

    def __init__(self, hostname: str, node: str, clock: Callable[[], float], host: str, port: int) -> None:
        self._clock = clock
        self._published = clock()
        self._bounds = Bounds()
        # The port first: if it is taken, nothing else is begun.
        self._server = Server(host, port, {"/metrics": self._metrics, "/healthz": self._health})
        resource = {
            "service.name": "tiercel-agent",
            "service.instance.id": node or hostname,
            "host.name": hostname,
            "k8s.node.name": node,
        }
        try:
            self._telemetry = Telemetry(resource, INSTRUMENTS, lambda line: LOGGER.warning("%s", line))
        except BaseException:
            self._server.close()
            raise
        self._server.start()

    @property
    def port(self) -> int:
        return self._server.port

    def publish(self, readings: Readings) -> None:
        """Takes what the agent has counted, about once a second. Returns at once."""
        self._published = self._clock()
        self._telemetry.publish(self._bounds.bounded(readings))

    def alive(self) -> None:
        """Says that the agent is at work although it publishes nothing new."""
        self._published = self._clock()

    def close(self) -> None:
        """Answers no more requests, and tries for some seconds at most to send the last metrics."""
        self._server.close()
        self._telemetry.close()

    def _metrics(self) -> tuple[int, str, bytes]:
        return 200, CONTENT_TYPE, self._telemetry.text()

    def _health(self) -> tuple[int, str, bytes]:
        silent = self._clock() - self._published
        if silent < FRESH:
            return 200, "text/plain", b"ok\n"
        return 503, "text/plain", f"detection hangs: no sign of it for {silent:.0f} seconds\n".encode()


def serve_metrics(
    port: int,
    *,
    hostname: str,
    node: str = "",
    host: str = "",
    clock: Callable[[], float] = time.monotonic,
) -> Metrics:
    """Serves on all addresses, or that of ``host``, until it is closed; port 0 is any that is free.

    ``node`` is this node's name in a cluster, "" elsewhere. Raises OSError if the port can't be had.
    """
    return Metrics(hostname, node, clock, host, port)
