"""What a SecurityRule's status says of nodes that see less than its rules ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from operator_support.checked import planned

from tiercel_agent.detection.source import Concerned, Counters, Unwatched
from tiercel_agent.evaluation.rule_set import load_rule_set
from tiercel_agent.loss import Loss, Losses
from tiercel_agent.service.node_status import status_of
from tiercel_agent.warning import AgentWarning
from tiercel_engine.resources.encoding import to_json
from tiercel_engine.resources.node_agent import LossCause, WarningKind
from tiercel_operator.cluster.state import State
from tiercel_operator.rules.plan import Planner

REASON = "the kernel's verifier refuses the program message"
SENDING = Unwatched("message", REASON, "", ("sendto", "sendmsg", "recvfrom"), (Concerned("shop/Sends", 1, 1),))
EXECS = Unwatched("exec_failed", "no room", "", ("execve", "execveat"), ())
COSTLY = Unwatched("on_rename", "no such tracepoint", "more calls come", (), ())


def reported(*parts: Unwatched, lost: Losses | None = None, warnings: Sequence[AgentWarning] = ()) -> dict[str, Any]:
    """The status as an agent writes it."""
    counters = Counters(0, lost or {}, frozenset())
    status = status_of(load_rule_set(()), counters, warnings, (), "2026-01-01T00:00:00Z", (), parts)
    body: dict[str, Any] = to_json(status)
    return body


class World:
    """Some SecurityRules, and nodes that report."""

    def __init__(self) -> None:
        self.state = State()
        self.planner = Planner(clock=lambda: 0.0)

    def store(
        self, name: str, condition: str, rule: str = "", namespace: str = "shop", enabled: bool = True, **more: Any
    ) -> None:
        """Stores a SecurityRule with one rule, which is called like it unless ``rule`` says otherwise."""
        item = {"rule": rule or name, "desc": "d", "condition": condition, "output": "o", "priority": "NOTICE"}
        spec = {"rules": [{**item, "enabled": enabled}]}
        metadata = {"namespace": namespace, "name": name.lower(), "uid": name, "generation": 1}
        self.state.take_rule({"metadata": metadata, "spec": {**spec, **more}}, exists=True)

    def report(self, node: str, *parts: Unwatched) -> None:
        self.state.take_agent({"metadata": {"name": node}, "status": reported(*parts)}, exists=True, now=0.0)

    def warn(self, node: str, *warnings: AgentWarning) -> None:
        body = {"metadata": {"name": node}, "status": reported(warnings=warnings)}
        self.state.take_agent(body, exists=True, now=0.0)

    def lose(self, node: str, *losses: Loss, parts: tuple[Unwatched, ...] = ()) -> None:
        """The node has lost nothing, and then one event of each of these losses."""
        for lost in ({}, dict.fromkeys(losses, 1)):
            body = {"metadata": {"name": node}, "status": reported(*parts, lost=lost)}
            self.state.take_agent(body, exists=True, now=0.0)

    def degraded(self) -> dict[str, tuple[str, str, str]]:
        """The condition by SecurityRule."""
        conditions = {}
        for write in planned(self.planner, self.state).statuses:
            (told,) = [each for each in write.status["conditions"] if each["type"] == "DetectionDegraded"]
            conditions[write.origin.name] = told["status"], told["reason"], told["message"]
        return conditions


@pytest.fixture
def world() -> World:
    made = World()
    made.store("Sends", "evt.type = sendto")
    made.store("Opens", "evt.type = openat")
    made.store("Starts", "evt.type = execve")
    made.store("Anything", "proc.name = x")
    return made


def test_rules_say_on_which_nodes_they_are_blind_and_why(world: World) -> None:
    world.report("new")
    world.report("old-2", SENDING)
    world.report("old-1", SENDING)
    conditions = world.degraded()
    assert conditions["sends"] == (
        "True",
        "NotEverythingWatched",
        f"on old-1, old-2 the kernel doesn't let sendto be seen, which is asked for by Sends: {REASON}",
    )
    assert conditions["anything"][2].startswith(
        "on old-1, old-2 the kernel doesn't let sendto, sendmsg, recvfrom be seen"
    )
    assert [conditions[name][:2] for name in ("opens", "starts")] == [("False", "NothingLost")] * 2


def test_where_only_failures_are_not_seen_it_says_so(world: World) -> None:
    world.report("old", EXECS, COSTLY)
    conditions = world.degraded()
    assert conditions["starts"][2] == (
        "on old the kernel doesn't let execve that fail be seen, which is asked for by Starts: no room"
    )
    assert conditions["opens"][0] == "False"


def test_it_is_over_when_the_node_sees_everything(world: World) -> None:
    world.report("node", SENDING)
    assert world.degraded()["sends"][0] == "True"
    world.report("node")
    assert world.degraded()["sends"][0] == "False"


def test_nodes_that_the_rules_are_not_for_do_not_matter(world: World) -> None:
    metadata = {"namespace": "tiercel-system", "name": "chosen", "uid": "c", "generation": 1}
    rule = {"rule": "C", "desc": "d", "condition": "evt.type = sendto", "output": "o", "priority": "NOTICE"}
    spec = {"selector": {"nodes": {"matchNames": ["new"]}}, "rules": [rule]}
    world.state.take_rule({"metadata": metadata, "spec": spec}, exists=True)
    world.report("new")
    world.report("old", SENDING)
    assert world.degraded()["chosen"][0] == "False"


def test_losses_and_blindness_are_both_told(world: World) -> None:
    world.lose("node", Loss(LossCause.CALL_BUFFER_FULL), parts=(SENDING,))
    status, reason, message = world.degraded()["sends"]
    assert (status, reason) == ("True", "EventsLost")
    assert message.startswith("events were lost on node")
    assert REASON in message


NAMES = [
    "Bob's rule",
    'Say "no"',
    """Both ' and " of them""",
    "two\nlines\tand a tab",
    "Überwachung \u202eесли 規則",
    "back\\slash '",
    "x, y and 3 more",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_of_one_rule_degrades_that_rule_alone_whatever_its_name(name: str) -> None:
    world = World()
    world.store("It", "evt.type = sendto", rule=name)
    world.store("Other", "evt.type = sendto", rule=name + "!")
    world.lose("node", Loss(LossCause.RATE_LIMIT, rule=f"shop/{name}"))
    conditions = world.degraded()
    assert conditions["it"][:2] == ("True", "EventsLost")
    assert conditions["other"][:2] == ("False", "NothingLost")


