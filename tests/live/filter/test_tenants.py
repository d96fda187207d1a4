"""A tenant with too many rules: the filter stays on for the host's processes, and the tenant's rules still match."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from agent_support.cri_server import ID, CriServer, cgroup
from live_support.filter_rules import DEADLINE, MARK, Pair, open_at

from tiercel_agent.context.cgroups import mount_point
from tiercel_agent.filter.budget import BUDGET
from tiercel_agent.workloads.settings import WorkloadSettings
from tiercel_engine.resources.node_agent import LossCause, WarningKind
from tiercel_engine.rules.objects import RuleObject, resolve
from tiercel_engine.scope import SYSTEM_NAMESPACE

WATCHED, OF_SHOP = "/tc-watched-by-the-system", "/tc-watched-by-the-shop"
RULES = 300
RING = 8 << 20  # bytes


def security_rule(namespace, name, conditions):
    items = [
        {"rule": name, "desc": "d", "condition": f"evt.type in (open, openat) and {condition}", "output": "o"}
        for name, condition in conditions.items()
    ]
    return RuleObject(namespace, name, {"rules": [{**item, "priority": "NOTICE"} for item in items]})


def multiplied(number):
    """Four pairs of alternatives, which are 16 conjunctions."""
    pairs = (
        f"(fd.name = /none/{number}-0 or proc.name = none{number}-0)",
        f"(evt.arg.flags contains F{number}-0 or proc.pname = none{number}-0)",
        f"(fd.name = /none/{number}-1 or proc.name = none{number}-1)",
        f"(evt.arg.flags contains F{number}-1 or proc.pname = none{number}-1)",
    )
    return " and ".join(pairs)


@pytest.fixture(scope="module")
def group():
    """The control group of a container of the pod shop-1."""
    root = mount_point()
    if root is None:
        pytest.skip("no cgroups")
    path = Path(f"{root}{cgroup()}")
    try:
        path.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"no cgroups: {error}")
    yield path
    for folder in (path, *path.parents[:3]):
        with suppress(OSError):  # others may use it too
            folder.rmdir()


@pytest.fixture(scope="module")
def pair(group, tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("live tests need root")
    tenant = {f"many {number}": multiplied(number) for number in range(RULES)}
    resolved = resolve(
        [
            security_rule(
                SYSTEM_NAMESPACE, "own", {"mark": f"fd.name startswith {MARK}", "own": f"fd.name = {WATCHED}"}
            ),
            security_rule("shop", "many", {**tenant, "last": f"fd.name = {OF_SHOP}"}),
        ]
    )
    assert len(resolved.rules) == RULES + 3
    with CriServer(tmp_path_factory.mktemp("runtime") / "crio.sock") as server:
        both = Pair(resolved.rules, WorkloadSettings((server.path,), patience=DEADLINE))
        yield both
        both.close()


def test_calls_of_the_host_are_dropped_and_its_alerts_are_raised(pair, file):
    def body(learn):
        learn(lambda: open_at(file))
        for _ in range(20):
            open_at(WATCHED)
            open_at(OF_SHOP)

    assert pair(body) == {"own": 20}


def test_the_tenants_rules_match_in_its_own_pods(pair, group, file):
    def body(learn):
        learn(lambda: open_at(file))
        Path(group, "cgroup.procs").write_text(str(os.getpid()))
        open_at(OF_SHOP)
        open_at(WATCHED)
        Path(mount_point(), "cgroup.procs").write_text(str(os.getpid()))
        learn(lambda: open_at(file))

    assert pair(body) == {"last": 1, "own": 1}


def test_the_namespace_and_its_rules_are_named(pair):
    (warning,) = [each for each in pair.opened[0].lasting_warnings if each.kind is WarningKind.FILTER_BUDGET_EXCEEDED]
    assert warning.detail == "shop"
    assert warning.names == (*(f"shop/many {number}" for number in range(BUDGET.namespace, RULES)), "shop/last")
    assert not [each for each in pair.opened[0].lasting_warnings if each.kind is WarningKind.TOO_MANY_RULES]


def test_what_only_a_tenants_rules_wait_for_has_a_small_part_of_the_ring(pair, group, collect, drain):
    """Nobody reads it meanwhile. So what the system's rules wait for is always among the next that is read."""
    detector = pair.opened[0]
    drain(detector)
    pid = os.fork()
    if pid == 0:
        Path(group, "cgroup.procs").write_text(str(os.getpid()))
        for _ in range(20_000):
            open_at(OF_SHOP)
        open_at(WATCHED)
        os._exit(0)
    os.waitpid(pid, 0)
    ring = detector._watch.programs.calls
    assert ring.unread() < RING / 16 + 4096
    seen = collect(detector, lambda event: event["fd.name"] == WATCHED)
    own = [event for event in seen if event["proc.pid"] == pid and event["fd.name"] in (OF_SHOP, WATCHED)]
    assert {(event["fd.name"], detector.concerns_system(event)) for event in own} == {(OF_SHOP, False), (WATCHED, True)}
    assert {loss.by.container for loss in detector.counters().lost if loss.cause is LossCause.RATE_LIMIT} >= {ID[:12]}
