"""The agent as a service of systemd, installed by the lines that README.md has for it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pytest
from guests import Kernel, Step, StepResult, Unavailable, run_in_guest
from guests.places import CHECKOUT

_FOLLOW = " && journalctl -fu tiercel"
_JOURNAL = "journalctl -u tiercel -o cat --no-pager"
_READ_SHADOW = "cat /etc/shadow >/dev/null"
_ALERT = "Sensitive file opened for reading"
_WAIT = """
journal() { journalctl -u tiercel -o cat --no-pager; }
wait_for() {  # until the journal has so many lines with this text
    for _ in $(seq 1200); do
        [ "$(journal | grep -c -F "$2")" -ge "$1" ] && return
        sleep 0.1
    done
    echo "not $1 times: $2"; journal; return 1
}
"""
_PID_FILE = "/run/tiercel/tiercel.pid"


def _installation() -> str:
    """As the README has it, but that the journal isn't followed."""
    section = CHECKOUT.joinpath("README.md").read_text().partition("## As a service")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
    lines = next(block for block in blocks if "systemctl" in block)
    assert _FOLLOW in lines
    return re.sub(r"^    ", "", lines.replace(_FOLLOW, ""), flags=re.MULTILINE)


def _steps() -> list[Step]:
    before, _, start = _installation().rpartition("systemctl daemon-reload")
    configured = f"sed -i 's|^# pid_file:.*|pid_file: {_PID_FILE}|' /etc/tiercel/tiercel.yaml"
    return [
        Step("booted", "systemctl is-system-running --wait"),
        Step("installed", f"set -eu\n{before}{configured}\nsystemctl daemon-reload{start}", 900),
        Step("state", "systemctl show tiercel -p ActiveState,SubState,MainPID,StatusText,NRestarts"),
        Step("pid file", f"cat {_PID_FILE}"),
        Step("alerted", f"{_WAIT}{_READ_SHADOW}\nwait_for 1 '{_ALERT}'", 300),
        Step("reloaded", f"{_WAIT}systemctl reload tiercel\nwait_for 2 'watching: '\n{_JOURNAL}", 300),
        Step("alerted again", f"{_WAIT}{_READ_SHADOW}\nwait_for 2 '{_ALERT}'", 300),
        Step("stopped", f"for _ in $(seq 20); do {_READ_SHADOW}; done; systemctl stop tiercel", 300),
        Step("state afterwards", "systemctl show tiercel -p ActiveState,Result,ExecMainStatus"),
        Step("journal", _JOURNAL),
        Step("pid file afterwards", f"ls {_PID_FILE}"),
    ]


@pytest.fixture(scope="module")
def done(usual_kernel: Kernel) -> Mapping[str, StepResult]:
    try:
        return run_in_guest(usual_kernel, _steps(), systemd=True).steps
    except Unavailable as error:
        pytest.skip(f"no guests here: {error}")


def _properties(result: StepResult) -> dict[str, str]:
    return dict(line.split("=", 1) for line in result.output.decode().splitlines() if "=" in line)


def test_it_starts_and_tells_systemd_that_it_watches(done: Mapping[str, StepResult]) -> None:
    assert done["installed"].status == 0, done["installed"].text()
    state = _properties(done["state"])
    assert (state["ActiveState"], state["SubState"], state["NRestarts"]) == ("active", "running", "0")
    assert state["StatusText"].startswith("watching: ")
    assert done["pid file"].output.decode().strip() == state["MainPID"]


def test_alerts_are_in_the_journal(done: Mapping[str, StepResult]) -> None:
    assert done["alerted"].status == 0, done["alerted"].text()


def test_a_reload_is_taken_and_detection_goes_on(done: Mapping[str, StepResult]) -> None:
    assert done["reloaded"].status == 0, done["reloaded"].text()
    assert "loading the rules anew" in done["reloaded"].output.decode()
    assert done["alerted again"].status == 0, done["alerted again"].text()


def test_it_stops_without_losing_anything_and_says_so(done: Mapping[str, StepResult]) -> None:
    assert done["stopped"].status == 0, done["stopped"].text()
    state = _properties(done["state afterwards"])
    assert state == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    journal = done["journal"].output.decode()
    alerts = [json.loads(line) for line in journal.splitlines() if line.startswith("{")]
    assert [alert["rule"] for alert in alerts].count(_ALERT) == 22
    assert "Lost: none" in journal
    assert done["pid file afterwards"].status != 0
