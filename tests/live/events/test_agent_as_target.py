"""What root does to the agent raises alerts of the default rules: the agent is this process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from live_support.watching import Watching

from tiercel_agent.evaluation.rule_set import default_rules
from tiercel_agent.events.own_process import own_process
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.workloads.settings import WorkloadSettings

PTRACE_SEIZE = 0x4206


@pytest.fixture(scope="module")
def watching() -> Iterator[Watching]:
    rules = "\n".join((default_rules() / name).read_text() for name in ("00-terms.yaml", "50-agent.yaml"))
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        with Watching(rules, WorkloadSettings(sockets=())) as begun:
            yield begun
    except DetectorError as error:
        if error.log:
            raise
        pytest.skip(f"live tests need eBPF: {error}")
    finally:
        signal.signal(signal.SIGUSR2, before)


def python(program: str, *arguments: object) -> Callable[[], None]:
    """A program of another process, which ends when what it did has been looked at."""

    def work() -> None:
        subprocess.run(
            [sys.executable, "-c", f"import ctypes, os, signal, sys, time\n{program}", *map(str, arguments)], check=True
        )

    return work


def show(command: list[str]) -> None:
    subprocess.run(command, check=False)


def own_map() -> int:
    return next(number for kind, number in sorted(own_process().objects) if kind == "map_id")


def raised(watching: Watching, work: Callable[[], None], rule: str, part: str) -> None:
    """Asserts that what is done raises an alert of this rule that says it."""
    before = len(watching.alerts)
    watching.during(work)
    watching.until(
        lambda: any(a.rule == rule and part in a.output for a in watching.alerts[before:]), f"{rule}: {part}"
    )


def test_a_signal_to_it(watching: Watching) -> None:
    def kill() -> None:
        subprocess.run(["/bin/kill", "-USR2", str(os.getpid())], check=True)

    raised(watching, kill, "Signal to the agent", "signal=SIGUSR2")


def test_a_signal_to_one_of_its_threads(watching: Watching) -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        tkill = "ctypes.CDLL(None).syscall(200 if os.uname().machine == 'x86_64' else 130, int(sys.argv[1]), 12)"
        raised(watching, python(tkill, thread.native_id), "Signal to the agent", "signal=SIGUSR2")
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize("opened", ["os.pidfd_open(int(sys.argv[1]))", "os.open('/proc/' + sys.argv[1], os.O_RDONLY)"])
def test_a_signal_by_a_descriptor(watching: Watching, opened: str, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    program = f"""
signal.pidfd_send_signal({opened}, signal.SIGUSR2)
while not os.path.exists({str(seen)!r}): time.sleep(0.01)
"""
    before = len(watching.alerts)
    with subprocess.Popen([sys.executable, "-c", f"import os, signal, sys, time\n{program}", str(os.getpid())]):
        watching.until(lambda: [a for a in watching.alerts[before:] if a.rule == "Signal to the agent"])
        seen.touch()


def test_a_debugger(watching: Watching) -> None:
    seize = f"ctypes.CDLL(None).ptrace({PTRACE_SEIZE}, int(sys.argv[1]), None, None)"
    raised(watching, python(seize, os.getpid()), "Agent taken over", "request=PTRACE_SEIZE")


@pytest.mark.parametrize("name", ["mem", f"task/{os.getpid()}/mem", "oom_score_adj"])
def test_its_memory_and_settings_opened_for_writing(watching: Watching, name: str) -> None:
    path = f"/proc/{os.getpid()}/{name}"
    opens = python("os.open(sys.argv[1], os.O_WRONLY)", path)
    raised(watching, opens, "Agent taken over", f"file={path}")


def test_its_maps_programs_and_links(watching: Watching) -> None:
    bpftool = shutil.which("bpftool", path=f"{os.environ['PATH']}:/usr/sbin")
    if bpftool is None:
        pytest.skip("no bpftool")
    kinds = dict(sorted(own_process().objects, reverse=True))
    assert kinds.keys() >= {"map_id", "prog_id"}
    for kind, number in kinds.items():
        command = [bpftool, kind.removesuffix("_id"), "show", "id", str(number)]
        raised(watching, partial(show, command), "Agent's eBPF reached", f"id={number}")


def test_an_attr_at_the_end_of_a_page_hides_nothing(watching: Watching) -> None:
    """As much is read of it as the kernel was told to read."""
    program = """
import mmap
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
page = mmap.PAGESIZE
start = libc.mmap(None, 2 * page, 3, 0x22, -1, 0)
libc.munmap(start + page, page)
attr = start + page - 12
ctypes.c_uint.from_address(attr).value = int(sys.argv[1])
number = 321 if os.uname().machine == "x86_64" else 280
libc.syscall(number, 14, ctypes.c_void_p(attr), 12)
"""
    number = own_map()
    raised(watching, python(program, number), "Agent's eBPF reached", f"id={number}")


def test_what_is_done_to_others_is_nothing_to_the_agent(watching: Watching) -> None:
    """Whatever they are called."""
    before = len(watching.alerts)

    def work() -> None:
        with subprocess.Popen(["sleep", "100"]) as other:
            python("open('/proc/self/comm', 'w').write('tiercel')\nos.kill(int(sys.argv[1]), 19)", other.pid)()
            python("os.open(f'/proc/{sys.argv[1]}/mem', os.O_WRONLY)", other.pid)()
            other.kill()

    watching.during(work)
    raised(watching, python("os.kill(int(sys.argv[1]), 12)", os.getpid()), "Signal to the agent", "SIGUSR2")
    assert len(watching.alerts) == before + 1
