"""The running agent takes new rules, refuses bad ones, and tells systemd and the log."""

from __future__ import annotations

import logging
import signal
import socket
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from agent_support.collected import Collected
from agent_support.file_server import file_server
from agent_support.waiting import eventually

from tiercel_agent.config import parse_config, read_config
from tiercel_agent.delivery.dispatcher import Dispatcher
from tiercel_agent.delivery.fan_out import FanOut
from tiercel_agent.delivery.queues.spool_folders import SpoolSettings
from tiercel_agent.detection.source import Concerned, Unwatched
from tiercel_agent.evaluation.loop import EngineLoop
from tiercel_agent.loss import Loss, LostBy
from tiercel_agent.service import reload
from tiercel_agent.service.agent import HANGS, Agent
from tiercel_agent.service.alert_sinks import AlertSinks
from tiercel_agent.service.reload import Reloader, load_configured
from tiercel_agent.service.sd_notify import Notifier
from tiercel_agent.sinks.model import Place, Sink
from tiercel_agent.warning import AgentWarning
from tiercel_engine.resources.node_agent import (
    ConcernedRule,
    LossCause,
    LossOfCause,
    Lost,
    UnwatchedPart,
    WarningKind,
)

GOOD = "- rule: {name}\n  desc: d\n  condition: evt.type = openat\n  output: o\n  priority: INFO\n"


class Running:
    """A service over a scripted source whose clock moves on by a second a turn."""

    def __init__(self, folder: Path, source) -> None:
        self.config_file = folder / "tiercel.yaml"
        self.rules_file = folder / "rules" / "10.yaml"
        self.rules_file.parent.mkdir()
        self.config_file.write_text("rules: rules\nlog: {level: debug}\n")
        self.rules_file.write_text(GOOD.format(name="Old"))
        config = read_config(self.config_file).config
        assert config is not None
        self.reloader = Reloader(self.config_file, config, used=lambda: 0.0)
        rules = load_configured(config)
        self.source = source
        self.collected = Collected()
        dispatcher = Dispatcher(lambda _: Sink(send=lambda _: None), SpoolSettings())
        outputs = FanOut(dispatcher)
        outputs.add("collected", self.collected.sink)
        self.time = 0.0
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = str(folder / "notify")
        self.systemd.bind(address)
        self.systemd.setblocking(False)
        self.loop = EngineLoop(source, rules, outputs, hostname="h", clock=lambda: self.time)
        self.agent = Agent(
            sinks=AlertSinks(None, (), dispatcher, Place("node")),
            source=source,
            loop=self.loop,
            outputs=outputs,
            reloader=self.reloader,
            rules=rules,
            notifier=Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "4000000"}, lambda: self.time),
            clock=lambda: self.time,
        )

    def turns(self, count: int = 1) -> None:
        """Turns a second apart; a look or a reload that began is over before the next one."""
        for _ in range(count):
            self.time += 1
            self.agent.turn()
            self.reloader.wait(30)

    def told(self) -> list[str]:
        """What systemd was told."""
        messages = []
        while True:
            try:
                messages.append(self.systemd.recv(4096).decode())
            except BlockingIOError:
                return messages

    def rules_that_fired(self, event) -> list[str]:
        self.source.batches = [[event]]
        self.turns()
        return list(self.loop.summary().alerts)


@pytest.fixture
def running(tmp_path: Path, scripted_source):
    service = Running(tmp_path, scripted_source())
    yield service
    service.loop.finish()
    service.reloader.close()
    service.systemd.close()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    return caplog


def test_a_changed_rules_file_is_loaded_once_it_holds_still(running, opened):
    assert running.rules_that_fired(opened()) == ["Old"]
    running.rules_file.write_text(GOOD.format(name="New"))
    running.turns(1)
    assert running.source.requirements is None, "it may be half written: one more look first"
    running.turns(2)
    assert running.source.requirements is not None
    running.source.requirements = None
    assert running.rules_that_fired(opened()) == ["Old", "New"]
    running.turns(3)
    assert running.source.requirements is None, "nothing changed: nothing is loaded"


def test_a_file_that_comes_to_a_folder_is_loaded_too(running, opened):
    (running.rules_file.parent / "20.yaml").write_text(GOOD.format(name="Added"))
    running.turns(3)
    assert running.rules_that_fired(opened()) == ["Old", "Added"]


