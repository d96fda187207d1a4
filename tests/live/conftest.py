"""Real system calls through the real kernel.

`run` forks a child that makes the calls; a marker before and after tells which of its events count. The child lives
until the test ends, since some fields are looked up in its root directory.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from live_support.deprived import Detect, detect_in
from live_support.filter_rules import Pair

from tiercel_agent.detection.detector import Detector, open_detector
from tiercel_agent.events.syscalls import BY_NAME, native_numbers
from tiercel_agent.kernel.errors import DetectorError
from tiercel_engine.event import Event
from tiercel_engine.event_types import SYSCALL_EVENT_TYPES
from tiercel_engine.matching.requirements import Requirements

# Seconds until a test gives up on an event; nothing is ever waited out. Emulated machines take longer.
_DEADLINE = float(os.environ.get("TIERCEL_TEST_DEADLINE", "60"))
_FEW = 100  # events of other processes, which come all the time
_MARK = 0x7FFFFFFF  # kill() of a pid that can't be
_LIBC = ctypes.CDLL(None, use_errno=True)
_TESTS = os.getpid()
_runner = 0
"""The child of the runner, in itself."""
_LIBC.syscall.restype = ctypes.c_long


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.live)


def everything() -> Requirements:
    return Requirements(SYSCALL_EVENT_TYPES, frozenset({"proc.env", "proc.cwd", "evt.buffer"}), frozenset())


@pytest.fixture(scope="session")
def opened_detectors() -> Iterator[Callable[[Requirements], Detector]]:
    """Opens detectors and closes them at the end; skips where there can be none."""
    opened: list[Detector] = []

    def start(requirements: Requirements) -> Detector:
        if os.geteuid() != 0:
            pytest.skip("live tests need root")
        try:
            opened.append(open_detector(requirements))
        except DetectorError as error:
            if error.log:  # this machine could, the programs couldn't
                raise
            pytest.skip(f"live tests need eBPF: {error}")
        return opened[-1]

    yield start
    for detector in opened:
        detector.close()


@pytest.fixture(scope="session")
def state_of_detect(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `tiercel detect` finds the programs that it compiled for another test."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def detect(tmp_path: Path, opened_detectors: object, state_of_detect: Path) -> Detect:
    """`tiercel detect` in a child: ``detect_in``."""
    if os.geteuid() != 0:
        pytest.skip("live tests need root")
    return detect_in(tmp_path, state_of_detect)


@pytest.fixture(scope="session")
def elder() -> Iterator[subprocess.Popen[bytes]]:
    """A process that was there before the detector. It waits for a line, opens the file that it names, and ends."""
    program = "import os, sys; os.open(sys.stdin.readline().strip(), os.O_RDONLY)"
    with subprocess.Popen([sys.executable, "-c", program, "an elder"], stdin=subprocess.PIPE, bufsize=0) as process:
        while b"an elder" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            os.sched_yield()
        yield process
        with suppress(OSError):
            process.kill()


@pytest.fixture(scope="session")
def detector(elder: subprocess.Popen[bytes], opened_detectors: Callable[[Requirements], Detector]) -> Detector:
    """Watches every type of event with everything that can be asked for."""
    return opened_detectors(everything())


def _skip(reason: str) -> NoReturn:
    """In a child that nobody takes the exception from, it would have the child run the other tests too."""
    if os.getpid() not in (_TESTS, _runner):
        os.write(2, f"a child of a test can't go on: {reason}\n".encode())
        os._exit(99)
    pytest.skip(reason)


def call(name: str, *arguments: object, number: int | None = None) -> int:
    """One system call, by the number that this library knows; the kernel's result, ``-errno`` if it failed."""
    if number is None:
        numbers = native_numbers(BY_NAME[name], platform.machine())
        if not numbers:
            _skip(f"{platform.machine()} has no {name}")
        number = numbers[0]
    result = _LIBC.syscall(ctypes.c_long(number), *map(_as_c, arguments))
    return int(result) if result >= 0 else -ctypes.get_errno()


