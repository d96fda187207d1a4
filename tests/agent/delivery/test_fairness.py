"""No namespace's alerts keep another's from a sink: neither by coming first, nor by filling the queue."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_support.http_receiver import Answer, HttpReceiver
from agent_support.waiting import eventually
from hypothesis import given, settings
from hypothesis import strategies as st

from tiercel_agent.backoff import Backoff
from tiercel_agent.delivery.queues.queue import AlertQueue, open_queue
from tiercel_agent.delivery.queues.spool import Spool
from tiercel_agent.delivery.worker import SinkWorker
from tiercel_agent.sinks.http.http import open_http
from tiercel_agent.sinks.model import Sink, SinkSettings, Unavailable
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import HttpSink
from tiercel_engine.rule import Origin

LIMIT = 64 << 20


def alert(output: str, namespace: str, priority: Priority = Priority.NOTICE, **more: Any) -> Alert:
    fields: dict[str, Any] = {"container.id": "3f29aa01c8d7", "k8s.ns.name": namespace, **more.pop("fields", {})}
    return Alert(1, "A rule", priority, "syscall", "node", output, (), fields, **more)


def flood(namespace: str, first: int, last: int, priority: Priority = Priority.NOTICE, **more: Any) -> list[Alert]:
    return [alert(f"{namespace} {number}", namespace, priority, **more) for number in range(first, last)]


def outputs(alerts: Sequence[Alert]) -> list[str]:
    return [each.output for each in alerts]


def drained(queue: AlertQueue, most: int = 64) -> list[str]:
    texts: list[str] = []
    while batch := queue.next(most):
        texts += outputs(batch)
        queue.done(len(batch))
    return texts


@pytest.fixture(params=["disk", "memory"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., AlertQueue]]:
    made: list[AlertQueue] = []

    def make(limit: int = LIMIT, most: int = 8192) -> AlertQueue:
        if request.param == "disk":
            made.append(open_queue(tmp_path / "spool", limit))
        else:
            made.append(AlertQueue(None, most))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_anothers_alert_is_next_however_many_wait(opened: Callable[..., AlertQueue]) -> None:
    queue = opened()
    queue.append(flood("greedy", 0, 3000))
    batch = queue.next(16)  # being sent while the other comes
    queue.append([alert("theirs", "shop", Priority.CRITICAL)])
    queue.done(len(batch))
    assert "theirs" in outputs(queue.next(2))


def test_every_namespace_has_its_turn_and_its_most_urgent_alerts_come_first(opened: Callable[..., AlertQueue]) -> None:
    queue = opened()
    queue.append(flood("greedy", 0, 100, Priority.EMERGENCY))
    queue.append(flood("shop", 0, 3, Priority.DEBUG))
    queue.append(flood("shop", 3, 5, Priority.CRITICAL))
    queue.append(flood("bank", 0, 2))
    first = drained(queue, 5)[:12]
    assert [text for text in first if text.startswith("shop")] == ["shop 3", "shop 4", "shop 0", "shop 1", "shop 2"]
    assert [text for text in first if text.startswith("bank")] == ["bank 0", "bank 1"]
    assert Counter(text.split()[0] for text in first) == {"greedy": 5, "shop": 5, "bank": 2}


def test_each_flow_stays_in_order_whatever_the_batches(opened: Callable[..., AlertQueue]) -> None:
    queue = opened()
    got: list[str] = []
    for number in range(0, 300, 3):
        queue.append([*flood("greedy", number, number + 3), *flood("shop", number, number + 1)])
        batch = queue.next(number % 7 + 1)
        half = len(batch) // 2 + 1
        got += outputs(batch)[:half]
        queue.done(half)
    got += drained(queue)
    assert [text for text in got if text.startswith("greedy")] == outputs(flood("greedy", 0, 300))
    assert [text for text in got if text.startswith("shop")] == [f"shop {number}" for number in range(0, 300, 3)]


def test_an_alert_that_its_destination_never_takes_holds_up_its_own_namespace_alone(
    opened: Callable[..., AlertQueue],
) -> None:
    got: list[str] = []

    def send(alerts: Sequence[Alert]) -> None:
        if any(each.output == "greedy 3" for each in alerts):
            raise Unavailable("answers 500")
        got.extend(outputs(alerts))

    queue = opened()
    queue.append([*flood("greedy", 0, 20), *flood("shop", 0, 20)])
    worker = SinkWorker("sink x", lambda: Sink(send=send, batch=8), queue, Backoff(lambda: 0.0001))
    eventually(lambda: len(got) == 23)
    assert [text for text in got if text.startswith("shop")] == outputs(flood("shop", 0, 20))
    assert [text for text in got if text.startswith("greedy")] == outputs(flood("greedy", 0, 3))
    worker.close(0.0)


def test_a_share_that_was_served_waits_for_the_others(opened: Callable[..., AlertQueue]) -> None:
    queue = opened()
    for namespace in ("a", "b", "c"):
        queue.append(flood(namespace, 0, 10))
    got = []
    for _ in range(6):
        got += outputs(queue.next(1))  # as a destination is tried that is down
        queue.done(1)
    assert sorted(got) == ["a 0", "a 1", "b 0", "b 1", "c 0", "c 1"]


def test_a_full_queue_drops_the_least_urgent_of_the_namespace_that_has_most(opened: Callable[..., AlertQueue]) -> None:
    queue = opened(1 << 20, 1000)
    queue.append([alert("theirs", "shop", Priority.CRITICAL)])
    queue.append(flood("shop", 0, 10, Priority.DEBUG))
    queue.append(flood("greedy", 0, 200, Priority.WARNING))
    for first in range(0, 20_000, 100):
        queue.append(flood("greedy", first, first + 100, Priority.NOTICE))
    assert queue.lost > 10_000
    queue.append(flood("greedy", 200, 300, Priority.WARNING))
    left = drained(queue)
    assert left[0] == "theirs" or left[1] == "theirs"
    assert [text for text in left if text.startswith("shop")] == outputs(flood("shop", 0, 10))
    urgent = outputs(flood("greedy", 0, 300, Priority.WARNING))
    assert [text for text in left if text.startswith("greedy")][:300] == urgent
    assert left[-1] == "greedy 19999"  # of the others, the oldest went


def test_a_tenants_own_rules_hold_up_nothing_that_the_systems_rules_tell_of_its_pods(
    opened: Callable[..., AlertQueue],
) -> None:
    """Their priority is the tenant's choice, and so is how often they match."""
    queue = opened(1 << 20, 1000)
    own = Origin("greedy", "noise")
    for first in range(0, 10_000, 100):
        queue.append(flood("greedy", first, first + 100, Priority.EMERGENCY, origin=own))
    queue.append([alert("theft", "greedy", Priority.NOTICE, origin=Origin("tiercel-system", "default"))])
    queue.append(flood("greedy", 10_000, 13_000, Priority.EMERGENCY, origin=own))
    assert "theft" in outputs(queue.next(2))


