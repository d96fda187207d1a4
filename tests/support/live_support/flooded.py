"""A detector of rules on files that don't exist, and children that open such files often."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from tiercel_agent.detection.detector import open_detector
from tiercel_agent.loss import Loss
from tiercel_engine.event import Event
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.rule import Rule

FOLDER = f"/tiercel-flood-{os.getpid()}"  # of its own, since other runs may flood the same machine
RULES = {
    "decided": f"fd.name = {FOLDER}/decided",
    "decided elsewhere": f"fd.name = {FOLDER}/elsewhere",
    "decided of a folder": f"fd.name startswith {FOLDER}/folder/",
    "asks": f"fd.name = {FOLDER}/asks and not user.name = nobody-of-that-name",
    "another that asks": f"fd.name = {FOLDER}/another and not user.name = nobody-of-that-name",
    "in two ways": f"fd.name = {FOLDER}/twice and (evt.is_open_read = true or not proc.name = nobody)",
    "end": f"fd.name = {FOLDER}/end",
}


class Flooded:
    """A detector, and how often each rule was reported, suppressed and lost; ``events`` are those that matched."""

    def __init__(self, flood_limit: int, loaded: Sequence[Rule]) -> None:
        self.matcher = Matcher(loaded)
        self.detector = open_detector(Requirements.of(loaded), loaded, flood_limit)
        self.reported: Counter[str] = Counter()
        self.events: list[Event] = []

    def take(self) -> None:
        for event in self.detector.poll(0.1):
            matches = [rule.name for rule, _ in self.matcher.match(event)]
            self.reported.update(matches)
            if matches:
                self.events.append(event)
            self.detector.evaluated(event)

    def until_end(self) -> None:
        """Takes everything up to the event that ends it. Other sessions' events may come later than their time."""
        while not self.reported["end"] or self.detector._intake.calls:
            self.take()

    def suppressed(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for suppressed in self.detector.suppressed():
            counts[suppressed.rule] += suppressed.count
        return counts

    def lost(self) -> dict[Loss, int]:
        return dict(self.detector.counters().lost)

    def openers(self, name: str) -> set[int]:
        """The processes that were seen to open a file of the folder."""
        return {int(str(event["proc.pid"])) for event in self.events if event["fd.name"] == f"{FOLDER}/{name}"}


def open_often(*names_and_counts: tuple[str, int]) -> None:
    for name, count in names_and_counts:
        for _ in range(count):
            with suppress(OSError):
                os.close(os.open(f"{FOLDER}/{name}", os.O_RDONLY))


def child(body: Callable[[], object]) -> int:
    """Forks a child that runs ``body``."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
        finally:
            os._exit(0)
    return pid


def in_child(*names_and_counts: tuple[str, int]) -> int:
    return child(lambda: open_often(*names_and_counts))