@pytest.mark.parametrize("loss", [Loss(LossCause.CALL_BUFFER_FULL), Loss(LossCause.RATE_LIMIT)])
def test_a_loss_of_no_rule_in_particular_degrades_all(world: World, loss: Loss) -> None:
    world.lose("node", loss)
    assert {each[:2] for each in world.degraded().values()} == {("True", "EventsLost")}


def test_only_rules_that_can_be_concerned_are_degraded(world: World) -> None:
    world.store("Bare", "evt.type = openat and evt.is_open_write = true")
    world.store("Off", "evt.type = openat", enabled=False)

    def degraded(cause: LossCause) -> set[str]:
        world.state.agents.clear()
        world.lose("node", Loss(cause))
        return {name for name, told in world.degraded().items() if told[0] == "True"}

    assert degraded(LossCause.CALL_BUFFER_FULL) == {"sends", "opens", "starts", "anything", "bare"}
    assert degraded(LossCause.PROCESS_BUFFER_FULL) == {"starts", "anything"}
    assert degraded(LossCause.LOOKUP_UNANSWERED) == {"anything"}


def test_what_grew_long_ago_is_no_loss_because_another_one_grows(world: World) -> None:
    old, new = Loss(LossCause.CALL_BUFFER_FULL), Loss(LossCause.RATE_LIMIT, rule="shop/Opens")
    for lost in ({old: 5}, {old: 5, new: 1}):
        body = {"metadata": {"name": "node"}, "status": reported(lost=lost)}
        world.state.take_agent(body, exists=True, now=0.0)
    assert {name for name, told in world.degraded().items() if told[0] == "True"} == {"opens"}