def test_pods_that_flood_a_rule_of_the_system_cost_their_own_namespace_alone(opened: Callable[..., AlertQueue]) -> None:
    queue = opened()
    default = Origin("tiercel-system", "default")
    queue.append(flood("greedy", 0, 3000, Priority.CRITICAL, origin=default))
    queue.append([alert("theirs", "shop", Priority.DEBUG, origin=default)])
    queue.append([Alert(1, "Host", Priority.DEBUG, "syscall", "node", "host's", (), {}, default)])
    nobodys = {"k8s.ns.name": None, "container.id": "77"}
    queue.append([alert("no pod's", "", Priority.DEBUG, origin=default, fields=nobodys)])
    assert {"theirs", "host's", "no pod's"} < set(outputs(queue.next(4)))


@pytest.mark.parametrize("namespace", ["../../etc", "a/b", "", ".", "Shop", "x" * 64, "a.own", "_host", "a\n"])
def test_what_is_no_namespace_has_no_share_of_its_own(tmp_path: Path, namespace: str) -> None:
    queue = open_queue(tmp_path / "spool", LIMIT)
    queue.append([alert("a", namespace), alert("b", "shop", origin=Origin(namespace or "a b", "x"))])
    assert (sorted(drained(queue)), queue.trouble) == (["a", "b"], "")
    assert {path.name for path in tmp_path.rglob("*.[0-7]")} == {"_container.5"}
    queue.close()


def test_while_the_disk_takes_nothing_another_namespace_still_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = open_queue(tmp_path / "spool", LIMIT)
    queue.append(flood("greedy", 0, 3000))
    monkeypatch.setattr("tiercel_agent.delivery.queues.spool.FREE", 1.0)
    monkeypatch.setattr("tiercel_agent.delivery.queues.spool._LOOK", 0)
    queue.append(flood("greedy", 3000, 3010))
    queue.append([alert("theirs", "shop", Priority.CRITICAL)])
    assert "of the disk is free" in queue.trouble
    assert "theirs" in outputs(queue.next(2))
    left = drained(queue)
    assert [text for text in left if text.startswith("greedy")] == outputs(flood("greedy", 0, 3010))
    queue.close()


