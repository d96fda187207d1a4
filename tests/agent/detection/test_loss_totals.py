"""Who has lost records of the kernel is remembered by name, and not without end."""

from __future__ import annotations

from tiercel_agent.detection import loss_totals
from tiercel_agent.detection.loss_totals import LossTotals
from tiercel_agent.filter.lost_records import Kind, LostRecords
from tiercel_agent.loss import Loss, LostBy
from tiercel_engine.resources.node_agent import LossCause


def test_a_count_stays_under_the_name_that_was_known_first():
    names = {7: LostBy("/a")}
    totals = LossTotals(lambda cgroup: names[cgroup])
    totals.add([LostRecords(Kind.CALLS, 7, "shop/rule", 3)])
    names[7] = LostBy("/a", "abc", "shop/web")
    totals.add([LostRecords(Kind.CALLS, 7, "shop/rule", 2), LostRecords(Kind.PROCESSES, 7, None, 1)])
    assert totals.totals() == {
        Loss(LossCause.RATE_LIMIT, rule="shop/rule", by=LostBy("/a")): 5,
        Loss(LossCause.PROCESS_BUFFER_FULL, by=LostBy("/a", "abc", "shop/web")): 1,
    }


def test_places_without_number_take_bounded_memory(monkeypatch):
    monkeypatch.setattr(loss_totals, "_MOST_NAMED", 3)
    totals = LossTotals(lambda cgroup: LostBy(f"/{cgroup}"))
    totals.add(LostRecords(Kind.CALLS, cgroup, None, 1) for cgroup in range(100))
    full = LossCause.CALL_BUFFER_FULL
    named = {Loss(full, by=LostBy(f"/{cgroup}")): 1 for cgroup in range(3)}
    assert totals.totals() == {**named, Loss(full): 97}


def test_what_the_process_table_forgot_is_told_by_whose_it_was():
    totals = LossTotals(lambda cgroup: LostBy(f"/{cgroup}", pod="shop/web"))
    forgot = Loss(LossCause.PROCESS_TABLE_FULL)
    for where, count in ((7, 2), ("/system.slice/ssh.service", 1), (7, 3)):
        totals.count(forgot, where, count)
    assert totals.totals() == {
        Loss(LossCause.PROCESS_TABLE_FULL, by=LostBy("/7", pod="shop/web")): 5,
        Loss(LossCause.PROCESS_TABLE_FULL, by=LostBy("/system.slice/ssh.service")): 1,
    }
