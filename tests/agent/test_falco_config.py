"""A falco.yaml means here what it means to Falco, and what has no effect is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiercel_agent.config import Config, FileConfig, LogConfig, ReadConfig, StdoutConfig, parse_config
from tiercel_engine.diagnostics import render
from tiercel_engine.priority import Priority


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


def test_outputs_of_a_later_version_are_accepted_and_said_in_one_warning(read):
    found = read(
        """
rules_file: falco_rules.yaml
stdout_output: {enabled: true}
program_output: {enabled: true, keep_alive: false, program: "jq ."}
http_output: {enabled: true, url: "http://127.0.0.1:8080"}
syslog_output: {enabled: false}
"""
    )
    assert found.errors == ()
    assert len(found.warnings) == 1
    assert "program_output, http_output: accepted, but delivered by a later version only" in warnings(found)


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
