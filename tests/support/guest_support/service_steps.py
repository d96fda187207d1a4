"""What is done with the agent as a service of systemd, which the lines of docs/host.md install."""

from __future__ import annotations

import re

from guests import Step
from guests.places import CHECKOUT

ALERT = "Sensitive file opened for reading"
_FOLLOW = " && journalctl -fu tiercel"
_JOURNAL = "journalctl -u tiercel -o cat --no-pager"
_READ_SHADOW = "cat /etc/shadow >/dev/null"
_WAIT = """
journal() { journalctl -u tiercel -o cat --no-pager; }
wait_for() {  # until the journal has so many lines with this text
    while [ "$(journal | grep -c -F "$2")" -lt "$1" ]; do
        systemctl is-active -q tiercel || { echo "not $1 times: $2"; journal; return 1; }
        sleep 0.5
    done
}
"""
_PATIENCE = """
mkdir -p /etc/systemd/system/tiercel.service.d
printf '[Service]\\nTimeoutStartSec=900\\nWatchdogSec=600\\n' >/etc/systemd/system/tiercel.service.d/slow.conf
"""
"""An emulated processor is slow beyond all that the unit file allows for."""
_PID_FILE = "/run/tiercel/tiercel.pid"


def _installation() -> str:
    """As docs/host.md has it, but that the journal isn't followed."""
    blocks: list[str] = re.findall(
        r"^```text\n(.*?)^```$", CHECKOUT.joinpath("docs/host.md").read_text(), re.MULTILINE | re.DOTALL
    )
    (lines,) = (block for block in blocks if "systemctl" in block)
    assert _FOLLOW in lines
    return lines.replace(_FOLLOW, "")


def service_steps() -> list[Step]:
    before, _, start = _installation().rpartition("systemctl daemon-reload")
    configured = f"sed -i 's|^# pid_file:.*|pid_file: {_PID_FILE}|' /etc/tiercel/tiercel.yaml"
    return [
        Step("booted", "systemctl is-system-running --wait"),
        Step("installed", f"set -eu\n{before}{configured}{_PATIENCE}systemctl daemon-reload{start}", 900),
        Step("state", "systemctl show tiercel -p ActiveState,SubState,MainPID,StatusText,NRestarts"),
        Step("pid file", f"cat {_PID_FILE}"),
        Step("alerted", f"{_WAIT}{_READ_SHADOW}\nwait_for 1 '{ALERT}'", 300),
        Step("reloaded", f"{_WAIT}systemctl reload tiercel\nwait_for 2 'watching: '\n{_JOURNAL}", 300),
        Step("alerted again", f"{_WAIT}{_READ_SHADOW}\nwait_for 2 '{ALERT}'", 300),
        Step("stopped", f"for _ in $(seq 20); do {_READ_SHADOW}; done; systemctl stop tiercel", 300),
        Step("state afterwards", "systemctl show tiercel -p ActiveState,Result,ExecMainStatus"),
        Step("journal", _JOURNAL),
        Step("pid file afterwards", f"ls {_PID_FILE}"),
    ]
