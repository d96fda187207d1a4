"""Two detectors that watch the same work: one that filters, and one that gets every event."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import pytest

from live_support.updating import update
from tiercel_agent.detection.detector import Detector, open_detector
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.kernel.probes.call_event import needs_call_event
from tiercel_agent.kernel.probes.permissions import read_facts
from tiercel_agent.loss import Loss
from tiercel_agent.workloads.settings import WorkloadSettings
from tiercel_engine.event import Event
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.resources.node_agent import LossCause
from tiercel_engine.rule import Rule
from tiercel_engine.rules import load
from tiercel_engine.rules.documents.files import RulesFile

AT_FDCWD = -100
DEADLINE = float(
    os.environ.get("TIERCEL_TEST_DEADLINE", "60")
)  # seconds until a test gives up; nothing is ever waited out
SKIPPED = (Loss(LossCause.CALLS_SKIPPED), Loss(LossCause.PROCESSES_SKIPPED))
"""What kernels of series 7 don't let the programs see, and count."""
MARK = "/tiercel-mark/"
CONTAINER = "ab" * 32
PR_SET_NAME = 15
NAME_SIZE = 512  # bytes of a path that the filter looks at, with its end (bpf/automaton.h)
LIBC = ctypes.CDLL(None, use_errno=True)

RULES = {
    "mark": f"fd.name startswith {MARK}",
    "process": "fd.filename = tc-harmless and proc.name = tc-bad",
    "parent": "fd.filename = tc-harmless and proc.pname = tc-bad",
    "grandparent": "fd.filename = tc-harmless and proc.aname[2] = tc-bad",
    "adopted": "fd.filename = tc-harmless and proc.pname = tc-reaper",
    "executable": "fd.filename = tc-harmless and proc.exe = tc-exec",
    "parents executable": "fd.filename = tc-harmless and proc.pexe = tc-exec",
    "user": "fd.filename = tc-harmless and user.uid = 12345",
    "weak": "fd.filename = tc-harmless and user.uid = 0 and not thread.cap_effective contains CAP_CHOWN",
    "strong": "fd.filename = tc-harmless and user.uid = 54321 and thread.cap_effective contains CAP_SYS_ADMIN",
    "container": f"fd.filename = tc-harmless and container.id = unknown:{CONTAINER[:12]}",
    "secret": "fd.filename = tc-secret",
    "folder": "fd.directory endswith /tc-folder",
    "raw": "fd.nameraw = tc-b/tc-c",
    "other name": "fd.name endswith /tc-harmless and not fd.nameraw endswith tc-harmless",
    "written": "fd.filename = tc-harmless and evt.is_open_write = true",
    "created": "fd.filename = tc-harmless and evt.arg.flags contains O_CREAT",
    "new": "fd.filename = tc-new and evt.is_open_create = true",
    "missing": "fd.filename = tc-harmless and evt.res = ENOENT",
    "refused": "fd.filename = tc-secret-refused and evt.res = EACCES",
    "a directory": "fd.filename = tc-harmless and fd.typechar = d",
    "a pipe": "fd.filename = tc-harmless and fd.type = pipe",
    "long": "fd.filename startswith tc-long and fd.name endswith bad",
    "first descriptors": "fd.filename = tc-harmless and evt.rawres = 15",
    "own name": "fd.name = proc.exepath and proc.name = tc-any",
    "own raw name": "fd.filename = tc-view and not fd.name = val(fd.nameraw)",
}
MODES = {"chmod with set-user-ID": "evt.type in (chmod, fchmodat, fchmod) and evt.arg.mode contains S_ISUID"}

CONNECTIONS = {
    "port": "evt.type = connect and fd.sport = 2",
    "address": "evt.type = connect and fd.sip = 127.0.0.9",
    "network": "evt.type = connect and fd.snet = 127.9.0.0/16",
    "either end": "evt.type = connect and fd.ip = 127.0.0.5",
    "IPv6": "evt.type = connect and fd.sip = ::1 and fd.sport = 3",
    "datagrams": "evt.type = connect and fd.l4proto = udp",
    "sent": "evt.type = sendto and fd.l4proto = tcp and fd.sip = 127.0.0.9",
    "sent datagram": "evt.type in (sendto, sendmsg) and fd.l4proto = udp and fd.sport = 9",
    "sent locally": "evt.type = sendto and fd.typechar = u and proc.name = tc-any",
    "received": "evt.type = recvfrom and fd.cip = 127.0.0.5",
    "accepted": "evt.type in (accept, accept4) and fd.cip = 127.0.0.5",
}


