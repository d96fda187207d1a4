"""Which runtime listens on a socket, by what it answers."""

from __future__ import annotations

import asyncio
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from agent_support.cri_server import CriServer
from agent_support.finding import IN_POD, Finding

from tiercel_agent.workloads.runtimes.model import CONTAINERD, CRI, DOCKER, NoAnswer, Socket
from tiercel_agent.workloads.runtimes.recognition import recognise


@pytest.mark.parametrize(
    ("runtime", "interface", "name"),
    [
        ("containerd", CONTAINERD, "containerd"),
        ("cri-o", CRI, "cri-o"),
        ("docker", CRI, "docker"),
        ("Other\x1b", CRI, "other\\x1b"),
    ],
)
def test_a_runtime_is_recognised_by_its_answer(tmp_path: Path, runtime: str, interface: str, name: str) -> None:
    path = tmp_path / "docker.sock"  # whatever it is called
    with CriServer(path, runtime=runtime):
        assert asyncio.run(recognise(path)) == Socket(path, interface, frozenset({name}))


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """A socket that gives each client the same answer."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(answer)

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Api-Version: 1.44", "docker"),
        ("Libpod-API-Version: 5.0.0\r\nApi-Version: 1.41", "podman"),
        ("Server: x", None),
    ],
)
def test_docker_and_podman_are_recognised_by_their_ping(tmp_path: Path, header: str, name: str | None) -> None:
    path = tmp_path / "containerd.sock"
    with answering(path, f"HTTP/1.0 200 OK\r\n{header}\r\nContent-Length: 2\r\n\r\nOK".encode()):
        if name is None:
            with pytest.raises(NoAnswer, match="no container runtime"):
                asyncio.run(recognise(path))
        else:
            assert asyncio.run(recognise(path)) == Socket(path, DOCKER, frozenset({name}))


@pytest.mark.parametrize("answer", [b"", b"\r\n\r\n", b"x" * 100_000])
def test_what_is_no_runtime_is_told(tmp_path: Path, finding: Callable[..., Finding], answer: bytes) -> None:
    path = tmp_path / "containerd.sock"
    with answering(path, answer):
        search = finding(path)
        search.finder.find(IN_POD)
        while not search.finder.failure:
            time.sleep(0.01)
        assert search.finder.failure == f"{path}: no container runtime answers there"