@pytest.mark.parametrize("cause", [LossCause.EVALUATION_BUDGET_EXCEEDED, LossCause.ALERT_BUDGET_EXCEEDED])
def test_a_namespace_whose_rules_take_too_much_is_told_in_its_own_rules_alone(world: World, cause: LossCause) -> None:
    world.store("Theirs", "evt.type = openat", namespace="bank")
    world.store("System", "evt.type = openat", namespace="tiercel-system")
    world.lose("node", Loss(cause, namespace="shop"))
    conditions = world.degraded()
    assert conditions["opens"] == (
        "True",
        "OverBudget",
        "on node the rules of this namespace take more time, or raise more alerts, than they may: lately they did not "
        "see all events of its pods, or alerts were left out",
    )
    assert conditions["sends"] == conditions["opens"]
    assert [conditions[name][:2] for name in ("theirs", "system")] == [("False", "NothingLost")] * 2


def test_what_tenants_lose_pushes_out_no_other_loss() -> None:
    losses = {Loss(LossCause.ALERT_BUDGET_EXCEEDED, namespace=f"ns-{number}"): 10**6 for number in range(1000)}
    told = reported(lost={**losses, Loss(LossCause.CALL_BUFFER_FULL): 1})["lost"]["byCause"]
    assert told[0] == {"cause": "CallBufferFull", "count": 1}


def test_rules_that_nobody_runs_are_not_degraded(world: World) -> None:
    world.store("Sends", "evt.type = sendto", suspend=True)
    world.report("old", SENDING)
    assert world.degraded()["sends"][0] == "False"


def test_a_namespace_beyond_its_budget_is_told_in_its_own_rules_alone(world: World) -> None:
    world.store("Theirs", "evt.type = openat", namespace="bank")
    world.store("System", "evt.type = openat", namespace="tiercel-system")
    world.report("node-0")
    for node in ("node-2", "node-1"):
        world.warn(node, AgentWarning(WarningKind.FILTER_BUDGET_EXCEEDED, ("shop/Opens", "shop/It's \x1b[2J"), "shop"))
    conditions = world.degraded()
    assert conditions["opens"] == (
        "True",
        "OverBudget",
        "on node-1, node-2 the rules of this namespace exceed its budget in the kernel's filter: "
        r"for Opens, It's \x1b[2J, more calls of its pods go to user space, where some may be lost",
    )
    assert conditions["sends"] == conditions["opens"]  # all objects of a namespace have one budget together
    assert [conditions[name][0] for name in ("theirs", "system")] == ["False"] * 2
    world.report("node-1")
    world.report("node-2")
    assert world.degraded()["opens"][0] == "False"


def test_the_system_beyond_its_budget_is_told_too(world: World) -> None:
    world.store("System", "evt.type = openat", namespace="tiercel-system")
    world.warn("node", AgentWarning(WarningKind.TOO_MANY_RULES, ("tiercel-system/System",)))
    conditions = world.degraded()
    assert conditions["system"][:2] == ("True", "OverBudget")
    assert "for System, more calls go to user space" in conditions["system"][2]
    assert conditions["opens"][0] == "False"


def test_what_agents_tell_of_budgets_is_bounded_and_hides_nothing_else() -> None:
    rules = tuple(f"rule {number}" for number in range(1000))
    over = [
        AgentWarning(WarningKind.FILTER_BUDGET_EXCEEDED, tuple(f"ns-{number}/{rule}" for rule in rules), f"ns-{number}")
        for number in range(1000)
    ]
    status = reported(warnings=[*over, AgentWarning(WarningKind.RUNTIME_FAILS, detail="no socket")])
    assert status["warnings"][0]["kind"] == "RuntimeFails"
    assert sum(len(warning.get("names", ())) for warning in status["warnings"]) <= 500
