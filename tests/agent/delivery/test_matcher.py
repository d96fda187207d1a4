"""Which alerts a sink gets: what it asks for, its own namespace, silences, and one of many that are alike."""

from __future__ import annotations

from typing import Any

import pytest

from tiercel_agent.delivery.matcher import accepts, silences
from tiercel_agent.delivery.throttle import SEEN_MORE, Throttle, throttle_of
from tiercel_agent.sinks.model import BadSink, SinkSettings
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.encoding import from_json
from tiercel_engine.rule import Origin


def alert(rule: str = "Shell in a pod", namespace: str = "shop", **more: Any) -> Alert:
    fields: dict[str, Any] = {"container.id": "0123456789ab", "proc.name": "sh"}
    if namespace:
        fields |= {"k8s.ns.name": namespace, "k8s.pod.uid": "u-1", "k8s.pod.labels": "app:web, tier:front"}
        fields |= {"k8s.owner.kind": "Deployment", "k8s.owner.name": "web"}
    fields |= more.pop("fields", {})
    made: dict[str, Any] = {
        "priority": Priority.WARNING,
        "tags": ("shell", "T1059"),
        "output": "sh",
        "origin": None,
    } | more
    return Alert(1, rule, made["priority"], "syscall", "node-1", made["output"], made["tags"], fields, made["origin"])


def spec(**content: Any) -> AlertSinkSpec:
    return from_json(AlertSinkSpec, {"stdout": {}, **content})


def takes(match: dict[str, Any], *alerts: Alert, namespace: str = "tiercel-system") -> list[bool]:
    test = accepts(SinkSettings("a", spec(match=match) if match else spec(), namespace))
    return [test(each) for each in alerts]


def test_without_a_match_a_sink_of_the_system_gets_everything() -> None:
    assert takes({}, alert(), alert(namespace="")) == [True, True]
    assert takes({}, alert(), namespace="") == [True]


def test_a_tenants_sink_gets_its_own_namespaces_alerts_whatever_it_asks_for() -> None:
    alerts = (alert(), alert(namespace="bank"), alert(namespace=""))
    assert takes({}, *alerts, namespace="shop") == [True, False, False]
    assert takes({"namespaces": ["*"]}, *alerts, namespace="shop") == [True, False, False]


@pytest.mark.parametrize(
    ("match", "wanted"),
    [
        ({"minimumPriority": "Warning"}, [True, False]),
        ({"minimumPriority": "Error"}, [False, False]),
        ({"minimumPriority": "Debug"}, [True, True]),
        ({"rules": ["Shell*"]}, [True, False]),
        ({"rules": ["Read", "Shell in a pod"]}, [True, True]),
        ({"tags": ["T1059", "other"]}, [True, False]),
        ({"namespaces": ["sh?p"]}, [True, False]),
        ({"fields": {"proc.name": "s*"}}, [True, True]),
        ({"fields": {"proc.name": "s*", "fd.name": "*"}}, [False, True]),
        ({"fields": {"container.privileged": "true"}}, [False, True]),
        ({"pods": {"matchLabels": {"app": "web"}}}, [True, False]),
        ({"pods": {"matchLabels": {"app": "web", "tier": "back"}}}, [False, False]),
        ({"pods": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}]}}, [True, False]),
        ({"pods": {"matchExpressions": [{"key": "none", "operator": "DoesNotExist"}]}}, [True, False]),
    ],
)
def test_everything_that_a_match_asks_must_hold(match: dict[str, Any], wanted: list[bool]) -> None:
    fields = {"fd.name": "/etc/shadow", "container.privileged": True, "k8s.ns.name": None}
    other = alert("Read", "", priority=Priority.NOTICE, tags=(), fields=fields)
    assert takes(match, alert(), other) == wanted


def test_a_glob_meets_hostile_names_in_linear_time() -> None:
    match = {"fields": {"proc.name": "*a" * 100 + "b"}}
    assert takes(match, alert(fields={"proc.name": "a" * 4096 + "\udcff\n"})) == [False]


def test_silences_end_by_themselves() -> None:
    compiled = silences(
        spec(
            silences=[
                {
                    "matcher": {"rules": ["Shell*"]},
                    "until": "2026-01-31T12:00:00Z",
                    "owner": "ada",
                    "reason": "maintenance",
                }
            ]
        ).silences
    )
    end = 1769860800.0
    assert [compiled.holds(alert(), now) for now in (end - 1, end, end + 1)] == [True, False, False]
    assert not compiled.holds(alert("Read"), end - 1)


