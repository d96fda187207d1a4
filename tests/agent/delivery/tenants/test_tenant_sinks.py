"""Tenants' sinks in their own process, with real destinations, and what becomes of alerts when it fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

import pytest
from agent_support.http_receiver import Answer, HttpReceiver
from agent_support.tenants import LOOPBACK, alone, need_another_user
from agent_support.waiting import eventually

from tiercel_agent.delivery.dispatcher import Dispatcher
from tiercel_agent.delivery.queues.spool_folders import SpoolSettings
from tiercel_agent.powers.giving_up import USER
from tiercel_agent.sinks.model import BadSink, Refused, SinkSettings, Unavailable
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import EventsSink, FileSink, HttpSink, NotifySink


def alert(output: str = "read", namespace: str = "shop") -> Alert:
    return Alert(1, "Read", Priority.WARNING, "syscall", "node-1", output, (), {"k8s.ns.name": namespace})


def http(url: str, namespace: str = "shop", name: str = "test") -> SinkSettings:
    return SinkSettings(name, AlertSinkSpec(http=HttpSink(url=url)), namespace)


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_alerts_arrive_from_another_process() -> None:
    with HttpReceiver() as receiver, alone() as sinks:
        assert sinks.pid is None
        sink = sinks.open(http(receiver.url))
        sink.send([alert("read by cat")])
        assert "read by cat" in json.loads(receiver.one().body)["output"]
        assert sinks.pid not in (None, os.getpid())


def test_the_process_is_another_users_without_powers() -> None:
    with HttpReceiver() as receiver, alone() as sinks:
        sinks.open(http(receiver.url))
        told = status(sinks.pid)
        environment = Path(f"/proc/{sinks.pid}/environ").read_bytes()
        descriptors = [os.readlink(each) for each in Path(f"/proc/{sinks.pid}/fd").iterdir()]
    if os.geteuid() == 0:
        assert told["Uid"].split() == told["Gid"].split() == [str(USER)] * 4
        assert told["Groups"] == ""
    assert {int(told[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert told["NoNewPrivs"] == "1"
    assert b"PROXY" not in environment.upper()
    assert b"KUBERNETES" not in environment
    assert all(each == "/dev/null" or each.startswith("socket:") for each in descriptors), descriptors


def test_it_is_there_only_while_a_tenant_has_a_sink() -> None:
    with HttpReceiver() as receiver, alone() as sinks:
        system = sinks.open(http(receiver.url, "tiercel-system"))
        system.send([alert()])
        assert sinks.pid is None
        one, other = sinks.open(http(receiver.url)), sinks.open(http(receiver.url, "lab"))
        pid = sinks.pid
        one.close()
        other.send([alert()])
        assert sinks.pid == pid
        other.close()
        assert sinks.pid is None
        assert not Path(f"/proc/{pid}").exists()
        sinks.open(http(receiver.url)).send([alert()])  # and again


def test_events_are_the_agents_own() -> None:
    with alone() as sinks:
        with pytest.raises(BadSink, match="Kubernetes API"):
            sinks.open(SinkSettings("test", AlertSinkSpec(events=EventsSink()), "shop"))
        assert sinks.pid is None


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (AlertSinkSpec(file=FileSink("/tmp/x")), "on the node itself"),
        (AlertSinkSpec(notify=NotifySink(url="nope://x")), "its URL"),
        (AlertSinkSpec(), "exactly one destination"),
    ],
)
def test_what_is_wrong_with_a_sink_is_told(spec: AlertSinkSpec, says: str) -> None:
    with alone() as sinks:
        with pytest.raises(BadSink, match=says):
            sinks.open(SinkSettings("test", spec, "shop"))
        assert sinks.pid is None


def test_what_the_destination_answers_comes_back_as_a_value() -> None:
    answers = [Answer(503, {"Retry-After": "7"}), Answer(400)]
    with HttpReceiver(answers) as receiver, alone() as sinks:
        sink = sinks.open(http(receiver.url))
        with pytest.raises(Unavailable, match="answers 503") as unavailable:
            sink.send([alert()])
        assert unavailable.value.retry_after == 7.0
        with pytest.raises(Refused, match="answers 400"):
            sink.send([alert()])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_fault_of_a_library_costs_that_process_alone(number: signal.Signals) -> None:
    with HttpReceiver([Answer(held=True)]) as receiver, alone(clock=iter(range(0, 10_000, 100)).__next__) as sinks:
        system, sink = sinks.open(http(receiver.url, "tiercel-system")), sinks.open(http(receiver.url))
        pid = sinks.pid
        raised = in_thread(sink.send, [alert("first")])
        receiver.one()
        os.kill(pid, number)
        assert str(raised()) == f"the process of tenants' sinks has ended ({number.name})"
        system.send([alert("the admin's")])
        sink.send([alert("second")])  # by a new one
        assert sinks.pid not in (None, pid)
        assert len([receiver.one(), receiver.one()]) == 2


def test_a_process_that_hangs_is_ended() -> None:
    later = iter(range(0, 10_000, 100)).__next__
    with HttpReceiver() as receiver, alone(longest=0.1, grace=0.1, clock=later) as sinks:
        sink = sinks.open(http(receiver.url))
        pid = sinks.pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(Unavailable, match="has ended \\(SIGKILL\\)"):
            sink.send([alert()])
        assert not Path(f"/proc/{pid}").exists()


def test_it_isnt_started_again_without_a_pause() -> None:
    now = [0.0]
    with HttpReceiver() as receiver, alone(clock=lambda: now[0]) as sinks:
        sink = sinks.open(http(receiver.url))
        os.kill(sinks.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match=r"has ended|about to be started again"):  # it may be gone already
            sink.send([alert()])
        with pytest.raises(Unavailable, match="about to be started again") as raised:
            sink.send([alert()])
        assert raised.value.retry_after == 1.0
        now[0] = 1.0
        sink.send([alert()])


def test_more_sinks_than_there_is_room_for_cost_no_others() -> None:
    with HttpReceiver() as receiver, alone(most=3) as sinks:
        opened = [sinks.open(http(receiver.url, name=f"sink-{number}")) for number in range(3)]
        with pytest.raises(Unavailable, match="3 sinks of tenants are open on this node, which is the most"):
            sinks.open(http(receiver.url))
        opened[0].send([alert()])
        opened[1].close()
        sinks.open(http(receiver.url)).send([alert()])


def test_a_new_policy_holds_for_the_next_delivery() -> None:
    from tiercel_agent.delivery.tenants.tenant_sinks import TenantSinks
    from tiercel_agent.sinks.model import Place
    from tiercel_agent.sinks.network.egress_policy import EgressPolicy

    need_another_user()
    policy = [LOOPBACK]
    sinks = TenantSinks(Place("node-1"), lambda: policy[0])
    with HttpReceiver([Answer(200, {"Connection": "close"})]) as receiver:
        sink = sinks.open(http(receiver.url))
        sink.send([alert()])
        policy[0] = EgressPolicy()
        with pytest.raises(Unavailable, match="can't reach its address"):
            sink.send([alert()])
        assert receiver.connections == 1
    sinks.end()


def test_nothing_is_lost_when_the_process_ends_again_and_again(tmp_path: Path) -> None:
    """A whole dispatcher, with a queue on the disk. An alert may arrive twice, with the same id."""
    with HttpReceiver() as receiver, HttpReceiver() as others, alone() as sinks:
        dispatcher = Dispatcher(sinks.open, SpoolSettings(tmp_path))
        dispatcher.use([http(receiver.url), http(others.url, "tiercel-system", "all")])
        sent = [alert(str(number)) for number in range(60)]
        came: set[str] = set()
        for number, each in enumerate(sent):
            dispatcher.put(each)
            if number % 20 == 10:
                eventually(lambda: bool(sinks.pid))
                os.kill(sinks.pid, signal.SIGKILL)

        def all_came() -> bool:
            came.update(json.loads(request.body)["output"].rpartition(" ")[2] for request in receiver.all())
            return len(came) == len(sent)

        eventually(all_came)
        eventually(lambda: others.got.qsize() == len(sent))
        (tenant, system) = sorted(dispatcher.delivery_reports(), key=lambda report: report.settings.namespace)
        assert (tenant.totals.lost, system.totals.lost, system.totals.retried) == (0, 0, 0)
        dispatcher.close()


IN_THE_POD = """
import os, signal, sys
from ipaddress import ip_network
from pathlib import Path
from tiercel_agent.delivery.tenants.tenant_sinks import TenantSinks
from tiercel_agent.sinks.model import Place, SinkSettings, Unavailable
from tiercel_agent.sinks.network.egress_policy import EgressPolicy
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import HttpSink

