"""The rings are shared fairly. While nobody reads, a flood fills a ring as far as it may. Then others do what must be
seen, and only then it is read: who lost something doesn't depend on time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_support.filter_rules import rules_of
from live_support.flooded import FOLDER, child, in_child, open_often

from tiercel_agent.context.cgroups import mount_point
from tiercel_agent.loss import LostBy
from tiercel_engine.resources.node_agent import LossCause

FLOOD = 30_000
"""Calls, of which each takes some hundred bytes of a ring of 8 MiB."""
STARTS = 1000
"""Starts of programs, of which each takes some 5 KiB of a ring of 2 MiB."""
STARTER = """
    #include <stdlib.h>
    #include <string.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(int count, char **values) {  /* the program, how often, an argument's length */
        char *argument = calloc(atoi(values[3]) + 1, 1);
        memset(argument, 'x', atoi(values[3]));
        char *arguments[] = {"x", argument, 0};
        for (int i = 0; i < atoi(values[2]); i++) {
            if (vfork() == 0) { execv(values[1], arguments); _exit(1); }
            wait(0);
        }
    }"""
NOBODY, SOMEBODY = 65534, 65533


def after(*pids: int) -> None:
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        assert status == 0


def in_session(body: Callable[[], object]) -> int:
    """A child of a process in a session of its own."""

    def begin() -> None:
        os.setsid()
        after(child(body))

    return child(begin)


def test_a_flood_of_a_process_costs_its_siblings_nothing(flooded):
    run = flooded()
    after(in_child(("asks", FLOOD)), in_child(("asks", FLOOD)))
    others = [in_child(("asks", 10)) for _ in range(10)]
    after(*others)
    after(in_child(("end", 1)))
    run.until_end()
    seen = [event["proc.pid"] for event in run.events]
    assert [seen.count(pid) for pid in others] == [10] * 10
    assert sum(run.lost().values()) + run.reported["asks"] == 2 * FLOOD + 100


def test_a_flood_of_a_process_leaves_room_for_its_other_matches(flooded):
    run = flooded()
    after(in_child(("asks", FLOOD), ("another", 3), ("decided", 3), ("end", 1)))
    run.until_end()
    assert (run.reported["another that asks"], run.reported["decided"]) == (3, 3)
    assert {(loss.cause, loss.rule) for loss in run.lost()} == {(LossCause.RATE_LIMIT, "asks")}


def test_a_flood_by_many_children_costs_other_parents_nothing(flooded):
    run = flooded()

    def have_children() -> None:
        for _ in range(100):
            after(in_child(("asks", 200)))

    after(child(have_children))
    other = in_child(("asks", 3))
    after(other)
    after(in_child(("end", 1)))
    run.until_end()
    assert [event["proc.pid"] for event in run.events].count(other) == 3
    assert sum(run.lost().values()) + run.reported["asks"] == 100 * 200 + 3


def test_a_user_with_many_sessions_costs_other_users_nothing(flooded):
    run = flooded()

    def as_user(user: int, body: Callable[[], object]) -> int:
        def become() -> None:
            os.setuid(user)
            body()

        return child(become)

    def have_sessions() -> None:
        for _ in range(100):
            after(in_session(lambda: open_often(("asks", 200))))

    after(as_user(NOBODY, have_sessions))
    other = as_user(SOMEBODY, lambda: open_often(("asks", 10)))
    after(other)
    after(in_child(("end", 1)))
    run.until_end()
    assert [event["proc.pid"] for event in run.events].count(other) == 10
    assert run.lost()


@pytest.mark.parametrize("begin", [child, in_session], ids=["parent", "session"])
def test_a_flood_of_starts_costs_others_none(flooded, compiled, begin):
    starter, started = compiled(STARTER, "-static"), compiled("int main() {}", "-static")
    rules = {"started": f"evt.type = execve and proc.exepath = {started}", "end": f"fd.name = {FOLDER}/end"}
    run = flooded(20, rules_of(rules))

    def start(count: int, size: int) -> int:
        return begin(lambda: os.execv(starter, [starter, started, str(count), str(size)]))

    after(start(STARTS, 4000))
    after(*(start(1, 3) for _ in range(20)))
    after(in_child(("end", 1)))
    run.until_end()
    assert [event["proc.args"] for event in run.events].count("xxx") == 20
    assert 20 < run.reported["started"] < STARTS
    assert {loss.cause for loss in run.lost()} == {LossCause.PROCESS_BUFFER_FULL}


@pytest.fixture
def cgroup() -> Iterator[Callable[[str], Path]]:
    root = mount_point()
    made: list[Path] = []

    def make(name: str) -> Path:
        if root is None:
            pytest.skip("there is no hierarchy of version 2")
        made.append(Path(root, name))
        made[-1].mkdir()
        return made[-1]

    yield make
    for folder in made:
        folder.rmdir()


def enter(cgroup: Path) -> None:
    (cgroup / "cgroup.procs").write_text("0")


def test_what_a_container_loses_is_told_by_its_cgroup_and_costs_others_nothing(flooded, cgroup):
    run = flooded()
    container, service = cgroup(f"docker-{'ab' * 32}.scope"), cgroup("tiercel-flood.service")

    def attack() -> None:
        enter(container)
        for _ in range(30):
            after(in_session(lambda: open_often(("asks", FLOOD // 30))))

    def serve() -> None:
        enter(service)
        open_often(("asks", 10))

    after(child(attack))
    other = child(serve)
    after(other)
    after(in_child(("end", 1)))
    run.until_end()
    assert [event["proc.pid"] for event in run.events].count(other) == 10
    ((loss, count),) = run.lost().items()
    assert (loss.cause, loss.rule) == (LossCause.RATE_LIMIT, "asks")
    assert loss.by == LostBy(f"/docker-{'ab' * 32}.scope")  # no runtime vouches for the container
    assert count + run.reported["asks"] == FLOOD + 10


def test_a_flood_makes_nobody_elses_event_late(flooded):
    """What came last, of another session, is among the first that are evaluated."""

    def apart(count: int) -> int:
        def body() -> None:
            os.setsid()
            open_often(("asks", count))

        return child(body)

    run = flooded(flood_limit=0xFFFF_FFFF)
    flooder = apart(2000)
    after(flooder)
    other = apart(1)
    after(other)
    run.take()
    assert run.openers("asks") == {flooder, other}
    after(in_child(("end", 1)))
    run.until_end()
    assert run.reported["asks"] == 2001


def test_the_kernels_counts_of_what_is_lost_are_read_once(flooded):
    run = flooded()
    after(in_child(("asks", FLOOD)))
    first = run.lost()
    assert first == run.lost()
    after(in_child(("asks", FLOOD), ("end", 1)))
    run.until_end()
    assert sum(run.lost().values()) + run.reported["asks"] == 2 * FLOOD