def test_a_silence_whose_end_is_no_time_is_an_error() -> None:
    wanted = {"matcher": {"rules": ["a"]}, "until": "tomorrow", "owner": "ada", "reason": "r"}
    with pytest.raises(BadSink, match="'tomorrow': write a time such as"):
        silences(spec(silences=[wanted]).silences)


def test_the_first_of_many_goes_out_and_the_others_are_told_by_one() -> None:
    throttle = Throttle(600)
    first, *others = [alert(output=f"sh {number}") for number in range(43)]
    sent = [each for number, one in enumerate([first, *others]) for each in throttle.take(one, number)]
    assert sent == [first]
    assert list(throttle.ended(599)) == []
    (told,) = throttle.ended(600)
    assert told.output == "sh 42 (seen 41 more times in 10 min)"
    assert told.output_fields[SEEN_MORE] == 41
    assert told.id not in {each.id for each in others}
    assert throttle.suppressed == 41
    assert list(throttle.ended(10_000)) == []


def test_one_that_is_alike_alone_goes_out_as_it_is() -> None:
    throttle = Throttle(60)
    second = alert(output="second")
    assert [*throttle.take(alert(), 0), *throttle.take(second, 1)] == [alert()]
    (told,) = throttle.ended(60)
    assert (told, throttle.suppressed) == (second, 0)


def test_what_comes_after_the_window_goes_out_behind_what_is_told_of_it() -> None:
    throttle = Throttle(60)
    list(throttle.take(alert(), 0))
    list(throttle.take(alert(output="a"), 1))
    list(throttle.take(alert(output="b"), 2))
    assert [each.output for each in throttle.take(alert(output="c"), 61)] == ["b (seen 1 more time in 1 min)", "c"]


def test_a_burst_goes_out_before_others_are_counted() -> None:
    throttle = Throttle(60, burst=3)
    assert sum(len(list(throttle.take(alert(), 0))) for _ in range(10)) == 3


def test_by_default_rule_and_workload_make_them_alike() -> None:
    throttle = Throttle(60)
    others = [
        alert(fields={"k8s.pod.uid": "u-2"}),  # another pod of the workload
        alert("Read"),
        alert(namespace="bank"),
        alert(fields={"k8s.owner.name": "db"}),
        alert(origin=Origin("shop", "of-a-tenant")),  # another rule of the same name
        alert(namespace=""),
        alert(namespace="", fields={"container.id": "ba9876543210"}),
    ]
    list(throttle.take(alert(), 0))
    assert [bool(list(throttle.take(each, 0))) for each in others] == [False, *[True] * 6]


def test_the_fields_that_make_them_alike_can_be_chosen() -> None:
    throttle = Throttle(60, ("proc.name",))
    taken = [alert(), alert("Read", "bank"), alert(fields={"proc.name": "bash"}), alert(fields={"proc.name": None})]
    assert [bool(list(throttle.take(each, 0))) for each in taken] == [True, False, True, True]


def test_memory_is_bounded_and_what_is_pushed_out_is_told() -> None:
    throttle = Throttle(600, ("proc.name",))
    told = []
    for number in range(5000):
        name = {"proc.name": str(number)}
        told += throttle.take(alert(fields=name), number)
        told += throttle.take(alert(fields=name), number)
    told += throttle.finish()
    assert len(told) == 10_000


def test_a_window_that_is_no_duration_is_an_error() -> None:
    with pytest.raises(BadSink, match=r"throttle\.window: 'soon' is not a duration"):
        throttle_of(spec(throttle={"window": "soon"}).throttle)


def test_memory_is_bounded_whatever_alerts_weigh() -> None:
    throttle = Throttle(600, ("proc.name",))
    told: list[Alert] = []
    for number in range(500):
        big = alert(fields={"proc.name": str(number), "x": "x" * 65536})
        for _ in range(2):
            told += throttle.take(big, number)
    held = 1000 - len(told)
    assert 30 < held < 66
    told += throttle.finish()
    assert len(told) == 1000
    taken = [list(throttle.take(alert(fields={"proc.name": str(number)}), 600)) for number in range(100)]
    assert [len(each) for each in taken] == [1] * 100  # what is gone takes nothing any more
