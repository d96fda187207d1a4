"""What an API server says of custom resources in the moment in which it starts, for as long as a test wants."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path


@contextmanager
def starting_server(port: int, certificate: Path) -> Iterator[list[str]]:
    """Answers at a port of loopback that there is nothing, until the block is left. Gives the paths asked for so far.

    ``certificate`` is that of the API server, whose key lies beside it.
    """
    asked: list[str] = []

    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = b"404 page not found\n"
            self.send_response(HTTPStatus.NOT_FOUND)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_PATCH = do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Nothing) as server:
        # shaken hands with in the thread of each client, so that a silent one holds up no other
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield asked
        finally:
            server.shutdown()
            serving.join()
