"""What delivering alerts costs and keeps: a steady stream to an HTTP server, and an hour in which there is none.

    python bench/delivery.py [stream|outage]

The sender has one core of its own, the receiver is another process.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tiercel_agent.delivery.dispatcher import Dispatcher
from tiercel_agent.delivery.queues.spool_folders import SpoolSettings
from tiercel_agent.sinks.factory import open_sink
from tiercel_agent.sinks.model import Place, SinkSettings
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.encoding import from_json

RATE = 2_000  # alerts a second
SECONDS = 20
OUTAGE = 360_000  # an hour at 100 a second
OUTAGE_RATE = 6_000
PLACE = Place("node-1")


def alert(number: int) -> Alert:
    fields: dict[str, Any] = {
        "number": number,
        "evt.time": time.time_ns(),
        "proc.cmdline": "cat /etc/shadow --with some more arguments as command lines have them",
        "proc.exepath": "/usr/bin/cat",
        "fd.name": "/etc/shadow",
        "user.name": "root",
        "container.id": "08b1b6f1734b",
        "container.name": "main",
        "container.image.repository": "docker.io/library/nginx",
        "k8s.ns.name": "shop",
        "k8s.pod.name": "web-5d8f-x",
        "k8s.pod.labels": "app:web, tier:front",
        "k8s.owner.kind": "Deployment",
        "k8s.owner.name": "web",
    }
    output = "Sensitive file opened for reading (file=/etc/shadow process=cat user=root container=main)"
    return Alert(time.time_ns(), "Read", Priority.WARNING, "syscall", "node-1", output, ("a", "b"), fields)


def receive(port: int, told: Connection) -> None:
    """Runs an HTTP server that answers, over a pipe, how many alerts came and whether they came in order."""
    numbers: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                numbers.extend(each["output_fields"]["number"] for each in (body if isinstance(body, list) else [body]))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        await asyncio.start_server(serve, "127.0.0.1", port, reuse_address=True)
        told.send("ready")
        while True:
            await asyncio.sleep(0.05)
            if told.poll():
                told.recv()
                told.send((len(numbers), len(set(numbers)), numbers == sorted(numbers)))

    asyncio.run(main())


class Receiver:
    def __init__(self, port: int) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(target=receive, args=(port, theirs), daemon=True)
        self._process.start()
        self._ours.recv()

    def counts(self) -> tuple[int, int, bool]:
        """How many alerts came, how many different ones, and whether they came in order."""
        self._ours.send("how many")
        counts: tuple[int, int, bool] = self._ours.recv()
        return counts

    def stop(self) -> None:
        self._process.kill()
        self._process.join()


def sink(port: int, batch: int) -> SinkSettings:
    http = {"url": f"http://127.0.0.1:{port}/", "batch": {"size": batch}}
    return SinkSettings("bench", from_json(AlertSinkSpec, {"http": http}))


def opened(folder: Path) -> Dispatcher:
    return Dispatcher(lambda settings: open_sink(settings, PLACE), SpoolSettings(folder))


def feed(dispatcher: Dispatcher, count: int, rate: int) -> None:
    begun = time.monotonic()
    for number in range(count):
        dispatcher.put(alert(number))
        if number % 50 == 0:
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))


def stream(folder: Path, batch: int, port: int) -> None:
    receiver = Receiver(port)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    dispatcher = opened(folder)
    dispatcher.use([sink(port, batch)])
    before, begun = os.times(), time.monotonic()
    feed(dispatcher, RATE * SECONDS, RATE)
    fed = time.monotonic() - begun
    while receiver.counts()[0] < RATE * SECONDS and not dispatcher.dropped:
        time.sleep(0.05)
    took, after = time.monotonic() - begun, os.times()
    cpu = after.user + after.system - before.user - before.system
    count, different, ordered = receiver.counts()
    print(
        f"batch {batch:3}: {count} of {RATE * SECONDS} alerts at {RATE}/s, {took - fed:.2f} s behind at the end, "
        f"{100 * cpu / took:.0f} % of a core with making them, {'in order' if ordered else 'OUT OF ORDER'}, "
        f"{count - different} twice, {dispatcher.dropped} dropped"
    )
    dispatcher.close()
    receiver.stop()


def outage(folder: Path, port: int) -> None:
    dispatcher = opened(folder)
    dispatcher.use([sink(port, 100)])
    feed(dispatcher, 1000, OUTAGE_RATE)  # so that what is loaded at the first alert isn't measured
    at_first = _memory()
    begun = time.monotonic()
    for number in range(1000, OUTAGE):
        dispatcher.put(alert(number))
        if number % 100 == 0:
            time.sleep(max(0.0, begun + (number - 1000) / OUTAGE_RATE - time.monotonic()))
    (report,) = dispatcher.delivery_reports()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) >> 20
    print(
        f"down: {report.totals.queued} wait in {size} MiB, {report.totals.retried} attempts, "
        f"memory {at_first} → {_memory()} MiB, {report.totals.lost} lost, {dispatcher.dropped} dropped"
    )
    receiver, begun = Receiver(port), time.monotonic()
    while receiver.counts()[0] < OUTAGE:
        time.sleep(0.2)
    count, different, ordered = receiver.counts()
    print(
        f"up again: {count} came, {different} different, {'in order' if ordered else 'OUT OF ORDER'}, "
        f"after {time.monotonic() - begun:.0f} s; memory {_memory()} MiB, "
        f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB"
    )
    dispatcher.close()
    receiver.stop()


def _memory() -> int:
    """Resident MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def main() -> None:
    wanted = sys.argv[1:] or ["stream", "outage"]
    for number, (name, run) in enumerate(
        (
            ("outage", lambda folder: outage(folder, 18080)),
            ("stream", lambda folder: stream(folder, 1, 18081)),
            ("stream", lambda folder: stream(folder, 100, 18082)),
        )
    ):
        if name in wanted:
            with tempfile.TemporaryDirectory(prefix="tiercel-bench.") as folder:
                run(Path(folder) / str(number))


if __name__ == "__main__":
    main()
