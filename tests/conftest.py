"""What tests of several parts need."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tiercel_agent.detection.source import Counters, Unwatched
from tiercel_agent.filter.rule_counters import Suppressed
from tiercel_agent.kernel.bytecode.provider import ProgramSettings
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.loss import Loss
from tiercel_agent.warning import AgentWarning
from tiercel_engine.event import Event
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.rule import Rule

# Tests fork: threads that the library begins in each child would keep it from much.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

pytest_plugins = ("cluster_support.fixtures",)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Property tests have the same examples in each run, however busy the machine is. ``--hypothesis-profile=explore``
    has others each time."""
    if config.pluginmanager.hasplugin("hypothesispytest"):
        from hypothesis import settings

        settings.register_profile("explore", deadline=None)
        settings.register_profile("usual", deadline=None, derandomize=True)
        settings.load_profile("usual")


@pytest.fixture(scope="session", autouse=True)
def _kept_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Detectors that tests open find what another test has compiled, unless they say where programs are kept."""
    kept = ProgramSettings(tmp_path_factory.mktemp("kept") / "programs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiercel_agent.detection.detector.ProgramSettings", lambda: kept)
        patch.setattr("tiercel_agent.detection.verification.ProgramSettings", lambda: kept)
        yield


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    """What a test sets up for the log is undone after it."""
    loggers = [logging.getLogger(name) for name in ("tiercel", "tiercel_agent", "tiercel_cli", "tiercel_engine")]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@dataclass
class ScriptedSource:
    """An event source that hands out batches of events, one a poll, and then calls ``at_end`` at each poll."""

    batches: list[list[Event]] = field(default_factory=list)
    lasting_warnings: Sequence[AgentWarning] = ()
    lost: dict[Loss, int] = field(default_factory=dict)
    at_end: Callable[[], None] = lambda: None
    refuse: str = ""
    requirements: Requirements | None = None
    events: int = 0
    closed: bool = False
    warnings_now: Sequence[AgentWarning] = ()
    parts_refused: Sequence[Unwatched] = ()
    evaluated_events: list[Event] = field(default_factory=list)
    held: list[Event] = field(default_factory=list)
    """What waits until the end."""
    floods: list[Suppressed] = field(default_factory=list)
    last_events: list[Event] = field(default_factory=list)
    """What a change of rules hands out for the rules before."""
    loads: bool = False
    loaded: Requirements | None = None
    for_namespaces: list[Event] = field(default_factory=list)
    """Events that concern no rule of the system."""
    event_size: int = 0
    """Bytes that each event takes."""
    held_events: list[Event] = field(default_factory=list)

    def current_warnings(self) -> Sequence[AgentWarning]:
        return self.warnings_now

    @property
    def hooks(self) -> str:
        return ""

    def unwatched(self) -> Sequence[Unwatched]:
        return self.parts_refused

    def poll(self, timeout: float) -> list[Event]:
        if not self.batches:
            self.at_end()
            return []
        batch = self.batches.pop(0)
        self.events += len(batch)
        return batch

    def load(self, requirements: Requirements, rules: Sequence[Rule]) -> None:
        self.loaded = requirements

    def is_loading(self) -> bool:
        return self.loads

    def switch(self) -> list[Event]:
        if self.refuse:
            raise DetectorError(self.refuse)
        self.requirements = self.loaded
        return self.last_events

    def hold(self, event: Event) -> None:
        self.held_events.append(event)

    def size(self, event: Event) -> int:
        return self.event_size

    def evaluated(self, event: Event) -> None:
        self.evaluated_events.append(event)

    def concerns_system(self, event: Event) -> bool:
        return event not in self.for_namespaces

    def cgroup(self, event: Event) -> int:
        return 1

    def finish(self) -> list[Event]:
        held, self.held = self.held, []
        return held

    def suppressed(self) -> list[Suppressed]:
        floods, self.floods = self.floods, []
        return floods

    def counters(self) -> Counters:
        types = self.requirements.event_types if self.requirements else None
        return Counters(self.events, self.lost, types or frozenset())

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def scripted_source() -> type[ScriptedSource]:
    return ScriptedSource


@pytest.fixture
def opened() -> Callable[..., Event]:
    """A file opened for reading by a process, with the fields given besides."""

    def make(path: str = "/etc/shadow", process: str = "cat", **fields: Any) -> Event:
        known: dict[str, Any] = {
            "evt.type": "openat",
            "evt.is_open_read": True,
            "fd.name": path,
            "fd.typechar": "f",
            "fd.num": 3,
            "fd.directory": path.rpartition("/")[0],
            "fd.filename": path.rpartition("/")[2],
            "proc.name": process,
            "proc.exepath": f"/usr/bin/{process}",
            "proc.pid": 4242,
            "container.id": "host",
            "container.name": "host",
        }
        return Event("syscall", 1_700_000_000_123_456_789, {**known, **fields})

    return make
