"""What the operator's planning costs: a thousand SecurityRules, five thousand nodes. `make bench-operator`.

Without an API server: what is measured is all that lies between an event and the writes that follow from it. Workers
check the rules, whose time isn't among the operator's own seconds of CPU.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tiercel_operator.cluster.state import State
from tiercel_operator.main import WORK, WORKERS
from tiercel_operator.rules.checks import RuleChecks
from tiercel_operator.rules.plan import Plan, Planner
from tiercel_operator.workers.pool import WorkerPool
from tiercel_operator.workers.slots import FairSlots

RULES, NAMESPACES, NODES, ALERTING = 1000, 200, 5000, 20
_PATIENCE = 600.0  # seconds that checks are waited for


def main() -> None:
    workers = WorkerPool(WORK)
    asyncio.run(_measure(workers))
    workers.close()


async def _measure(workers: WorkerPool) -> None:
    state, planner = State(), Planner()
    checks = RuleChecks(workers, FairSlots(WORKERS), lambda: None)

    async def turn() -> Plan:
        checks.want(planner.candidates(state))
        await checks.settle(_PATIENCE)
        return planner.plan(state, checks.verdicts())

    for number in range(RULES):
        state.take_rule(_rule(number, "spawned_process and container"), exists=True)
    terms = [
        {"macro": "spawned_process", "condition": "evt.type in (execve, execveat)"},
        {"macro": "container", "condition": "container.id != host"},
    ]
    state.take_rule(_object("tiercel-system", "terms", terms), exists=True)
    for number in range(NODES):
        state.take_node({"metadata": {"name": f"node-{number}"}}, exists=True)
    print(f"{RULES} SecurityRules in {NAMESPACES} namespaces, {NODES} nodes; seconds that pass, and of CPU\n")
    plan = await _timed("all of it, for the first time", turn)
    _store(state, planner, plan)
    for number in range(NODES):
        state.take_agent(_report(number, plan.bundle.hash), exists=True, now=0.0)
    _store(state, planner, await _timed("all nodes have reported", turn))
    await _timed("nothing has changed", turn)
    state.take_rule(_rule(7, "spawned_process and container and proc.name = sh"), exists=True)
    plan = await _timed("one rule has changed", turn)
    print(f"\nwrites that follow from it: {len(plan.statuses)} statuses")
    print(f"memory at its peak: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


async def _timed(what: str, work: Callable[[], Awaitable[Plan]]) -> Plan:
    begun, cpu = time.monotonic(), time.process_time()
    plan = await work()
    print(f"  {time.monotonic() - begun:6.2f}  {time.process_time() - cpu:6.2f}  {what}")
    return plan


def _store(state: State, planner: Planner, plan: Plan) -> None:
    """Puts into the state what the API server would report of the writes."""
    for write in plan.statuses:
        stored = state.rules[write.origin]
        body = _object(write.origin.namespace, write.origin.name, [])
        state.take_rule(body | {"spec": stored.object.spec, "status": write.status}, exists=True)
        planner.written(write.origin)


def _rule(number: int, condition: str) -> dict[str, Any]:
    item = {
        "rule": f"Rule {number}",
        "desc": "a program of a deployment's own that starts",
        "condition": f"{condition} and proc.name = app-{number}",
        "output": "%proc.cmdline",
        "priority": "NOTICE",
    }
    return _object(f"namespace-{number % NAMESPACES}", f"rule-{number}", [item])


def _object(namespace: str, name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "uid": name, "generation": 1}
    return {"metadata": metadata, "spec": {"rules": items}}


def _report(number: int, bundle: str) -> dict[str, Any]:
    alerts = [
        {"namespace": f"namespace-{rule % NAMESPACES}", "name": f"rule-{rule}", "rule": f"Rule {rule}", "count": 3}
        for rule in range(ALERTING)
    ]
    status = {"bundle": bundle, "rules": RULES, "lost": {"total": 0}, "alerts": alerts, "kernel": "6.18.0"}
    return {"metadata": {"name": f"node-{number}"}, "status": status}


if __name__ == "__main__":
    main()
