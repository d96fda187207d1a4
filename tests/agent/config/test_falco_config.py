"""A falco.yaml means here what it means to Falco, and what has no effect is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiercel_agent.config import Config, FileConfig, LogConfig, ReadConfig, StdoutConfig, parse_config
from tiercel_engine.diagnostics import render
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import Format
from tiercel_engine.resources.encoding import to_json


@pytest.fixture
def read(tmp_path: Path):
    (tmp_path / "falco_rules.yaml").touch()
    (tmp_path / "rules.d").mkdir()

    def parse(text: str) -> ReadConfig:
        return parse_config(str(tmp_path / "falco.yaml"), text)

    return parse


def warnings(read: ReadConfig) -> str:
    return "\n".join(render(warning) for warning in read.warnings)


def test_the_supported_keys(read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NODE_NAME", "n")
    found = read(
        """
rules_files:
  - falco_rules.yaml
  - rules.d
json_output: true
priority: notice
rule_matching: all
stdout_output: {enabled: true}
file_output: {enabled: true, keep_alive: true, filename: /var/log/falco.txt}
log_level: notice
log_stderr: true
log_syslog: false
"""
    )
    assert (found.errors, found.warnings) == ((), ())
    assert found.config == Config(
        rules=(tmp_path / "falco_rules.yaml", tmp_path / "rules.d"),
        priority=Priority.NOTICE,
        hostname="n",
        json=True,
        outputs=(StdoutConfig(), FileConfig(Path("/var/log/falco.txt"), keep_alive=True)),
        log=LogConfig("info", ("stderr",)),
    )


def test_falcos_own_defaults_and_the_older_name_of_the_rules(read, tmp_path: Path):
    config = read("rules_file: falco_rules.yaml").config
    assert config is not None
    assert config.rules == (tmp_path / "falco_rules.yaml",)
    assert (config.priority, config.first_match, config.json, config.outputs) == (Priority.DEBUG, True, False, ())
    assert config.log == LogConfig("info", ("syslog",))


def test_optional_rules_files_that_are_missing_are_passed_over_with_a_word(read, tmp_path: Path):
    found = read("rules_files: [falco_rules.yaml, falco_rules.local.yaml]")
    assert found.config is not None
    assert found.config.rules == (tmp_path / "falco_rules.yaml",)
    assert "falco_rules.local.yaml doesn't exist and is passed over" in warnings(found)


def test_no_rules_at_all_is_an_error(read):
    found = read("rules_files: [missing.yaml]")
    assert "none of the rules files exists" in found.errors[0].message


def test_outputs_that_leave_the_process_are_sinks(read, tmp_path: Path):
    (tmp_path / "ca.pem").write_text("an authority")
    found = read(
        """
rules_file: falco_rules.yaml
json_output: true
program_output: {enabled: true, keep_alive: true, program: "jq '{text: .output}' --unbuffered"}
http_output:
  enabled: true
  url: https://user:pass@sidekick.example:2801/
  user_agent: falco
  insecure: true
  ca_cert: ca.pem
  mtls: false
  client_cert: /etc/ssl/certs/not-there.crt
  compress_uploads: true
syslog_output: {enabled: true}
"""
    )
    assert (found.errors, found.warnings) == ((), ())
    assert found.config is not None
    specs = {each.name: to_json(each.spec) for each in found.config.sinks}
    assert specs == {
        "syslog": {"syslog": {"address": "unix:///dev/log", "facility": "user"}, "format": "json"},
        "program": {"program": {"command": ["jq", "{text: .output}", "--unbuffered"]}, "format": "json"},
        "http": {
            "http": {
                "urlFrom": {"secretRef": {"name": "url", "key": "url"}},
                "compression": "gzip",
                "tls": {"caFrom": {"secretRef": {"name": "tls", "key": "ca_cert"}}, "insecureSkipVerify": True},
            },
            "format": "json",
        },
    }
    http = found.config.sinks[-1]
    assert http.secrets == {"url/url": "https://user:pass@sidekick.example:2801/", "tls/ca_cert": "an authority"}
    assert "pass" not in repr(found.config)


def test_without_json_the_sinks_get_text(read):
    config = read("rules_file: falco_rules.yaml\nsyslog_output: {enabled: true}\n").config
    assert config is not None
    assert [each.spec.format for each in config.sinks] == [Format.TEXT]


@pytest.mark.parametrize(
    ("output", "wanted"),
    [
        ("program_output: {enabled: true, program: 'jq . | curl -d @- https://x'}", "written for a shell"),
        ("program_output: {enabled: true, program: 'mail $USER'}", "written for a shell"),
        ('program_output: {enabled: true, program: "jq \'"}', "can't be split into arguments"),
        ("program_output: {enabled: true}", "program_output has no program"),
        ("http_output: {enabled: true}", "http_output has no url"),
        ("http_output: {enabled: true, url: 'http://x', ca_cert: /not/there}", "http_output.ca_cert: /not/there"),
    ],
)
def test_an_output_that_cannot_work_is_an_error(read, output: str, wanted: str):
    assert wanted in "\n".join(render(error) for error in read(f"rules_file: falco_rules.yaml\n{output}\n").errors)


def test_a_program_that_falco_would_start_for_each_alert_is_warned_of(read):
    found = read("rules_file: falco_rules.yaml\nprogram_output: {enabled: true, program: /bin/mine}\n")
    assert "started once and reads all alerts" in warnings(found)


def test_a_configuration_whose_alerts_reach_nobody_says_so(read):
    assert "no alert is written anywhere" in warnings(read("rules_file: falco_rules.yaml"))


def test_other_keys_are_warned_of_by_name_and_place(read):
    found = read("rules_file: falco_rules.yaml\nwebserver:\n  enabled: true\nbuffered_outputs: false\n")
    text = warnings(found)
    assert "falco.yaml:2:1: warning CONFIG_UNKNOWN_KEY: webserver has no effect here" in text
    assert "falco.yaml:4:1: warning CONFIG_UNKNOWN_KEY: buffered_outputs has no effect here" in text


def test_a_wrong_value_is_an_error_with_its_place(read):
    found = read("rules_file: falco_rules.yaml\npriority: hihg\njson_output: [1]\nfile_output: {enabled: true}\n")
    text = "\n".join(render(error) for error in found.errors)
    assert "falco.yaml:2:11: error CONFIG_INVALID: priority is 'hihg'" in text
    assert "falco.yaml:3:14: error CONFIG_INVALID: json_output must be a text" in text
    assert "file_output has no filename" in text


def test_rules_switched_on_and_off_do_not_make_it_another_form(read, tmp_path: Path):
    found = read(
        "rules_files: [falco_rules.yaml]\nrules:\n  - disable: {tag: network}\nstdout_output: {enabled: true}\n"
    )
    assert found.config is not None
    assert found.config.rules == (tmp_path / "falco_rules.yaml",)
    assert "falco.yaml:2:1: warning CONFIG_UNKNOWN_KEY: rules has no effect here" in warnings(found)


def test_a_name_that_no_file_can_have_is_passed_over(read):
    found = read(f"rules_files: [falco_rules.yaml, {'a' * 5000}]\nstdout_output: {{enabled: true}}\n")
    assert found.config is not None
    assert "doesn't exist and is passed over" in warnings(found)