policy = EgressPolicy(allow=(ip_network("127.0.0.0/8"),))
sinks = TenantSinks(Place("node-1"), lambda: policy)
sink = sinks.open(SinkSettings("test", AlertSinkSpec(http=HttpSink(url=sys.argv[1])), "shop"))
alert = Alert(1, "Read", Priority.WARNING, "syscall", "node-1", "read", (), {})
sink.send([alert])
pid = sinks.pid
try:
    os.kill(pid, 0)
except PermissionError:
    print("can't signal it")
sinks.process().kill()
print(Path(f"/proc/{pid}").exists())
"""


def in_the_pod(capabilities: Iterable[str], url: str) -> subprocess.CompletedProcess[str]:
    """An agent with these capabilities and no others."""
    need_another_user()
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("needs root and setpriv")
    powers = ",".join(["-all", *(f"+{name.lower()}" for name in capabilities)])
    return subprocess.run(
        [
            *(setpriv, f"--bounding-set={powers}", "--inh-caps=-all", "--no-new-privs"),
            *(sys.executable, "-c", textwrap.dedent(IN_THE_POD), url),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_an_agent_with_no_more_powers_than_in_its_pod_starts_it_and_ends_it() -> None:
    from tiercel_operator.agents.pod import CAPABILITIES

    with HttpReceiver() as receiver:
        done = in_the_pod(CAPABILITIES, receiver.url)
        assert done.stdout.splitlines() == ["can't signal it", "False"], done.stderr
        assert receiver.one()


def test_an_agent_that_cant_make_it_another_users_doesnt_start_it() -> None:
    with HttpReceiver() as receiver:
        done = in_the_pod(["BPF", "SYS_PTRACE"], receiver.url)
        assert "can't be started (CAP_SETUID or CAP_SETGID lacks)" in done.stderr.splitlines()[-1]
        assert receiver.connections == 0


def in_thread(act, *arguments):
    """Begins it, and gives a function that waits for the error it ends with."""
    import threading

    errors: list[BaseException] = []

    def run() -> None:
        try:
            act(*arguments)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def ended() -> BaseException:
        thread.join(60)
        assert errors
        return errors[0]

    return ended
