"""The AlertSinks that are mounted into the agent: taken when they change, kept when they can't be read, told of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from agent_support.waiting import eventually

from tiercel_agent.delivery.dispatcher import Dispatcher
from tiercel_agent.delivery.queues.spool_folders import SpoolSettings
from tiercel_agent.service.alert_sinks import AlertSinks
from tiercel_agent.sinks.model import BadSink, Place, Sink, SinkSettings, Unavailable
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import EventsSink
from tiercel_engine.resources.encoding import to_json
from tiercel_engine.resources.node_agent import SinkDeliveryReport
from tiercel_engine.resources.sink_config import write_sinks

OWN = SinkSettings("events", AlertSinkSpec(events=EventsSink()))


def entry(name: str, namespace: str = "shop", generation: Any = 1, **more: Any) -> dict[str, Any]:
    spec = more.pop("spec", {"http": {"urlFrom": {"secretRef": {"name": "chat", "key": "url"}}}})
    secrets = {"chat/url": "https://secret.example/hook"}
    return {"namespace": namespace, "name": name, "generation": generation, "spec": spec, "secrets": secrets} | more


class Mounted:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "sinks.json"
        self.opened: list[SinkSettings] = []
        self.got: list[tuple[str, Alert]] = []
        self.down = False
        self.dispatcher = Dispatcher(self.open, SpoolSettings())
        place = Place("host-1", "node-1", kubernetes=True)
        self.cluster: list[tuple[Sequence[str], Sequence[str]]] = []
        self.sinks = AlertSinks(self.path, [OWN], self.dispatcher, place, lambda *told: self.cluster.append(told))

    def open(self, settings: SinkSettings) -> Sink:
        self.opened.append(settings)
        if settings.name == "broken":
            raise BadSink("the key url of the Secret chat isn't known here")

        def send(alerts: Sequence[Alert]) -> None:
            if self.down:
                raise Unavailable("answers 503")
            self.got += [(settings.name, alert) for alert in alerts]

        return Sink(send=send)

    def write(self, *entries: dict[str, Any]) -> None:
        self.path.write_bytes(write_sinks(entries))
        self.sinks.look()

    def raise_alert(self) -> None:
        fields: dict[str, Any] = {"k8s.ns.name": "shop"}
        self.dispatcher.put(Alert(1, "A rule", Priority.WARNING, "syscall", "h", "seen", (), fields))

    def delivery_reports(self) -> list[SinkDeliveryReport]:
        """Those of AlertSinks."""
        return [each for each in self.sinks.delivery_reports() if each.namespace]

    def names(self) -> set[str]:
        return {name for name, _ in self.got}


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounted]:
    made = Mounted(tmp_path)
    yield made
    made.dispatcher.close(1)


def test_alert_sinks_get_alerts_with_their_secrets(mounted: Mounted) -> None:
    mounted.write(entry("chat"), entry("other", "bank"), entry("all", "tiercel-system"))
    mounted.raise_alert()
    eventually(lambda: mounted.names() == {"events", "chat", "all"})
    (chat,) = [each for each in mounted.opened if each.name == "chat"]
    assert chat.secrets == {"chat/url": "https://secret.example/hook"}
    assert "secret" not in repr(chat.secrets) or "secrets" not in repr(chat)


def test_before_the_operator_has_given_any_the_agents_own_work(mounted: Mounted) -> None:
    mounted.sinks.look()
    mounted.raise_alert()
    eventually(lambda: mounted.names() == {"events"})


def test_an_events_sink_of_the_system_takes_the_place_of_the_default(mounted: Mounted) -> None:
    mounted.write(entry("mine", "tiercel-system", spec={"events": {"perMinute": 5}}))
    mounted.raise_alert()
    eventually(lambda: mounted.names() == {"mine"})
    mounted.write(entry("of-a-tenant", spec={"events": {}}))
    mounted.raise_alert()
    eventually(lambda: mounted.names() == {"mine", "events", "of-a-tenant"})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"sinks": 5}', b"\xff\xfe"])
def test_a_file_that_cannot_be_read_changes_nothing(mounted: Mounted, content: bytes) -> None:
    mounted.write(entry("chat"))
    mounted.path.write_bytes(content)
    mounted.sinks.look()
    mounted.raise_alert()
    eventually(lambda: mounted.names() == {"events", "chat"})


def test_a_file_that_is_gone_changes_nothing(mounted: Mounted) -> None:
    mounted.write(entry("chat"))
    mounted.path.unlink()
    mounted.sinks.look()
    mounted.raise_alert()
    eventually(lambda: mounted.names() == {"events", "chat"})


@pytest.mark.parametrize(
    "bad",
    [
        5,
        {},
        entry("bad", spec={"http": 5}),
        entry("bad", spec={"http": {"batch": {}}}),
        entry("bad", secrets=None),
        entry("bad", generation="x"),
        entry("bad", test=5),
    ],
)
def test_one_entry_that_cannot_be_read_costs_no_other(mounted: Mounted, bad: Any) -> None:
    mounted.write(bad, entry("chat"))
    mounted.raise_alert()
    eventually(lambda: mounted.names() == {"events", "chat"})


def test_delivery_reports_tell_of_each(mounted: Mounted) -> None:
    mounted.write(entry("chat", generation=7), entry("broken", generation=3))
    mounted.raise_alert()
    eventually(
        lambda: (
            [(each.name, each.generation, each.failing, each.delivered) for each in mounted.delivery_reports()]
            == [("chat", 7, False, 1), ("broken", 3, True, 0)]
        )
    )
    chat, broken = mounted.delivery_reports()
    assert chat.last_success is not None
    assert broken.last_error is not None
    assert (broken.last_error.message, broken.last_error.node) == (
        "the key url of the Secret chat isn't known here",
        "node-1",
    )
    assert broken.queued == 1
    assert [each.name for each in mounted.sinks.delivery_reports() if not each.namespace] == [
        "events"
    ]  # the agent's own
    assert "hook" not in str(to_json(broken))


def test_what_tenants_can_reach_comes_with_the_sinks(mounted: Mounted) -> None:
    mounted.path.write_bytes(write_sinks([entry("chat")], ["10.0.0.2", "10.0.0.1"], ["10.96.0.0/12"]))
    mounted.sinks.look()
    mounted.path.write_bytes(b'{"sinks": [], "clusterAddresses": "nonsense", "serviceNetworks": 5}')
    mounted.sinks.look()
    assert mounted.cluster == [(("10.0.0.1", "10.0.0.2"), ("10.96.0.0/12",)), ((), ())]


def test_a_test_alert_is_sent_once_by_the_node_that_is_asked(mounted: Mounted) -> None:
    asked = {"id": "try \x1b[31m 1", "node": "node-1"}
    mounted.write(entry("chat", test=asked), entry("other", test={"id": "x", "node": "node-2"}))
    eventually(lambda: len(mounted.got) == 1)
    name, alert = mounted.got[0]
    assert (name, alert.rule) == ("chat", "Tiercel: test alert")
    assert "shop/chat" in alert.output
    eventually(lambda: getattr(mounted.delivery_reports()[0].test, "milliseconds", None) is not None)
    mounted.write(entry("chat", generation=2, test=asked))  # the sink has changed, the test is the same
    mounted.write(entry("chat", test={"id": "try 2", "node": "node-1"}))
    eventually(lambda: len(mounted.got) == 2)
    tested = mounted.delivery_reports()[0].test
    assert tested is not None
    assert tested.id == "try 2"


def test_a_test_alert_that_cannot_be_delivered_tells_why(mounted: Mounted) -> None:
    mounted.down = True
    mounted.write(entry("chat", test={"id": "1", "node": "node-1"}))
    eventually(lambda: any(each.test is not None and each.test.error for each in mounted.delivery_reports()))
    tested = mounted.delivery_reports()[0].test
    assert tested is not None
    assert (tested.error, tested.milliseconds, tested.node) == ("answers 503", None, "node-1")


@pytest.mark.parametrize("content", [b"", b"{", b'{"sinks": 5}'])
def test_at_the_start_the_agents_own_work_whatever_the_file_is(mounted: Mounted, content: bytes) -> None:
    mounted.path.write_bytes(content)
    mounted.sinks.look()
    mounted.sinks.look()
    mounted.raise_alert()
    eventually(lambda: mounted.names() == {"events"})
    mounted.write(entry("chat"))
    mounted.raise_alert()
    eventually(lambda: mounted.names() == {"events", "chat"})


def test_a_sink_that_this_agent_cannot_read_is_told_of(mounted: Mounted) -> None:
    mounted.write(entry("new", generation=4, spec={"http": {"batch": 5}}), entry("chat"))
    eventually(lambda: len(mounted.delivery_reports()) == 2)
    (unread,) = [each for each in mounted.delivery_reports() if each.name == "new"]
    assert (unread.namespace, unread.generation, unread.failing, unread.delivered) == ("shop", 4, True, 0)
    assert unread.last_error is not None
    assert unread.last_error.message.startswith("this agent can't read it: ")
    mounted.write(entry("chat"))
    eventually(lambda: [each.name for each in mounted.delivery_reports()] == ["chat"])


def test_no_entry_of_the_file_passes_for_the_agents_own(mounted: Mounted) -> None:
    mounted.write(entry("mine", ""), entry("chat"), entry("chat", spec={"stdout": {}}))
    mounted.raise_alert()
    eventually(lambda: mounted.names() == {"events", "chat"})
    assert "mine" not in {each.name for each in mounted.opened}
