"""How soon an alert is on standard output and at an HTTP sink: from the call until a reader has it, as root."""

from __future__ import annotations

import argparse
import json
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO

RULE = """\
- rule: Secret read
  desc: a file that nobody else reads
  condition: evt.type in (open, openat) and fd.name = {path}
  output: "read file=%fd.name by=%proc.name"
  priority: WARNING
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=500)
    parser.add_argument("--between", type=float, default=0.02, metavar="SECONDS")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tiercel-bench.") as name:
        folder = Path(name)
        secret, rules = folder / "secret", folder / "rules.yaml"
        secret.write_text("x")
        rules.write_text(RULE.format(path=secret))
        arrived: list[float] = []
        server = _server(arrived)
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        tiercel = str(Path(sys.executable).with_name("tiercel"))
        command = [tiercel, "detect", "-r", str(rules), "--json", "--flood-limit", "0", "--sink", url]
        detect = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert detect.stdout is not None
        assert detect.stderr is not None
        while b"watching" not in detect.stderr.readline():
            pass
        lines: list[tuple[float, int]] = []
        reader = threading.Thread(target=_read, args=(detect.stdout, lines), daemon=True)
        reader.start()
        for _ in range(arguments.alerts):
            secret.read_text()
            time.sleep(arguments.between)
        _wait(lambda: len(lines) >= arguments.alerts and len(arrived) >= arguments.alerts)
        detect.terminate()
        detect.wait(30)
        server.shutdown()
    called = [made / 1e9 for _, made in lines]
    _tell("standard output", [1000 * (seen - made) for (seen, _), made in zip(lines, called, strict=True)])
    _tell("HTTP sink", [1000 * (seen - made) for seen, made in zip(arrived, called, strict=True)])


def _read(stream: IO[bytes], lines: list[tuple[float, int]]) -> None:
    for line in stream:
        seen = time.time()
        lines.append((seen, json.loads(line)["output_fields"]["evt.time"]))


def _server(arrived: list[float]) -> socketserver.TCPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            arrived.append(time.time())
            self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            pass

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not done() and time.monotonic() < end:
        time.sleep(0.05)


def _tell(what: str, took: list[float]) -> None:
    cuts = statistics.quantiles(took, n=100)
    print(
        f"{what}: {len(took)} alerts, milliseconds: p50 {cuts[49]:.1f}   p99 {cuts[98]:.1f}   slowest {max(took):.1f}"
    )


if __name__ == "__main__":
    main()