def rules_of(conditions: Mapping[str, str], types: str = "open, openat") -> Sequence[Rule]:
    lines = []
    for name, condition in conditions.items():
        full = condition if "evt.type" in condition else f"evt.type in ({types}) and {condition}"
        full = full.replace("= proc.exepath", "= val(proc.exepath)")
        lines.append(f"- rule: {name}\n  desc: a test\n  condition: {full}\n  output: none\n  priority: NOTICE\n")
    loaded = load([RulesFile("rules.yaml", "".join(lines))])
    assert not loaded.errors, loaded.errors
    return loaded.rules


def alerted_rules(detector: Detector, matcher: Matcher, *names: str) -> tuple[list[str], int]:
    """Opens these files in a child process. Returns the names of the rules that matched, in order, and how many events
    came to user space. One rule must be called ``end`` and match the file ``/tiercel-end``, which is opened last."""
    for _ in detector.poll(0):
        pass
    pid = os.fork()
    if pid == 0:
        for name in (*names, "/tiercel-end"):
            with suppress(OSError):
                os.close(os.open(name, os.O_RDONLY))
        os._exit(0)
    alerted: list[str] = []
    events = 0
    while "end" not in alerted:
        for event in detector.poll(0.1):
            if event["proc.pid"] == pid:
                events += 1
                alerted += [rule.name for rule, _ in matcher.match(event)]
    os.waitpid(pid, 0)
    return alerted[:-1], events - 1


class Watcher:
    """A detector and rules, evaluated on its events as the agent does."""

    def __init__(self, detector: Detector, rules: Sequence[Rule]) -> None:
        self.detector = detector
        self.events: Counter[object] = Counter()
        self.alerts: list[tuple[object, ...]] = []
        self.family = 0
        self.use(rules)

    def use(self, rules: Sequence[Rule]) -> None:
        self.matcher = Matcher(rules)

    def drain(self) -> None:
        """Takes the events that an earlier test has left in the buffer."""
        while self.detector.poll(0):
            pass

    def turn(self, timeout: float) -> list[tuple[str, object]]:
        """The marks of one turn, each with its process."""
        marks: list[tuple[str, object]] = []
        for event in self.detector.poll(timeout):
            self.events[event["proc.pid"]] += 1
            matches = self.matcher.match(event)
            self.detector.evaluated(event)
            for rule, view in matches:
                if rule.name == "mark":
                    marks.append((str(view["fd.name"]).removeprefix(MARK), event["proc.pid"]))
                elif self.family == event["proc.pid"] or self.family in _ancestors(event):
                    self.alerts.append((rule.name, event["proc.pid"], view["fd.name"], event["proc.name"]))
        return marks


def _ancestors(event: Event) -> Sequence[object]:
    numbers = event["proc.apid"]
    return numbers if isinstance(numbers, list) else ()


def all_rules() -> Sequence[Rule]:
    return rules_of(RULES | MODES | CONNECTIONS)


