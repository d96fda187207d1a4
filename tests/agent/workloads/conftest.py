"""Searches for containers, ended after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_support.cri_server import CriServer
from agent_support.finding import IN_POD, Finding, Look

from tiercel_agent.context.container import ContainerId
from tiercel_agent.workloads.model import Container


@pytest.fixture
def finding() -> Iterator[Callable[..., Finding]]:
    opened: list[Finding] = []

    def begin(*paths: Path, **options: tuple[str, ...]) -> Finding:
        opened.append(Finding(*paths, **options))
        return opened[-1]

    yield begin
    for search in opened:
        search.finder.close()


@pytest.fixture
def look(tmp_path: Path, finding: Callable[..., Finding]) -> Iterator[Look]:
    """The container as it is read from the given answers of a CRI-O."""
    servers: list[CriServer] = []

    def begin(asked: ContainerId = IN_POD, annotations: tuple[str, ...] = (), **answers: object) -> Container | None:
        server = CriServer(tmp_path / f"crio-{len(servers)}.sock", **answers)  # type: ignore[arg-type]
        servers.append(server.__enter__())
        return finding(server.path, annotations=annotations).look(asked)

    yield begin
    for server in servers:
        server.__exit__(None, None, None)