def test_rules_that_trip_the_loader_leave_the_old_ones(running, opened, log, monkeypatch: pytest.MonkeyPatch):
    def tripped(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr(reload, "load_configured", tripped)
    running.rules_file.write_text(GOOD.format(name="New"))
    running.turns(3)
    assert "unexpected error: RecursionError at " in log.text
    assert "the new rules are refused, the old ones stay" in log.text
    assert running.rules_that_fired(opened()) == ["Old"]
    monkeypatch.undo()
    running.rules_file.write_text(GOOD.format(name="Mended"))
    running.turns(3)
    assert running.rules_that_fired(opened()) == ["Old", "Mended"]


def test_a_disk_that_does_not_answer_costs_no_detection(running, opened, tmp_path, log, monkeypatch):
    """Rules are read anew from a folder whose file server has fallen silent."""
    offered = []
    monkeypatch.setattr(running.agent, "_reporter", SimpleNamespace(offer=offered.append))
    server = file_server(tmp_path / "served", GOOD.format(name="Served").encode())
    try:
        running.config_file.write_text(f"rules: {server.file}\n")
        running.agent.take_signal(signal.SIGHUP)
        running.turns(2)
        assert running.rules_that_fired(opened()) == ["Served"]
        server.fall_silent()
        for _ in range(int(HANGS) + 3):
            running.time += 1
            running.source.batches = [[opened()]]
            running.agent.turn()
        assert running.loop.summary().alerts == {"Served": int(HANGS) + 4}
        assert [each.kind for each in offered[-1].warnings] == [WarningKind.RULES_UNREAD]
        assert log.text.count("the files of rules can't be read") == 1
    finally:
        server.close()
    running.turns(3)
    assert offered[-1].warnings == ()


def test_bad_rules_are_refused_with_their_errors_in_the_log_and_the_old_ones_stay(running, opened, log):
    running.rules_file.write_text(GOOD.format(name="New").replace("evt.type", "evt.tpye"))
    running.turns(3)
    assert running.rules_that_fired(opened()) == ["Old"]
    text = log.text
    assert "10.yaml:3:" in text
    assert "evt.type" in text
    assert "the new rules are refused, the old ones stay" in text
    running.rules_file.write_text(GOOD.format(name="Mended"))
    running.turns(3)
    assert running.rules_that_fired(opened()) == ["Old", "Mended"]


def test_rules_that_vanish_are_refused(running, opened):
    running.rules_file.unlink()
    running.rules_file.parent.rmdir()
    running.turns(3)
    assert running.rules_that_fired(opened()) == ["Old"]


def test_rules_that_the_kernel_refuses_leave_the_old_ones(running, opened, log):
    running.source.refuse = "this kernel has no such program type"
    running.rules_file.write_text(GOOD.format(name="New"))
    running.turns(3)
    assert "no such program type" in log.text
    assert running.rules_that_fired(opened()) == ["Old"]


def test_sighup_reads_the_configuration_anew_without_any_change_of_rules(running, opened, log):
    other = running.config_file.parent / "other.yaml"
    other.write_text(GOOD.format(name="Other"))
    running.config_file.write_text("rules: other.yaml\nformat: text\n")
    running.turns(3)
    assert running.source.requirements is None, "the configuration is read on request only"
    running.agent.take_signal(signal.SIGHUP)
    running.turns(2)
    assert running.rules_that_fired(opened()) == ["Other"]
    running.source.requirements = None
    running.turns(3)
    assert running.source.requirements is None, "the other folder's files are those that were loaded"
    assert "the rest does at a restart" in log.text


def test_sighup_with_a_bad_configuration_leaves_everything(running, opened, log):
    running.config_file.write_text("rules: rules\npriority: hihg\n")
    running.agent.take_signal(signal.SIGHUP)
    running.turns(2)
    assert "tiercel.yaml:2:11" in log.text
    assert "refused" in log.text
    assert running.rules_that_fired(opened()) == ["Old"]


def test_systemd_learns_of_readiness_reloads_the_end_and_that_the_agent_lives(running):
    running.source.at_end = lambda: running.agent.take_signal(signal.SIGTERM)
    running.agent.run()
    first, last = running.told()
    assert first == "READY=1\nSTATUS=watching: 1 rules, 0 system calls"
    assert last == "STOPPING=1"


def test_a_reload_is_bracketed_for_systemd(running):
    running.agent.take_signal(signal.SIGHUP)
    running.turns(2)
    begun, ended = [message for message in running.told() if message != "WATCHDOG=1"]
    assert begun.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert ended.startswith("READY=1\n")


def test_the_watchdog_is_kept_quiet(running):
    running.turns(4)
    assert running.told() == ["WATCHDOG=1", "WATCHDOG=1"], "at half the interval of four seconds"


def test_the_end_delivers_what_waits_and_sums_up_in_the_log(running, opened, log):
    running.source.batches = [[opened()]]
    running.source.at_end = lambda: running.agent.take_signal(signal.SIGTERM)
    running.agent.run()
    assert [alert.rule for alert in running.collected.items] == ["Old"]
    assert "Alerts: 1" in log.text
    assert "Events seen: 1" in log.text


def test_sigusr1_reopens_the_outputs(running):
    running.agent.take_signal(signal.SIGUSR1)
    running.turns(1)
    eventually(lambda: running.collected.reopened == 1)
    running.loop.finish()


def test_without_systemd_nothing_is_told_and_nothing_fails(tmp_path, monkeypatch):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        Notifier({}).ready("not for this process")
        Notifier({"NOTIFY_SOCKET": path}).ready("fine")
        assert listening.recv(100) == b"READY=1\nSTATUS=fine"
    notifier = Notifier({"NOTIFY_SOCKET": path})
    notifier.ready("nobody listens any more")
    notifier.stopping()


def test_systemd_waits_as_long_as_the_agent_says_that_it_is_busy(tmp_path: Path):
    now = [0.0]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "systemd"))
        systemd.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "systemd")}, lambda: now[0])
        for _ in range(25):  # 2.5 seconds
            notifier.busy()
            now[0] += 0.1
        told = []
        with suppress(BlockingIOError):
            while True:
                told.append(systemd.recv(4096).decode())
    assert told == ["EXTEND_TIMEOUT_USEC=120000000"] * 3, "once a second, however often it is called"