class Pair:
    """A detector that filters and one that doesn't. ``workloads``: where both ask for containers."""

    def __init__(self, rules: Sequence[Rule] = (), workloads: WorkloadSettings | None = None) -> None:
        rules = rules or all_rules()
        self.opened: list[Detector] = []
        try:
            for filtering in (rules, ()):
                self.opened.append(open_detector(Requirements.of(rules), filtering, flood_limit=0, workloads=workloads))
        except DetectorError as error:
            pytest.skip(f"live tests need eBPF: {error}")
        self.filtering, self.seeing = (Watcher(detector, rules) for detector in self.opened)
        self.number = 0

    def use(self, rules: Sequence[Rule]) -> None:
        requirements = Requirements.of(rules)
        update(self.filtering.detector, requirements, rules)
        update(self.seeing.detector, requirements)
        self.filtering.use(rules)
        self.seeing.use(rules)

    def __call__(
        self,
        body: Callable[[Learn], object],
        rounds: int = 100,
        of: int | None = None,
        *,
        how_often: bool = True,
    ) -> Counter[object]:
        """Runs ``body(learn)`` in a child. The rules that it and its descendants (or those of process ``of``) raised
        alerts of, how often each. ``learn(harmless)`` repeats a function until its calls are dropped.

        Both detectors raise the same alerts, and as often unless ``how_often`` makes no difference."""
        for watcher in (self.filtering, self.seeing):
            watcher.drain()
            watcher.alerts.clear()
        lost = [detector.counters().lost for detector in self.opened]
        self.number += 1
        prefix = f"{self.number}/"
        answers, answer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(answer)
            os.setpgid(0, 0)
            with suppress(BaseException):
                perform(body, prefix, answers)
            os._exit(0)
        os.close(answers)
        self.filtering.family = self.seeing.family = of or pid
        before = 0
        try:
            while True:
                self._until(self.seeing, prefix)
                mark, process = self._until(self.filtering, prefix)
                if mark == "pause":
                    os.write(answer, b"g")
                    continue
                if mark != "learn":
                    break
                now = self.filtering.events[process]
                learned = now - before == 1  # the mark alone
                before, rounds = now, rounds - 1
                assert learned or rounds, "the filter doesn't learn"
                os.write(answer, b"g" if learned else b"a")
        finally:
            os.close(answer)
            with suppress(ProcessLookupError):  # with its descendants
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        assert mark == "end", mark
        lost_now = [detector.counters().lost for detector in self.opened]
        skipped = any(
            now.get(loss) != before.get(loss) for now, before in zip(lost_now, lost, strict=True) for loss in SKIPPED
        )
        if skipped and needs_call_event(read_facts().version):  # a trace event shows fewer of the others' calls too
            pytest.skip(f"the kernel skipped calls: {lost_now}")
        assert lost_now == lost, (lost_now, lost)
        reported, wanted = Counter(self.filtering.alerts), Counter(self.seeing.alerts)
        if how_often:
            assert reported == wanted, (reported - wanted, wanted - reported)
        assert reported.keys() == wanted.keys(), reported.keys() ^ wanted.keys()
        return Counter(name for name, *_ in self.filtering.alerts)

    def _until(self, watcher: Watcher, prefix: str) -> tuple[str, object]:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            for mark, pid in watcher.turn(0.1):
                if mark.startswith(prefix):
                    return mark.removeprefix(prefix), pid
        pytest.fail(f"no mark: {watcher.detector.counters().lost}, filtering: {watcher is self.filtering}")

    def close(self) -> None:
        for detector in self.opened:
            detector.close()


class Learn:
    """What a body calls to have the filter learn; it is in the child."""

    def __init__(self, prefix: str, answers: int) -> None:
        self.end = f"{MARK}{prefix}end"
        self._prefix, self._answers = prefix, answers

    def __call__(self, harmless: Callable[[], object]) -> None:
        """Repeats a function until its calls are dropped."""
        while True:
            for _ in range(20):
                harmless()
            self.mark("learn")
            if os.read(self._answers, 1) != b"a":
                return

    def pause(self) -> None:
        """Until both detectors have come as far."""
        self.mark("pause")
        os.read(self._answers, 1)

    def mark(self, what: str) -> None:
        with suppress(OSError):
            os.close(os.open(f"{MARK}{self._prefix}{what}", os.O_RDONLY))


def perform(body: Callable[[Learn], object], prefix: str, answers: int) -> None:
    learn = Learn(prefix, answers)
    try:
        body(learn)
    except pytest.skip.Exception as skipped:
        learn.mark(f"skipped: {skipped}")
    except BaseException as error:
        learn.mark(f"{type(error).__name__}: {error}")
    else:
        learn.mark("end")


def open_at(
    path: str | bytes | os.PathLike[str], flags: int = os.O_RDONLY, folder: int = AT_FDCWD, mode: int = 0
) -> int:
    """The result of an openat. The file is closed again."""
    fd: int = LIBC.syscall(257 if os.uname().machine == "x86_64" else 56, folder, os.fsencode(path), flags, mode)
    if fd >= 0:
        os.close(fd)
    return fd


def rename_process(name: str) -> None:
    LIBC.prctl(PR_SET_NAME, name.encode())


def repeat(what: Callable[[], object]) -> None:
    """Repeats an action often enough for the filter to learn from it, if it may."""
    for _ in range(60):
        what()


def in_child(what: Callable[[], object]) -> None:
    """Runs a function in a forked child and waits for it."""
    pid = os.fork()
    if pid == 0:
        what()
        os._exit(0)
    os.waitpid(pid, 0)
