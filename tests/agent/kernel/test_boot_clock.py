"""Times of events: as the wall clock says, and in the order in which the kernel saw them."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_agent.kernel.boot_clock import BootClock

SECOND = 1_000_000_000
EPOCH = 1_700_000_000 * SECOND


@dataclass
class Clocks:
    """Two clocks that go on by a microsecond with each look; ``pauses`` stops the reader for so long before a look."""

    now: int = 5 * SECOND
    epoch: int = EPOCH
    pauses: tuple[int, ...] = ()

    def since_boot(self) -> int:
        self.now += 1000
        return self.now

    def wall(self) -> int:
        if self.pauses:
            pause, *rest = self.pauses
            self.now, self.pauses = self.now + pause, tuple(rest)
        return self.since_boot() + self.epoch


def test_the_time_of_a_moment():
    clocks = Clocks()
    clock = BootClock(clocks.since_boot, clocks.wall)
    assert abs(clock.wall_time(3 * SECOND) - (EPOCH + 3 * SECOND)) <= 1000


def test_a_reader_that_is_stopped_changes_no_order():
    clocks = Clocks()
    clock = BootClock(clocks.since_boot, clocks.wall)
    first = clock.wall_time(5 * SECOND)
    for pauses in [(50_000_000,) * 5, (0, 700_000_000, 0, 0, 0), (3_000_000, 90_000_000, 0, 9_000_000, 0)]:
        clocks.now += 2 * SECOND
        clocks.pauses = pauses
        clock.wall_time(clocks.now)  # looks at the clocks anew
        assert not clocks.pauses
        assert clock.wall_time(5 * SECOND) == first


def test_a_clock_that_is_set():
    clocks = Clocks()
    clock = BootClock(clocks.since_boot, clocks.wall)
    clock.wall_time(5 * SECOND)
    clocks.epoch += 3600 * SECOND
    clocks.now += 2 * SECOND
    moment = clocks.now
    assert abs(clock.wall_time(moment) - (clocks.epoch + moment)) <= 1000
