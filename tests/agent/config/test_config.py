"""The configuration file: every setting, every mistake with its place, all mistakes at once."""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path

import pytest

from tiercel_agent.config import Config, FileConfig, LogConfig, StdoutConfig, parse_config, read_config
from tiercel_agent.config.model import NamespaceBudget
from tiercel_agent.delivery.queues.spool_folders import SpoolSettings
from tiercel_agent.kernel.bytecode.provider import ProgramSettings
from tiercel_agent.sinks.network.egress_policy import EgressPolicy
from tiercel_engine.diagnostics import render
from tiercel_engine.priority import Priority

SAMPLE = Path(__file__).parents[3] / "config" / "tiercel.yaml"


def errors(text: str) -> list[str]:
    read = parse_config("/etc/tiercel/tiercel.yaml", text)
    assert (read.config is None) == bool(read.errors)
    return [render(error) for error in read.errors]


def test_the_sample_loads_and_shows_the_defaults(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NODE_NAME", "node-7")
    read = read_config(SAMPLE)
    assert (read.errors, read.warnings) == ((), ())
    assert read.config == Config(rules=(Path("/etc/tiercel/rules.d"),), hostname="node-7")


def test_where_programs_are_kept_and_how_long_compiling_may_take(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    text = "rules: a.yaml\nprograms: {folder: kept, compile_seconds: 30}\n"
    config = parse_config("/etc/tiercel/tiercel.yaml", text).config
    assert config is not None
    assert config.programs == ProgramSettings(Path("/etc/tiercel/kept"), 30)
    config = parse_config("/etc/tiercel/tiercel.yaml", "rules: a.yaml\nprograms: {folder: ''}\n").config
    assert config is not None
    assert config.programs == ProgramSettings(None, 600)
    (error,) = errors("rules: a.yaml\nprograms: {compile_seconds: 0}\n")
    assert "programs.compile_seconds is 0" in error


def test_all_settings():
    read = parse_config(
        "/etc/tiercel/tiercel.yaml",
        """
rules: [a.yaml, /abs/rules.d]
priority: Warning
rule_matching: FIRST
hostname: here
format: text
outputs:
  stdout: {enabled: false}
  file: {path: alerts.jsonl, keep_alive: no}
log: {level: debug, targets: [syslog, stderr]}
pid_file: /run/tiercel.pid
""",
    )
    assert read.config == Config(
        rules=(Path("/etc/tiercel/a.yaml"), Path("/abs/rules.d")),
        priority=Priority.WARNING,
        first_match=True,
        hostname="here",
        json=False,
        outputs=(FileConfig(Path("/etc/tiercel/alerts.jsonl"), keep_alive=False),),
        log=LogConfig("debug", ("syslog", "stderr")),
        pid_file=Path("/run/tiercel.pid"),
    )


def test_a_disabled_file_needs_no_path():
    read = parse_config("c.yaml", "rules: r.yaml\noutputs: {file: {enabled: false}}")
    assert read.config is not None
    assert read.config.outputs == (StdoutConfig(),)


def test_all_mistakes_are_told_at_once_each_with_its_place_and_what_would_be_right():
    found = errors(
        """\
rules: [{a: b}]
priorty: WARNING
rule_matching: frist
format: xml
outputs:
  stdout: {enabled: maybe}
  file: {enabled: true, keepalive: true}
log: [stderr]
"""
    )
    text = "\n".join(found)
    for expected in (
        "tiercel.yaml:1:9: error CONFIG_INVALID: rules must be a list of texts",
        "tiercel.yaml:2:1: error CONFIG_INVALID: priorty is no setting",
        "did you mean priority?",
        "tiercel.yaml:3:16: error CONFIG_INVALID: rule_matching is 'frist'",
        "did you mean first?",
        "tiercel.yaml:4:9: error CONFIG_INVALID: format is 'xml'",
        "tiercel.yaml:6:21: error CONFIG_INVALID: outputs.stdout.enabled is 'maybe'",
        "write true or false",
        "outputs.file has no path",
        "tiercel.yaml:7:25: error CONFIG_INVALID: outputs.file.keepalive is no setting",
        "did you mean keep_alive?",
        "tiercel.yaml:8:6: error CONFIG_INVALID: log must hold keys and values",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rules: [a\n", "error CONFIG_YAML"),
        ("- a\n- b\n", "one document of keys and values"),
        ("", "no rules are configured"),
        ("rules: a.yaml\noutputs: {stdout: {enabled: false}}", "no output is enabled"),
        ("rules: a.yaml\nrules: b.yaml", "is there twice"),
        ("rules: a.yaml\nlog: {targets: [journal]}", "'journal' is no target of logs"),
        ("rules: \udcff", "not valid UTF-8"),
        ('rules: ["a\\0b"]', "rules holds a zero byte"),
        ('rules: a.yaml\npid_file: "a\\0b"', "pid_file holds a zero byte"),
        ("a: &a [x, x]\nb: &b [*a, *a]\n" + "c: " + "[" * 200, "nested deeper"),
    ],
)
def test_what_is_no_configuration_is_an_error(text: str, expected: str):
    assert expected in "\n".join(errors(text))


def test_an_unreadable_file_is_an_error(tmp_path: Path):
    read = read_config(tmp_path / "missing.yaml")
    assert read.config is None
    assert "missing.yaml:1:1: error CONFIG_FILE_READ: cannot read the file: No such file" in render(read.errors[0])


def test_what_has_no_end_is_not_read(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe"):
        assert "cannot read the file: not a regular file" in render(read_config(path).errors[0])


def test_where_sinks_keep_what_waits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    text = "rules: [a.yaml]\n"

    def spool(more: str = "") -> SpoolSettings:
        config = parse_config("/etc/tiercel/tiercel.yaml", text + more).config
        assert config is not None
        return config.spool

    assert spool() == SpoolSettings(None, 1 << 30)
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/tiercel:/var/lib/other")
    assert spool() == SpoolSettings(Path("/var/lib/tiercel/spool"), 1 << 30)
    assert spool("spool: {folder: kept, max_mebibytes: 5}") == SpoolSettings(Path("/etc/tiercel/kept"), 5 << 20)


def test_what_is_remembered_of_processes() -> None:
    def limit(more: str) -> int:
        config = parse_config("tiercel.yaml", f"rules: [a.yaml]\n{more}").config
        assert config is not None
        return config.process_memory

    assert (limit(""), limit("processes: {max_mebibytes: 5}")) == (32 << 20, 5 << 20)
    (error,) = parse_config("tiercel.yaml", "rules: [a.yaml]\nprocesses: {max_mebibytes: 0}").errors
    assert "processes.max_mebibytes is 0" in render(error)


def test_sinks_by_url_and_what_tenants_may_reach():
    text = """
rules: [a.yaml]
outputs:
  urls: [https://a.example/x, "syslog+tcp://b.example:514"]
sinks: sinks.json
egress: {allow: [10.1.0.0/16], forbid: ["fd00::/8"], services: [10.96.0.0/12]}
metrics: {port: 9376}
"""
    config = parse_config("/etc/tiercel/tiercel.yaml", text).config
    assert config is not None
    assert [each.name for each in config.sinks] == ["url-1", "url-2"]
    assert all(each.trusted for each in config.sinks)
    assert config.sinks_file == Path("/etc/tiercel/sinks.json")
    allow, forbid, services = map(ip_network, ("10.1.0.0/16", "fd00::/8", "10.96.0.0/12"))
    assert config.egress == EgressPolicy((allow,), (forbid,), (services,))
    assert config.metrics_port == 9376


def test_what_rules_of_namespaces_may_take():
    def budget(text: str = ""):
        config = parse_config("/etc/tiercel/tiercel.yaml", f"rules: [a.yaml]\n{text}").config
        assert config is not None
        return config.namespace_budget

    assert budget() == NamespaceBudget()
    assert budget("namespace_budget: {cpu_percent: 5, all_cpu_percent: 80, alerts_per_second: 7}") == NamespaceBudget(
        0.05, 0.8, 7
    )
    (error,) = parse_config("t.yaml", "rules: [a.yaml]\nnamespace_budget: {cpu: 5}").errors
    assert error.message == "namespace_budget.cpu is no setting"
