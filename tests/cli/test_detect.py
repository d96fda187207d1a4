"""`tiercel detect` and `tiercel agent` with a scripted source in place of the kernel."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
from pathlib import Path
from urllib.request import urlopen

import orjson
import pytest
from agent_support.http_receiver import refusing
from click.testing import CliRunner

import tiercel_cli.agent
import tiercel_cli.detect
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.logs import LOGGER
from tiercel_agent.loss import Loss
from tiercel_agent.warning import AgentWarning
from tiercel_cli.live_view import LiveView, Sighting, sighting
from tiercel_cli.main import main
from tiercel_cli.options import read_duration
from tiercel_engine.alert import Alert
from tiercel_engine.event import Event
from tiercel_engine.priority import Priority
from tiercel_engine.resources.node_agent import LossCause, WarningKind

SHADOW = """
- rule: Shadow read
  desc: d
  condition: evt.type = openat and fd.name = /etc/shadow
  output: "file=%fd.name by=%proc.name"
  priority: WARNING
"""
BROKEN = "- rule: Broken\n  desc: d\n  condition: evt.tpye = openat\n  output: o\n  priority: INFO\n"


@pytest.fixture(autouse=True)
def signal_handlers():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripted_source, capfd: pytest.CaptureFixture[str]):
    """Runs the tool over batches of events until these end; gives status, standard output and error."""

    def detect(*arguments: str, batches=(), rules: str = SHADOW, **source) -> tuple[int, str, str]:
        path = tmp_path / "rules.yaml"
        path.write_text(rules)
        scripted = scripted_source(
            [list(batch) for batch in batches], at_end=lambda: os.kill(os.getpid(), signal.SIGTERM), **source
        )

        def open_detector(requirements, rules, flood_limit, **_options):
            scripted.flood_limit = flood_limit
            scripted.requirements = requirements
            return scripted

        monkeypatch.setattr(tiercel_cli.detect, "open_detector", open_detector)
        try:
            main(["detect", "-r", str(path), *arguments], standalone_mode=True)
        except SystemExit as ended:
            status = int(ended.code or 0)
        captured = capfd.readouterr()
        detect.source = scripted  # type: ignore[attr-defined]
        return status, captured.out, captured.err

    return detect


def test_alerts_alone_are_on_standard_output(run, opened):
    status, out, err = run(batches=[[opened(), opened("/tmp/x"), opened(process="less")]])
    assert status == 0
    assert out == (
        "22:13:20.123456789: Warning file=/etc/shadow by=cat\n22:13:20.123456789: Warning file=/etc/shadow by=less\n"
    )
    assert err == (
        "watching: 1 rules, 1 system calls, 0 warnings\nAlerts: 2\n       2  Shadow read\nEvents seen: 3\nLost: none\n"
    )
    assert run.source.closed


def test_json_lines(run, opened):
    _, out, _ = run("--json", batches=[[opened()]])
    alert = orjson.loads(out)
    assert (alert["rule"], alert["output_fields"]["fd.name"]) == ("Shadow read", "/etc/shadow")


def test_what_this_kernel_lacks_and_how_many_warnings_there_are_is_said_before_watching(run):
    rules = SHADOW + "- macro: unused\n  condition: proc.name = x\n"
    lacking = AgentWarning(WarningKind.KERNEL_LACKS, detail="no loginuid: user.loginuid has no value")
    _, _, err = run(rules=rules, lasting_warnings=[lacking])
    assert err.startswith(
        "Warning: no loginuid: user.loginuid has no value\n"
        "watching: 1 rules, 1 system calls, 1 warnings (tiercel lint shows them)\n"
    )


def test_alerts_go_to_a_file_too(run, opened, tmp_path: Path):
    file = tmp_path / "alerts"
    file.write_text("before\n")
    _, out, _ = run("--output", str(file), batches=[[opened()]])
    assert file.read_text() == "before\n" + out


def test_alerts_go_to_sinks_too(run, opened, tmp_path: Path):
    file, copy = tmp_path / "alerts", tmp_path / "copy"
    script = tmp_path / "copying"
    script.write_text(f"#!/bin/sh\nexec cat > {copy}\n")
    script.chmod(0o755)
    status, out, err = run("--json", "--sink", f"file://{file}", "--sink", f"program:{script}", batches=[[opened()]])
    (alert,) = (orjson.loads(line) for line in file.read_text().splitlines())
    assert alert.pop("uuid")
    assert alert == orjson.loads(out)
    assert orjson.loads(copy.read_text())["rule"] == "Shadow read"
    assert (status, err.splitlines()[-1]) == (0, "Lost: none")


def test_a_sink_that_never_took_its_alerts_is_told_of(run, opened):
    with refusing() as port:
        _, _, err = run("--sink", f"http://127.0.0.1:{port}/", batches=[[opened()]])
    assert "Warning: sink 1: " in err
    assert "connection refused" in err.lower()
    assert "Lost: 1 (alerts for sink 1: it failed for too long, or refused them)" in err


def test_the_forms_of_sinks_are_shown(run):
    status, out, _ = run("--sink", "help")
    assert status == 0
    assert "syslog+tls" in out


def test_all_events_are_recorded_and_can_be_replayed_into_the_same_alerts(run, opened, tmp_path: Path):
    recording = tmp_path / "events.jsonl"
    _, out, _ = run("--json", "--record", str(recording), batches=[[opened("/tmp/x"), opened("/etc/shadow")]])
    assert len(recording.read_text().splitlines()) == 2
    arguments = ["replay", str(recording), "-r", str(tmp_path / "rules.yaml"), "--json"]
    replayed = CliRunner().invoke(main, arguments)
    again, first = (orjson.loads(text.splitlines()[0]) for text in (replayed.output, out))
    assert {**again, "hostname": ""} == {**first, "hostname": ""}


def test_rules_with_errors_start_nothing(run, tmp_path: Path):
    status, out, err = run(rules=SHADOW + BROKEN)
    assert (status, out) == (1, "")
    assert "rules.yaml:9:14: error LOAD_ERR_COMPILE_CONDITION" in err
    assert "did you mean evt.type?" in err
    assert "nothing is started" in err
    assert not run.source.closed


def test_keep_going_runs_the_good_rules(run, opened):
    status, out, err = run("--keep-going", rules=SHADOW + BROKEN, batches=[[opened()]])
    assert status == 0
    assert "file=/etc/shadow" in out
    assert "LOAD_ERR_COMPILE_CONDITION" in err
    assert "watching: 1 rules, 1 system calls, 0 warnings, 1 errors" in err


def test_no_rule_left_is_an_error(run):
    status, _, err = run("--priority", "critical")
    assert status == 1
    assert "no rule is left to run" in err


def test_first_match_and_priority_are_handed_on(run, opened):
    rules = SHADOW + SHADOW.replace("Shadow read", "Second").replace("WARNING", "INFO")
    assert run(rules=rules, batches=[[opened()]])[1].count("\n") == 2
    assert run("--rule-matching", "first", rules=rules, batches=[[opened()]])[1].count("\n") == 1
    assert run("--priority", "warning", rules=rules, batches=[[opened()]])[1].count("\n") == 1


def test_losses_are_in_the_summary_and_an_alert(run):
    _, out, err = run(lost={Loss(LossCause.CALL_BUFFER_FULL): 3})
    assert "Critical Events or alerts were lost" in out
    assert "Lost: 3 (system calls, because the ring buffer was full)" in err


def test_a_machine_that_cannot_be_watched_is_status_three(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuse(*_arguments, **_options):
        raise DetectorError("no BTF: use a kernel with CONFIG_DEBUG_INFO_BTF")

    monkeypatch.setattr(tiercel_cli.detect, "open_detector", refuse)
    (tmp_path / "r.yaml").write_text(SHADOW)
    result = CliRunner().invoke(main, ["detect", "-r", str(tmp_path / "r.yaml")])
    assert result.exit_code == 3
    assert result.output == "Error: no BTF: use a kernel with CONFIG_DEBUG_INFO_BTF\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--for", "10"], "write one such as 500ms, 90s, 10m or 1h30m"),
        (["--for", "-1s"], "write one such as 500ms, 90s, 10m or 1h30m"),
        (["--priority", "hihg"], "is no priority: one of EMERGENCY"),
        (["--rule-matching", "some"], "'some' is not one of"),
        (["--sink", "gopher://x"], "'gopher' is no kind of sink"),
        (["--sink", "program:relative"], "the program needs an absolute path"),
        (["--sink", "events:"], "need the Kubernetes API"),
    ],
)
def test_wrong_options_are_status_two(run, arguments: list[str], message: str):
    status, _, err = run(*arguments)
    assert status == 2
    assert message in err


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("10s", 10), ("1.5m", 90), ("1h", 3600), (None, None)])
def test_durations(text: str | None, seconds: float | None):
    assert read_duration(None, None, text) == seconds


def test_the_time_given_ends_it(run, scripted_source):
    status, _, err = run("--for", "0s")
    assert status == 0
    assert "Events seen: 0" in err


def test_an_output_that_cannot_be_written_is_refused(run, tmp_path: Path):
    status, _, err = run("--output", str(tmp_path / "no" / "folder"))
    assert status == 1
    assert f"cannot write {tmp_path}/no/folder: No such file or directory" in err


# the live view


def seen(items: list[Sighting], width: int = 60) -> str:
    terminal = io.StringIO()
    LiveView(terminal, width).write(items)
    return terminal.getvalue()


def shown(event: Event, output: str = "out", rule: str = "A rule") -> Sighting:
    return sighting(Alert(event.time, rule, Priority.WARNING, "syscall", "h", output, (), {}), event)


def test_the_live_view_shows_time_priority_rule_process_container_and_output(opened):
    headline, output = seen([shown(opened(), "what happened")]).splitlines()
    assert re.fullmatch(r"\d\d:\d\d:20\.123  Warning +A rule  cat\[4242\]  host", headline)
    assert output.rstrip() == " " * 14 + "what happened"


def test_long_outputs_wrap_within_the_terminal(opened):
    lines = seen([shown(opened(), "x" * 200)]).splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert "".join(line.strip() for line in lines[1:]) == "x" * 200


def test_nothing_hostile_reaches_the_terminal(opened):
    hostile = "[red]a[/red]\n\x1b]0;title\x07\u202e\x9b31m\udcff:smile:"
    event = opened(process=hostile, **{"container.name": hostile})
    text = seen([shown(event, hostile, hostile)], 400)
    assert text.count("[red]a[/red]\\n\\x1b]0;title\\x07\\u202e\\x9b31m\ufffd:smile:") == 4
    assert text.count("\n") == 2
    assert not set(text) & set("\x1b\x07\x9b\u202e")


def test_an_alert_of_the_tools_own_has_no_process():
    alert = Alert(0, "Tiercel: events lost", Priority.CRITICAL, "internal", "h", "lost", (), {})
    assert "Tiercel: events lost\n" in re.sub(" +\n", "\n", seen([sighting(alert, None)]))


# the agent


@pytest.fixture
def run_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripted_source, capfd: pytest.CaptureFixture[str]):
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    def agent(config: str, batches=(), open_detector=None) -> tuple[int, str, str]:
        (tmp_path / "rules.yaml").write_text(SHADOW)
        (tmp_path / "config.yaml").write_text(config)
        source = scripted_source(
            [list(batch) for batch in batches], at_end=lambda: os.kill(os.getpid(), signal.SIGTERM)
        )
        monkeypatch.setattr(
            tiercel_cli.agent, "open_detector", open_detector or (lambda *_arguments, **_options: source)
        )
        try:
            main(["agent", "--config", str(tmp_path / "config.yaml")])
        except SystemExit as ended:
            status = int(ended.code or 0)
        for handler in LOGGER.handlers:  # as at the end of a process
            handler.flush()
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return agent


def test_the_agent_writes_alerts_to_its_outputs_and_sums_up_in_the_log(run_agent, opened, tmp_path: Path):
    config = "rules: rules.yaml\nhostname: node-9\noutputs: {file: {path: alerts.jsonl}}\npid_file: pid\n"
    status, out, err = run_agent(config, [[opened()]])
    assert status == 0
    assert (tmp_path / "alerts.jsonl").read_text() == out
    assert orjson.loads(out)["hostname"] == "node-9"
    assert err.startswith("<6>watching: 1 rules")
    assert "<6>Alerts: 1" in err
    assert not (tmp_path / "pid").exists()


def test_while_programs_are_compiled_probes_are_answered_and_systemd_waits(
    run_agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    answers: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def open_detector(*_arguments: object, meanwhile, **_options: object) -> None:
        meanwhile()
        answers.append(urlopen(f"http://127.0.0.1:{port}/healthz").status)
        answers.append(systemd.recv(100))
        raise DetectorError("enough")

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "systemd"))
        systemd.settimeout(30)
        config = f"rules: rules.yaml\nmetrics: {{port: {port}}}\n"
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "systemd"))
        status, _, err = run_agent(config, open_detector=open_detector)
    assert answers == [200, b"EXTEND_TIMEOUT_USEC=120000000"]
    assert (status, err) == (3, "<2>enough\n")


def test_the_agent_takes_a_falco_configuration(run_agent, opened):
    status, out, err = run_agent(
        "rules_files: [rules.yaml]\nstdout_output: {enabled: true}\nlog_stderr: true\nlog_syslog: false\nplugins: []\n",
        [[opened()]],
    )
    assert (status, out) == (0, "22:13:20.123456789: Warning file=/etc/shadow by=cat\n")
    assert "config.yaml:5:1: warning CONFIG_UNKNOWN_KEY: plugins has no effect here" in err


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("rules: rules.yaml\npriorty: x\n", "did you mean priority?"),
        ("rules: missing.yaml\n", "missing.yaml:1:1: LOAD_ERR_FILE_READ"),
        (
            "rules: rules.yaml\noutputs: {file: {path: /nonexistent/folder/alerts}}\n",
            "/nonexistent/folder/alerts: No such",
        ),
        ("rules: rules.yaml\noutputs: {urls: ['gopher://x']}\n", "outputs.urls[0]: 'gopher' is no kind of sink"),
        ("rules: rules.yaml\noutputs: {urls: ['program:relative']}\n", "the program needs an absolute path"),
        ("rules: rules.yaml\negress: {allow: [10.0.0.1/8]}\n", "write such as 10.1.2.0/24"),
        ("rules: rules.yaml\nmetrics: {port: 70000}\n", "write a port from 1 to 65535"),
    ],
)
def test_the_agent_does_not_start_with_what_it_cannot_use(run_agent, config: str, message: str):
    status, out, err = run_agent(config)
    assert (status, out) == (1, "")
    assert message in err