def _as_c(value: object) -> object:
    if isinstance(value, int):
        return ctypes.c_long(value)
    if isinstance(value, str | os.PathLike):
        value = os.fsencode(value)
    if isinstance(value, bytes):
        return ctypes.c_char_p(value)
    return value if value is None else ctypes.byref(value)  # type: ignore[arg-type]


@pytest.fixture(name="call", scope="session")
def call_fixture() -> Callable[..., int]:
    return call


def matches(event: Event, type_: str, fields: Mapping[str, object]) -> bool:
    return event["evt.type"] == type_ and all(event[key] == value for key, value in fields.items())


@dataclass
class Run:
    """What a child did: its events and those of its descendants, and what the body returned."""

    pid: int
    events: list[Event] = field(default_factory=list)
    value: Any = None

    def all(self, type_: str, fields: Mapping[str, object] = {}) -> list[Event]:
        return [event for event in self.events if matches(event, type_, fields)]

    def one(self, type_: str, fields: Mapping[str, object] = {}) -> Event:
        """The only event of that type with these fields."""
        matching = self.all(type_, fields)
        if len(matching) != 1:
            shown = ((event["proc.pid"], event["evt.type"], event["evt.args"]) for event in self.events)
            seen = "\n".join(f"  {each!r}" for each in shown)
            pytest.fail(f"{len(matching)} events {type_} {dict(fields)}, there are\n{seen}")
        return matching[0]


def collect(detector: Detector, done: Callable[[Event], bool], missing: str = "event") -> list[Event]:
    """All events up to the one that is waited for."""
    events: list[Event] = []
    deadline = time.monotonic() + _DEADLINE
    while time.monotonic() < deadline:
        batch = detector.poll(1.0)
        events += batch
        are_done = [done(event) for event in batch]  # of each: it may count them
        if any(are_done):
            return events
    pytest.fail(f"no {missing} within {_DEADLINE:.0f} s; lost: {detector.counters().lost}")


def drain(detector: Detector) -> None:
    """Reads what has come meanwhile: what other tests did would leave no room for what follows."""
    deadline = time.monotonic() + _DEADLINE
    while len(detector.poll(0)) > _FEW and time.monotonic() < deadline:
        pass


@pytest.fixture(name="drain", scope="session")
def drain_fixture() -> Callable[[Detector], None]:
    return drain


@pytest.fixture(name="collect", scope="session")
def collect_fixture() -> Callable[..., list[Event]]:
    return collect


def _is_mark(event: Event) -> bool:
    return event["evt.type"] == "kill" and event["evt.rawarg.pid"] == _MARK


def _mark() -> None:
    _LIBC.kill(_MARK, 0)


def _child(body: Callable[[], object], report: int, release: int) -> None:
    global _runner  # noqa: PLW0603  (of this child alone)
    _runner = os.getpid()
    try:
        _mark()
        outcome = ("value", body())
    except pytest.skip.Exception as skipped:
        outcome = ("skip", str(skipped))
    except BaseException:
        outcome = ("error", traceback.format_exc())
    _mark()
    os.write(report, pickle.dumps(outcome))
    os.read(release, 1)