_FLOODED = """
import sys, time
from pathlib import Path
from tiercel_agent.delivery.queues.queue import open_queue
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
def alert(output, namespace, priority):
    fields = {"container.id": "3f29aa01c8d7", "k8s.ns.name": namespace}
    return Alert(1, "A rule", priority, "syscall", "node", output, (), fields)
queue = open_queue(Path(sys.argv[1]), 1 << 20)
queue.append([alert("theirs", "shop", Priority.CRITICAL)])
for number in range(6000):
    queue.append([alert(f"greedy {number}", "greedy", Priority.NOTICE)])
queue.next(64)
print(queue.count, flush=True)
time.sleep(60)
"""


def test_after_a_kill_the_same_holds(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _FLOODED, str(tmp_path / "spool")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    waiting = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    queue = open_queue(tmp_path / "spool", 1 << 20)
    assert (queue.count, queue.lost) == (waiting, 0)
    assert "theirs" in outputs(queue.next(2))
    for first in range(6000, 9000, 100):
        queue.append(flood("greedy", first, first + 100))
    left = drained(queue)
    assert "theirs" in left[:2]
    greedy = [int(text.split()[1]) for text in left if text.startswith("greedy")]
    assert greedy == list(range(greedy[0], 9000))
    queue.close()


def test_at_a_receiver_anothers_alert_comes_among_the_next(tmp_path: Path) -> None:
    with HttpReceiver([Answer(held=True)]) as receiver:
        queue = open_queue(tmp_path / "spool", LIMIT)
        sink = HttpSink(url=receiver.url)
        worker = SinkWorker("sink x", lambda: open_http(sink, SinkSettings("x", AlertSinkSpec())), queue)
        worker.put(flood("greedy", 0, 3000))
        receiver.one()  # which isn't answered yet
        worker.put([alert("theirs", "shop", Priority.CRITICAL)])
        receiver.release()
        eventually(lambda: worker.totals().delivered > 10)
        came = [json.loads(receiver.one().body)["output"] for _ in range(10)]
        worker.close(0.0)
    (place,) = [at for at, output in enumerate(came) if output.endswith("theirs")]
    assert place < 3


OPERATION = st.one_of(
    st.tuples(st.just("append"), st.lists(st.integers(0, 8), max_size=12)),
    st.tuples(st.just("next"), st.integers(1, 12)),
    st.tuples(st.just("done"), st.integers(1, 8)),
    st.tuples(st.just("full"), st.booleans()),
    st.tuples(st.just("limit"), st.integers(0, 6000)),
    st.tuples(st.just("reopen"), st.just(0)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(OPERATION, max_size=30))
def test_whatever_happens_each_alert_is_done_or_lost_or_waits_and_flows_are_in_order(
    operations: list[tuple[str, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiercel_agent.delivery.queues.queue._WRITE_AGAIN", 0.0)
        patch.setattr("tiercel_agent.delivery.queues.queue._BATCH", 3)
        patch.setattr("tiercel_agent.delivery.queues.spool._LOOK", 0)
        opener = lambda: Spool(Path(name), 1 << 20)  # noqa: E731
        queue = AlertQueue(None, 10, opener)
        put: Counter[int] = Counter()
        finished: dict[int, list[int]] = {flow: [] for flow in range(9)}
        lost = 0
        hand: list[Alert] = []

        def finish(done: Sequence[Alert]) -> None:
            for each in done:
                finished[int(each.rule)].append(int(each.output))

        for kind, value in [*operations, ("full", False), ("reopen", 0)]:
            if kind == "append":
                for flow in value:
                    each = alert(str(put[flow]), f"n{flow // 3}", Priority(flow % 3))
                    queue.append([replace(each, rule=str(flow))])
                    put[flow] += 1
            elif kind == "next":
                hand = list(queue.next(value))
                assert bool(hand) == bool(queue.count)
            elif kind == "done":
                queue.done(value)
                finish(hand[:value])
                hand = hand[value:]
            elif kind == "full":
                patch.setattr("tiercel_agent.delivery.queues.spool.FREE", 1.0 if value else -1.0)
            elif kind == "limit":
                queue.limit(value)
            else:
                queue.close()
                lost += queue.lost
                queue, hand = AlertQueue(None, 10, opener), []
        while batch := queue.next(5):
            finish(batch)
            queue.done(len(batch))
        for numbers in finished.values():
            assert numbers == sorted(set(numbers))
        assert sum(map(len, finished.values())) + lost + queue.lost == put.total()
        queue.close()
