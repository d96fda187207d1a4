"""A small HTTP server for probes and Prometheus, which any client in the cluster may try to overload.

A client may have few connections, each for a few seconds, with a request of a few kilobytes. So no client can keep a
probe from its answer, after which the kubelet would restart the agent.
"""

from __future__ import annotations

import io
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from tiercel_agent.logs import located

LOGGER = logging.getLogger(__name__)

_MOST = 64  # connections at once
_MOST_OF_ONE = 4  # from one address
_LONGEST = 5.0  # seconds of a connection
_LARGEST = 8192  # bytes of a request
_POLL = 0.25  # seconds between two looks at connections' ages

Answer = tuple[int, str, bytes]
"""Status, type of the content, content."""


class Server:
    """Answers GET for these paths. Raises OSError if the port can't be had."""

    def __init__(self, host: str, port: int, answers: Mapping[str, Callable[[], Answer]]) -> None:
        try:
            self._http = _Http(host, port, answers)
        except OSError as error:
            message = f"metrics can't be served on port {port}: {error.strerror or error}"
            raise OSError(error.errno, message) from error
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(_POLL,), name="metrics-server", daemon=True
        )

    @property
    def port(self) -> int:
        return self._http.server_port

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Takes no more connections. Those that are open end by themselves."""
        if self._thread.is_alive():
            self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, answers: Mapping[str, Callable[[], Answer]]) -> None:
        self.answers = answers
        self._lock = threading.Lock()
        self._open: dict[Any, tuple[str, float]] = {}
        both = not host and socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if both or ":" in host else socket.AF_INET
        super().__init__((host, port), _Request)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)  # HTTPServer's own asks DNS for this host's name
        self.server_name, self.server_port = "", self.server_address[1]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        address = client_address[0]
        with self._lock:
            of_one = sum(1 for other, _ in self._open.values() if other == address)
            if len(self._open) >= _MOST or of_one >= _MOST_OF_ONE:
                return False
            self._open[request] = (address, time.monotonic())
        return True

    def answered(self, request: Any) -> None:
        """Counts this connection no more: a client that has its answer may ask again at once."""
        with self._lock:
            if request in self._open:
                self._open[request] = ("", self._open[request][1])

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Ends connections that take too long. The library calls it between connections and several times a second."""
        now = time.monotonic()
        with self._lock:
            for request, (_, begun) in self._open.items():
                if now - begun > _LONGEST:
                    try:
                        request.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        continue  # it has gone by itself

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Is silent about clients that went away, and logs other errors at the level of debugging: they may be many."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            LOGGER.debug("a request for metrics failed: %s", located(error))


class _Request(BaseHTTPRequestHandler):
    server: _Http
    timeout = _LONGEST
    server_version, sys_version = "tiercel", ""

    def setup(self) -> None:
        super().setup()
        # The library would read headers of some megabytes.
        self.rfile = io.BufferedReader(io.BytesIO(self._head()))

    def _head(self) -> bytes:
        head = b""
        while len(head) < _LARGEST and b"\r\n\r\n" not in head:
            more = self.connection.recv(_LARGEST - len(head))
            if not more:
                return b""
            head += more
        return head if b"\r\n\r\n" in head else b""

    def do_GET(self) -> None:
        answer = self.server.answers.get(self.path.partition("?")[0])
        if answer is None:
            self.send_error(404)
            return
        status, kind, content = answer()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:-1])
        self.server.answered(self.request)  # before the client can know
        self.wfile.write(content[-1:])

    def log_message(self, *_: object) -> None:
        pass
