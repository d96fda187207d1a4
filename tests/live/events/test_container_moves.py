"""Processes that change control groups: the container that an alert names, and what the filter knows of them."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from live_support.watching import Watching

from tiercel_agent.context.cgroups import mount_point, parse_membership
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.workloads.settings import WorkloadSettings

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
RULE = """
- rule: {name}
  desc: a test
  condition: evt.type in (open, openat) and fd.directory = {folder} and {condition}
  output: "%fd.filename %container.id"
  priority: NOTICE
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group with a name such as runtimes give to a container's."""
    root = mount_point()
    if os.geteuid() != 0 or root is None:
        pytest.skip("needs root and version 2 control groups")
    if parse_membership(Path("/proc/self/cgroup").read_text()).container():
        pytest.skip("the tests run in a container")
    made = Path(root, f"docker-{os.urandom(32).hex()}.scope")
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no control groups can be made: {error}")
    yield made
    made.rmdir()


def short(group: Path) -> str:
    """The id of the container whose cgroup that seems to be. No runtime vouches for it."""
    return "unknown:" + group.name.removeprefix("docker-")[:12]


@pytest.fixture
def home() -> Path:
    return Path(
        mount_point() or "/", (parse_membership(Path("/proc/self/cgroup").read_text()).unified or "").strip("/")
    )


def watch(folder: Path, **conditions: str) -> Watching:
    rules = "".join(RULE.format(name=name, folder=folder, condition=text) for name, text in conditions.items())
    watching = Watching(rules, WorkloadSettings(sockets=()))
    try:
        return watching.__enter__()
    except DetectorError as error:
        if error.log:
            raise
        pytest.skip(f"live tests need eBPF: {error}")


@pytest.fixture
def watched() -> Iterator[list[Watching]]:
    opened: list[Watching] = []
    yield opened
    for watching in opened:
        watching.__exit__(None, None, None)


def enter(group: Path) -> None:
    (group / "cgroup.procs").write_text("0")


def opened(folder: Path, name: str) -> None:
    os.close(os.open(folder / name, os.O_CREAT | os.O_RDONLY))


def test_the_filter_follows_a_process_from_group_to_group(
    group: Path, home: Path, tmp_path: Path, watched: list[Watching]
) -> None:
    watching = watch(tmp_path, inside="container.id != host", outside="container.id = host and fd.filename = end")
    watched.append(watching)

    def work() -> None:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        try:
            while not known.exists():
                opened(tmp_path, "harmless")
            for turn in range(20):
                for _ in range(20):
                    opened(tmp_path, "harmless")
                enter(group)
                for number in range(20):
                    opened(tmp_path, f"{turn}-{number}")
                enter(home)
            opened(tmp_path, "end")
        finally:
            os._exit(0)

    known = tmp_path.parent / f"{tmp_path.name}-known"
    with ThreadPoolExecutor(1) as beside:
        working = beside.submit(work)
        watching.until(lambda: watching.detector.counters().stopped > 100, "call that is stopped")
        known.touch()
        watching.until(working.done, "end of the work")
    watching.until(lambda: watching.of("outside"))
    expected = [f"{turn}-{number} {short(group)}" for turn in range(20) for number in range(20)]
    watching.until(lambda: len(watching.of("inside")) >= len(expected))  # control groups take turns
    assert [alert.output for alert in watching.of("inside")] == expected


def test_a_container_that_leaves_its_group_is_still_that_container(
    group: Path, home: Path, tmp_path: Path, watched: list[Watching]
) -> None:
    """With enough rights a process may move itself to a control group of the host. Its mount namespace still shows its
    container."""
    watching = watch(tmp_path, inside="container.id != host", outside="container.id = host")
    watched.append(watching)
    program = f"""
import os
os.close(os.open("{tmp_path}/inside", os.O_CREAT | os.O_RDONLY))
open("{home}/cgroup.procs", "w").write("0")
os.close(os.open("{tmp_path}/escaped", os.O_CREAT | os.O_RDONLY))
"""

    def work() -> None:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        try:  # as runtimes do: the group first, then the namespaces, then what is to run
            enter(group)
            ctypes.CDLL(None).unshare(CLONE_NEWNS | CLONE_NEWPID)
            first = os.fork()
            if not first:
                os.execv(sys.executable, [sys.executable, "-c", program])
            os.waitpid(first, 0)
        finally:
            os._exit(0)

    watching.during(work)
    subprocess.run(["cat", tmp_path / "inside"], check=True)  # a process of the host
    watching.until(lambda: watching.of("outside"))
    assert [alert.output for alert in watching.of("inside")] == [f"inside {short(group)}", f"escaped {short(group)}"]
    assert [alert.output for alert in watching.of("outside")] == ["inside host"]


def rooted_elsewhere(root: Path, folder: Path, *arguments: str) -> None:
    """Runs a shell's commands in namespaces of their own, with another root directory that has the folder too."""
    for name in ("usr", "dev", str(folder).strip("/")):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    mounts = f"mount --bind /usr {root}/usr && mount --bind {folder} {root}{folder} && exec chroot {root} /bin/sh -c"
    subprocess.run(
        ["unshare", "--mount", "--fork", *arguments, "sh", "-c", f'{mounts} "$0"', ": > $FOLDER/x"],
        env={**os.environ, "FOLDER": str(folder)},
        check=True,
    )


def test_namespaces_and_a_root_of_its_own_make_a_container(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, watched: list[Watching]
) -> None:
    """Whatever has made it: plain ``runc run``, systemd-nspawn, LXC. One of both alone makes none."""
    watching = watch(tmp_path, any="evt.arg.flags contains O_CREAT and proc.name = sh")
    watched.append(watching)
    for arguments in (["--pid"], []):
        root = tmp_path_factory.mktemp("root")
        watching.during(lambda root=root, arguments=arguments: rooted_elsewhere(root, tmp_path, *arguments))  # type: ignore[misc]
    watching.until(lambda: len(watching.alerts) == 2)
    first, second = (str(alert.output_fields["container.id"]) for alert in watching.alerts)
    assert first.startswith("unknown:ns-f")
    assert second == "host"


def test_a_private_view_of_the_file_system_makes_no_container(tmp_path: Path, watched: list[Watching]) -> None:
    watching = watch(tmp_path, outside="container.id = host")
    watched.append(watching)
    program = f"import os; os.open('{tmp_path}/service', os.O_CREAT | os.O_RDONLY)"
    command = ["unshare", "--mount", "--pid", "--fork", sys.executable, "-c", program]
    watching.during(lambda: subprocess.run(command, check=True))
    watching.until(lambda: watching.alerts)
    assert [alert.output for alert in watching.alerts] == ["service host"]


def test_a_container_that_is_there_before_the_detector_and_leaves_then(
    group: Path, home: Path, tmp_path: Path, watched: list[Watching]
) -> None:
    program = f"""
import os, sys
print("ready", flush=True)
sys.stdin.readline()
open("{home}/cgroup.procs", "w").write("0")
os.close(os.open("{tmp_path}/escaped", os.O_CREAT | os.O_RDONLY))
"""
    command = f'echo 0 > {group}/cgroup.procs && exec unshare --mount --pid --fork "$@"'
    arguments = ["sh", "-c", command, "sh", sys.executable, "-c", program]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        watching = watch(tmp_path, inside="container.id != host")
        watched.append(watching)
        child.stdin.write(b"go\n")
        child.stdin.flush()
        watching.until(lambda: watching.alerts)
        assert [alert.output for alert in watching.alerts] == [f"escaped {short(group)}"]
