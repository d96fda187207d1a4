"""The process that asks the runtimes: what it may, and what becomes of the agent's questions when it fails."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from agent_support.cri_server import ID, CriServer, cgroup

from tiercel_agent.workloads.model import Container, Image, Mount, Pod
from tiercel_agent.workloads.runtimes import remote
from tiercel_agent.workloads.runtimes.model import NoAnswer
from tiercel_agent.workloads.runtimes.packets import (
    Question,
    Reply,
    question_line,
    read_question,
    read_reply,
    reply_line,
)
from tiercel_agent.workloads.runtimes.remote import RuntimeProcess

T = TypeVar("T")


def with_process(path: Path, act: Callable[[RuntimeProcess], Awaitable[T]]) -> T:
    async def work() -> T:
        process = RuntimeProcess([path])
        try:
            return await act(process)
        finally:
            await process.close()

    return asyncio.run(work())


async def name(process: RuntimeProcess, path: Path) -> str:
    found = await process.ask(path, ID, in_pod=True)
    assert found is not None
    return found.name


def test_it_has_no_powers_and_makes_calls_that_change_nothing(tmp_path: Path) -> None:
    async def look(process: RuntimeProcess) -> dict[str, str]:
        assert await name(process, server.path) == "web"
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}

    with CriServer(tmp_path / "crio.sock") as server:
        told = with_process(server.path, look)
        assert set(server.asked) <= {"ContainerStatus", "ListContainers", "PodSandboxStatus", "ImageStatus"}
    assert {int(told[each], 16) for each in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert told["NoNewPrivs"] == "1"


def test_the_agent_itself_reads_nothing_that_a_runtime_says(tmp_path: Path) -> None:
    """The libraries that do aren't even loaded in it."""
    program = """
import queue, sys
from pathlib import Path
from tiercel_agent.context.container import ContainerId
from tiercel_agent.workloads.runtimes.finder import ContainerFinder
news = queue.SimpleQueue()
finder = ContainerFinder([Path(sys.argv[1])], (), news.put)
finder.find(ContainerId(sys.argv[2], "cri-o", cgroup=sys.argv[3]))
print(news.get(timeout=60).container.name, *({"grpc", "docker", "google.protobuf"} & set(sys.modules)))
finder.close()
"""
    with CriServer(tmp_path / "crio.sock") as server:
        done = subprocess.run(
            [sys.executable, "-c", program, str(server.path), ID, cgroup()],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    assert done.stdout.split() == ["web"]


def test_one_that_has_ended_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_RESTART", 0.0)

    async def ask_twice(process: RuntimeProcess) -> None:
        assert await name(process, server.path) == "web"
        pid = process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert await name(process, server.path) == "web"
        assert process.pid not in (None, pid)

    with CriServer(tmp_path / "crio.sock") as server:
        with_process(server.path, ask_twice)


def test_whoever_waits_for_one_that_ends_is_told(tmp_path: Path) -> None:
    async def end_meanwhile(process: RuntimeProcess) -> None:
        asked = asyncio.create_task(process.ask(tmp_path / "crio.sock", ID, in_pod=True))
        while process.pid is None:
            await asyncio.sleep(0)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(NoAnswer, match="has ended"):
            await asked

    with_process(tmp_path / "crio.sock", end_meanwhile)


def test_a_runtime_that_makes_its_folder_anew_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_RESTART", 0.0)
    folder = tmp_path / "run"
    path = folder / "crio.sock"

    async def look(process: RuntimeProcess) -> None:
        for _ in range(2):
            with pytest.raises(NoAnswer, match=str(path)):  # as the agent knows it, and not as the process does
                await process.ask(path, ID, in_pod=True)
            folder.mkdir()
            with CriServer(path):
                assert await name(process, path) == "web"
            folder.rename(tmp_path / "old")
            shutil.rmtree(tmp_path / "old")

    with_process(path, look)


def test_containers_come_over_as_they_were() -> None:
    pod = Pod("shop", "web", "u", {"app": "\udcff"}, {"a": "b"}, ip="10.0.0.1")
    image, mount = Image("n", "r", "t", "d", "i"), Mount("/a", "/b", "m", False, "rslave")
    for each in (
        Container("x"),
        Container("x", "n", "cri-o", image, True, False, None, True, (mount,), 5, {"k": "v"}, "10.0.0.2", "{}", "h"),
        Container("x", sandbox_id="s", pod=pod),
    ):
        assert read_reply(reply_line(Reply(7, each))) == Reply(7, each)
    assert read_reply(reply_line(Reply(8))) == Reply(8)
    assert read_reply(reply_line(Reply(8, interface="cri", runtime="cri-o"))) == Reply(8, None, "cri", "cri-o")
    assert read_reply(reply_line(Reply(9, failure="x" * 9999))).failure == "x" * 1024
    assert read_question(question_line(Question(1, 2, "x", True))) == Question(1, 2, "x", True)


@pytest.mark.parametrize(
    "line",
    [
        *(b"\n", b"[]\n", b"5\n", b"{}\n", b'{"number": "1"}\n', b'{"number": true}\n', b"\xff\n", b"[" * 100_000),
        *(b'{"number": 1, "container": 5}\n', b'{"number": 1, "container": {"id": 5}}\n'),
        *(b'{"number": 1, "container": {"id": "x", "mounts": [1]}}\n', b'{"number": 1, "failure": {}}\n'),
        b'{"number": 1, "container": {"id": "x", "labels": {"a": 1}}}\n',
        b'{"number": 1, "interface": "ssh", "runtime": "x"}\n',
        b'{"number": 1, "interface": "cri", "runtime": "\\u001b[2J"}\n',
        b'{"number": 1, "interface": "cri", "runtime": "' + b"x" * 100 + b'"}\n',
        b'{"number": 1, "failure": "' + b"x" * 2000 + b'"}\n',
    ],
)
def test_what_is_no_reply(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_reply(line)


IN_THE_POD = """
import asyncio, sys
from pathlib import Path
from tiercel_agent.workloads.runtimes.remote import RuntimeProcess
path = Path(sys.argv[1])
async def look():
    process = RuntimeProcess([path])
    print((await process.ask(path, sys.argv[2], in_pod=True)).name)
    await process.close()
asyncio.run(look())
"""


def test_a_socket_of_the_node_is_reached_by_way_of_its_first_process(
    tmp_path: Path, contained: Callable[..., subprocess.Popen[str]]
) -> None:
    """With the powers that the agent has in its pod, where nothing of the node's /run is mounted."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("needs root and setpriv")
    powers = "-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search"
    with CriServer(tmp_path / "crio.sock") as server:
        server.path.chmod(0o600)
        first = contained(tmp_path).pid
        done = subprocess.run(
            [
                *(setpriv, f"--bounding-set={powers}", "--inh-caps=-all", "--no-new-privs"),
                *(sys.executable, "-c", IN_THE_POD, f"/proc/{first}/root/crio.sock", ID),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.stdout.split() == ["web"], done.stderr
