"""How soon an alert is an Event that others see: from the matching call to a watch at the API server, as root.

A real API server, and a real agent as a process; nothing else asks the server.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))

from cluster_support.control_plane import ControlPlane, find_binaries  # noqa: E402
from kubernetes.client import ApiClient, EventsV1Api  # noqa: E402
from kubernetes.config import new_client_from_config  # noqa: E402
from kubernetes.watch import Watch  # noqa: E402
from urllib3.exceptions import HTTPError  # noqa: E402

ALERTS = 100
BETWEEN = 0.1  # seconds


def main() -> None:
    binaries = find_binaries()
    if binaries is None:
        sys.exit("no kube-apiserver and etcd found: run scripts/setup-control-plane")
    with tempfile.TemporaryDirectory(prefix="tiercel-bench.") as name:
        folder = Path(name)
        (folder / "cluster").mkdir()
        with ControlPlane(binaries, folder / "cluster") as server:
            kubeconfig = server.kubeconfig_for("admin")
            log = folder / "agent.log"
            with log.open("wb") as output:
                tiercel = str(Path(sys.executable).with_name("tiercel"))
                command = [tiercel, "agent", "-c", str(_config(folder, kubeconfig))]
                agent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            try:
                _until(lambda: "watching" in log.read_text(), "agent that watches")
                took = _measure(folder, new_client_from_config(str(kubeconfig)))
            finally:
                agent.terminate()
                agent.wait(30)
    print(f"{len(took)} of {ALERTS} alerts were Events; milliseconds from the call until a watch tells")
    cuts = statistics.quantiles(took, n=100)
    print(f"p50 {cuts[49]:.1f}   p99 {cuts[98]:.1f}   slowest {max(took):.1f}")


def _config(folder: Path, kubeconfig: Path) -> Path:
    rules = [
        {
            "rule": _rule(number),
            "desc": "d",
            "condition": f"evt.type in (open, openat) and fd.name = {_file(folder, number)}",
            "output": "%fd.name by %proc.cmdline",
            "priority": "WARNING",
        }
        for number in range(ALERTS)
    ]
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    config = {
        "rules": ["rules.yaml"],
        "kubernetes": {"kubeconfig": str(kubeconfig), "node": "bench"},
        "outputs": {"stdout": {"enabled": False}, "events": {"enabled": True, "per_minute": 2 * ALERTS}},
    }
    path = folder / "tiercel.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _measure(folder: Path, api: ApiClient) -> list[float]:
    seen: dict[str, float] = {}

    def watch() -> None:
        with suppress(HTTPError):  # the server ends before the watch does
            for event in Watch().stream(EventsV1Api(api).list_event_for_all_namespaces, timeout_seconds=60):
                seen.setdefault(event["object"].reason, time.monotonic())

    threading.Thread(target=watch, daemon=True).start()
    time.sleep(1)
    called = {}
    for number in range(ALERTS):
        called[_rule(number)] = time.monotonic()
        _file(folder, number).touch()
        time.sleep(BETWEEN)
    time.sleep(1)
    return [(seen[rule] - moment) * 1000 for rule, moment in called.items() if rule in seen]


def _rule(number: int) -> str:
    return f"Seen{number}"


def _file(folder: Path, number: int) -> Path:
    return folder / f"probe-{number}"


def _until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not done():
        if time.monotonic() > end:
            sys.exit(f"no {what}")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