class Runner:
    """Forks children and collects their events."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self._children: dict[int, int] = {}

    def __call__(self, body: Callable[[], object]) -> Run:
        """Runs ``body`` in a child until it returns, or ends otherwise: by an exec, an exit or a signal."""
        drain(self.detector)
        report, reporting = os.pipe()
        released, release = os.pipe()
        pid = os.fork()
        if pid == 0:
            with suppress(BaseException):
                _child(body, reporting, released)
            os._exit(0)
        os.close(reporting)
        os.close(released)
        self._children[pid] = release
        marks = 0

        def ended(event: Event) -> bool:
            nonlocal marks
            if event["proc.pid"] != pid:
                return False
            marks += _is_mark(event)
            return marks == 2 or event["evt.type"] == "procexit"

        events = collect(self.detector, ended, "end of the child")
        run = Run(pid, _of_family(pid, events))
        with os.fdopen(report, "rb") as pipe:
            kind, run.value = pickle.load(pipe) if marks == 2 else ("value", None)
        if kind == "skip":
            pytest.skip(run.value)
        assert kind != "error", run.value
        return run

    def end(self) -> None:
        for pid, release in self._children.items():
            with suppress(BrokenPipeError):
                os.write(release, b"x")
            os.close(release)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._children.clear()


def _of_family(pid: int, events: Iterable[Event]) -> list[Event]:
    """The events of a process between its marks, and of everything that it started."""
    family: set[object] = {pid}
    of_family: list[Event] = []
    marks = 0
    for event in sorted(events, key=lambda event: event.time):
        if event["proc.pid"] == pid and _is_mark(event):
            marks += 1
        elif marks == 1:
            ancestors = event["proc.apid"]
            if isinstance(ancestors, list) and family.intersection(ancestors):
                family.add(event["proc.pid"])
            if event["proc.pid"] in family:
                of_family.append(event)
    return of_family


@pytest.fixture
def run(detector: Detector) -> Iterator[Runner]:
    """``run(body)`` runs the function in a child process and returns its events: a ``Run``."""
    runner = Runner(detector)
    yield runner
    runner.end()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """``compiled(text, flags…, compiler=…)`` is the path of a C program; skips without the compiler."""
    folder = tmp_path_factory.mktemp("compiled")

    def build(text: str, *flags: str, compiler: str = "cc") -> str:
        source, program = folder / f"{abs(hash(text))}.c", folder / f"{abs(hash(text))}"
        if not program.exists():
            source.write_text(text)
            try:
                command = [compiler, "-w", "-pthread", *flags, "-o", str(program), str(source)]
                subprocess.run(command, check=True, capture_output=True)
            except FileNotFoundError:
                pytest.skip(f"no C compiler ({compiler})")
            except subprocess.CalledProcessError as error:
                pytest.skip(f"the compiler can't: {error.stderr.decode(errors='replace')[-300:]}")
        return str(program)

    return build


@pytest.fixture(scope="session")
def compiled_32_bit(compiled: Callable[..., str]) -> Callable[[str], str]:
    """``compiled_32_bit(text)`` is a C program that can make 32-bit calls: on x86_64 one of 64 bits, by an interrupt,
    with its variables at addresses of 32 bits; on arm64 a 32-bit one."""
    if platform.machine() == "x86_64":
        return lambda text: compiled(text, "-static", "-no-pie")
    if platform.machine() != "aarch64":
        pytest.skip(f"{platform.machine()} has no 32-bit calls")

    def build(text: str) -> str:
        return compiled(text, "-static", compiler="arm-linux-gnueabihf-gcc")

    try:
        subprocess.run([build("int main(void) { return 0; }")], check=True)
    except OSError as error:
        pytest.skip(f"this machine runs no 32-bit programs: {error.strerror}")
    return build


@pytest.fixture
def spawned() -> Callable[..., int]:
    """For bodies: forks, runs a function (or execs a command), waits; its exit status, negative for a signal."""

    def spawn(what: Callable[[], object] | list[str], env: dict[str, str] | None = None) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                if callable(what):
                    what()
                else:
                    os.execve(what[0], what, env if env is not None else dict(os.environ))
            except OSError as error:
                os._exit(error.errno or errno.EIO)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return spawn


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    """A detector that filters and one that doesn't: ``pair(body)`` runs a body in front of both."""
    if os.geteuid() != 0:
        pytest.skip("live tests need root")
    both = Pair()
    yield both
    both.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A harmless file, which everybody may open."""
    path = tmp_path / "tc-harmless"
    path.write_text("x")
    path.chmod(0o666)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    return path
