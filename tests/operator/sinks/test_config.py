"""Which AlertSinks agents get, with their secrets, and what is said of those that they don't get."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from operator_support.sink_objects import World, delivery_report

from tiercel_engine.resources.sink_config import read_sinks
from tiercel_operator.sinks import plan
from tiercel_operator.sinks.config import MOST, MOST_OF_A_NAMESPACE, NoSecret, referred

SYSTEM = "tiercel-system"


def chat(name: str = "chat", key: str = "url") -> dict[str, Any]:
    return {"urlFrom": {"secretRef": {"name": name, "key": key}}}


def template(size: int) -> dict[str, Any]:
    return {"events": {}, "format": "template", "template": "x" * size}


def test_agents_read_what_the_operator_writes() -> None:
    world = World()
    world.secrets = {("shop", "chat"): {"url": b64encode(b"https://chat.example.com/x").decode(), "other": "eA=="}}
    world.sink("chat", generation=7, slack=chat())
    world.turn()
    config = world.sink_configs()["shop/chat"]
    assert (config.generation, config.test) == (7, None)
    assert config.spec.slack is not None
    assert config.secrets == {"chat/url": "https://chat.example.com/x"}
    assert "chat.example.com" not in repr(config)
    assert "chat.example.com" not in str(world.status("chat"))


@pytest.mark.parametrize(
    ("secrets", "reason"),
    [
        ({}, "SecretMissing"),
        ({("shop", "chat"): NoSecret.FORBIDDEN}, "SecretNotReadable"),
        ({("shop", "chat"): {"other": "eA=="}}, "SecretKeyMissing"),
    ],
)
def test_a_sink_whose_secret_lacks_is_not_given_to_agents(secrets: Any, reason: str) -> None:
    world = World()
    world.secrets = secrets
    world.sink("chat", slack=chat())
    world.sink("events")
    world.turn()
    assert set(world.sink_configs()) == {"shop/events"}
    assert world.condition("Valid", "chat")[:2] == ("False", reason)
    assert world.ready()[:2] == ("False", reason)


@pytest.mark.parametrize("levels", [255, 5000])
def test_a_sink_that_is_nested_too_deeply_costs_nobody_else(levels: int) -> None:
    world = World()
    deep: Any = {"secretRef": {"name": "s", "key": "k"}}
    for _ in range(levels):
        deep = {"a": [deep]}
    world.sink("poison", slack={"url": deep})
    world.sink("events")
    world.turn()
    assert set(world.sink_configs()) == {"shop/events"}
    told = world.condition("Valid", "poison")
    assert told == ("False", "Refused", "spec.slack.url.a[0].a[0].a… is nested deeper than 64 levels")
    assert world.ready("poison") == told
    assert world.condition("Valid", "events")[0] == "True"


@pytest.mark.parametrize("kind", [RecursionError, MemoryError, KeyError])
@pytest.mark.parametrize("stage", ["problem_of", "sink_entries", "test_alert_of", "sink_status"])
def test_what_nobody_foresaw_is_told_of_the_sink_that_it_came_of(
    stage: str, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    works = getattr(plan, stage)

    def fails(given: Any, *more: Any) -> Any:
        sinks = given if isinstance(given, list) else [getattr(given, "stored", given)]
        if [each.origin.name for each in sinks] == ["poison"]:
            raise kind("a shape that nobody foresaw")
        return works(given, *more)

    monkeypatch.setattr(plan, stage, fails)
    world = World()
    world.sink("poison")
    world.sink("events")
    world.turn()
    assert "shop/events" in world.sink_configs()
    assert world.condition("Valid", "events")[0] == "True"
    for type_ in ("Valid", "Ready"):
        status, reason, message = world.condition(type_, "poison")
        assert (status, reason) == ("False", "CheckFailed")
        assert f"the object can't be handled: {kind.__name__} at " in message
    writes = world.writes
    world.turn()
    assert world.writes == writes, "it is told once"


def test_a_name_that_leads_to_another_namespace_is_not_asked_for() -> None:
    """The name is a part of the address of the request."""
    world = World()
    world.sink("chat", slack=chat("../../other/secrets/chat"))
    assert referred(world.state.sinks.values()) == set()
    world.turn()
    assert world.ready()[:2] == ("False", "Refused")


def test_a_sink_that_is_suspended_is_not_given_to_agents() -> None:
    world = World()
    world.sink("chat", events={}, suspend=True)
    world.turn()
    assert world.sink_configs() == {}
    assert world.ready()[:2] == ("False", "Suspended")
    assert world.condition("Valid", "chat")[0] == "True"


def test_what_does_not_fit_is_told_and_crowds_out_neither_older_sinks_nor_the_systems() -> None:
    world = World()
    for number in range(20):
        world.passed += 1
        world.sink("chat", f"s{number:02}", **template(60_000))
    world.passed += 1
    world.sink("last", SYSTEM, **template(60_000))
    world.sink("small")
    world.turn()
    assert len(world.plan.content) <= MOST
    given = set(world.sink_configs())
    assert {f"{SYSTEM}/last", "s00/chat", "shop/small"} <= given
    left_out = [f"s{number:02}" for number in range(20) if f"s{number:02}/chat" not in given]
    assert left_out == [f"s{number:02}" for number in range(20 - len(left_out), 20)]
    assert left_out
    for namespace in left_out:
        status, reason, message = world.ready("chat", namespace)
        assert (status, reason) == ("False", "TooLarge")
        assert "this one 59, and agents can be given 960: shorten" in message
    assert world.condition("Valid", "chat", left_out[0])[0] == "True"

    world.sink("chat", "s00", generation=2, **template(60_000), suspend=True)
    world.turn()
    assert f"{left_out[0]}/chat" in world.sink_configs()
    assert world.ready("chat", left_out[0])[1] == "NoReports"


def test_a_tenant_crowds_out_nobody_else() -> None:
    world = World()
    for number in range(10):
        world.passed += 1
        world.sink(f"s{number}", **template(60_000))
    world.passed += 1
    world.sink("chat", "other", **template(60_000))
    world.turn()
    assert set(world.sink_configs()) == {"other/chat", "shop/s0", "shop/s1", "shop/s2", "shop/s3"}
    status, reason, message = world.ready("s4")
    assert (status, reason) == ("False", "TooLarge")
    assert "all of a namespace can have 240: shorten" in message


def test_a_tenant_has_so_many_sinks_and_no_more() -> None:
    """Each is a thread on every node, and a request for each of its Secrets."""
    world = World()
    for number in range(MOST_OF_A_NAMESPACE + 1):
        world.passed += 1
        world.sink(f"s{number:02}", slack=chat(f"c{number:02}"))
        world.sink(f"s{number:02}", SYSTEM)
    wanted = {("shop", f"c{number:02}") for number in range(MOST_OF_A_NAMESPACE)}
    assert referred(world.state.sinks.values()) == wanted
    world.secrets = {name: {"url": "eA=="} for name in wanted}
    world.turn()
    assert len(world.sink_configs()) == 2 * MOST_OF_A_NAMESPACE + 1
    assert world.ready(f"s{MOST_OF_A_NAMESPACE}")[:2] == ("False", "TooMany")
    assert world.condition("Valid", f"s{MOST_OF_A_NAMESPACE}")[:2] == ("False", "TooMany")


def test_a_sink_that_refers_to_too_many_secrets_has_none_read() -> None:
    world = World()
    headers = [
        {"name": f"x-{number}", "valueFrom": {"secretRef": {"name": f"s{number}", "key": "k"}}} for number in range(11)
    ]
    world.sink("hook", http={"url": "https://example.org/", "headers": headers})
    assert referred(world.state.sinks.values()) == set()
    world.turn()
    status, reason, message = world.ready("hook")
    assert (status, reason) == ("False", "Refused")
    assert "refers to 11 Secrets: 10 is the most" in message


def test_tests_take_no_sink_out_of_force() -> None:
    world = World()
    for number in range(14):
        world.sink(f"s{number:02}", SYSTEM, test="\N{GRINNING FACE}" * 256, **template(65_000))
    for number in range(200):
        world.sink(f"t{number:03}", SYSTEM, test="\N{GRINNING FACE}" * 256)
    world.report("n1", *(delivery_report(f"t{number:03}", SYSTEM) for number in range(200)))
    world.turn()
    given = world.sink_configs()
    assert len(world.plan.content) <= MOST
    tested = {name for name in given if name.startswith(f"{SYSTEM}/t")}
    assert tested == {f"{SYSTEM}/t{number:03}" for number in range(200)}
    assert 0 < sum(each.test is not None for each in given.values()) < 200


def test_the_addresses_of_nodes_and_of_the_api_server_come_with_the_sinks() -> None:
    world = World()
    world.sink("chat", http={"url": "https://a.example"})

    def node(name: str, *addresses: tuple[str, str], exists: bool = True) -> bool:
        told = [{"type": type_, "address": address} for type_, address in addresses]
        body = {"metadata": {"name": name}, "status": {"addresses": told}}
        return world.state.take_node(body, exists=exists)

    assert node("a", ("InternalIP", "10.0.0.1"), ("Hostname", "a"), ("ExternalIP", "203.0.113.1"))
    assert node("b", ("InternalIP", "10.0.0.2"))
    world.state.api_addresses = ("10.0.1.1",)
    world.state.service_networks = ("10.96.0.0/12",)
    world.turn()
    assert read_sinks(world.plan.content).service_networks == ("10.96.0.0/12",)
    assert read_sinks(world.plan.content).cluster_addresses == ("10.0.0.1", "10.0.0.2", "10.0.1.1", "203.0.113.1")
    assert not node("b", ("InternalIP", "10.0.0.2"))  # nothing new
    assert node("b", ("InternalIP", "10.0.0.3"))
    assert node("a", exists=False)
    world.turn()
    assert read_sinks(world.plan.content).cluster_addresses == ("10.0.0.3", "10.0.1.1")