def test_a_systemd_that_takes_nothing_holds_nobody_up(tmp_path: Path):
    address = str(tmp_path / "systemd")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.setblocking(False)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, suppress(BlockingIOError):
            other.setblocking(False)
            other.connect(address)
            while True:
                other.send(b"full")
        notifier = Notifier({"NOTIFY_SOCKET": address})
        notifier.reloading()
        notifier.ready("watching")
        told = []
        for _ in range(2):
            with suppress(BlockingIOError):
                while True:
                    told.append(systemd.recv(4096))
            notifier.alive()
    begun, ended = (message for message in told if message != b"full")
    assert begun.startswith(b"RELOADING=1\n"), "it is told once there is room"
    assert ended == b"READY=1\nSTATUS=watching"


def test_a_falco_configuration_reloads_too(tmp_path: Path):
    (tmp_path / "r.yaml").write_text(GOOD.format(name="A"))
    config = parse_config(str(tmp_path / "falco.yaml"), "rules_file: r.yaml\n").config
    assert config is not None
    assert [rule.name for rule in load_configured(config).rules] == ["A"]


def test_what_the_kernel_does_not_let_be_seen_is_reported(running, monkeypatch: pytest.MonkeyPatch):
    offered = []
    monkeypatch.setattr(running.agent, "_reporter", SimpleNamespace(offer=offered.append))
    running.source.parts_refused = (
        Unwatched("message", "it is too large", "", ("sendto",), (Concerned("shop/Bob's", 1, 2),)),
        Unwatched("on_rename", "no such tracepoint", "more calls come", (), ()),
    )
    running.turns(60)
    assert offered[-1].unwatched == (
        UnwatchedPart(
            "message", "it is too large", ("sendto",), only_failed=False, rules=(ConcernedRule("shop/Bob's", 1, 2),)
        ),
        UnwatchedPart("on_rename", "no such tracepoint", cost="more calls come"),
    )


def test_losses_and_warnings_are_reported_as_values(running, monkeypatch: pytest.MonkeyPatch):
    offered = []
    monkeypatch.setattr(running.agent, "_reporter", SimpleNamespace(offer=offered.append))
    of_pod = Loss(LossCause.CALL_BUFFER_FULL, by=LostBy("/pod/abc", "abc", "shop/web"))
    running.source.lost = {of_pod: 2, Loss(LossCause.RATE_LIMIT, rule="shop/Bob's rule"): 7}
    running.source.lasting_warnings = (AgentWarning(WarningKind.TOO_MANY_RULES, ("a\x1b[2J", "b")),)
    running.source.warnings_now = (AgentWarning(WarningKind.RUNTIME_FAILS, detail="no socket"),)
    running.turns(60)
    in_pod = LossOfCause(LossCause.CALL_BUFFER_FULL, 2, pod="shop/web", container="abc", cgroup="/pod/abc")
    assert offered[-1].lost == Lost(9, (LossOfCause(LossCause.RATE_LIMIT, 7, "shop/Bob's rule"), in_pod))
    many, runtime = offered[-1].warnings
    assert (many.kind, many.names) == (WarningKind.TOO_MANY_RULES, ("a\x1b[2J", "b"))
    assert many.message.endswith(r": a\x1b[2J and 1 more")
    assert (runtime.kind, runtime.names) == (WarningKind.RUNTIME_FAILS, ())
    assert runtime.message == "containers are named as far as they are known: no socket"
