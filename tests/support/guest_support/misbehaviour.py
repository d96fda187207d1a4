"""What a guest does that goes wrong in every way."""

from __future__ import annotations

from guests import Step

MISBEHAVIOUR = [
    Step(
        "plain", "printf 'out\\n'; printf '\\033[2Jerr' >&2; cp /root/guest/given /run/made; exit 3", 60, ["/run/made"]
    ),
    Step("hangs", "echo begun; sleep 1000", 1),
    Step("crashes", r"printf 'last \033[31mwords\n' >/dev/console; echo c >/proc/sysrq-trigger; sleep 1000", 60),
]
FILES = {"given": b"\0bytes"}
