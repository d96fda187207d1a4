"""Whether tenants can blind a node: `make bench-hostile`, as root.

A real API server, the operator and one agent run here as processes. Hostile tenants create what they like, past the
webhook, as if it had timed out, and their pods make the load that their rules are written for. Meanwhile a file is read
on the host a hundred times, which a rule of the system watches, and another tenant changes a rule of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from bench.hostile.pods import Pod, pods  # noqa: E402
from bench.hostile.tenants import NAMES, arguments, tenants  # noqa: E402
from bench.live.processes import BenchError, memory, running  # noqa: E402
from cluster_support.control_plane import ControlPlane, find_binaries  # noqa: E402
from cluster_support.custom_resources import (  # noqa: E402
    API,
    SYSTEM,
    define_custom_resources,
    rule,
    security_rule,
    unless_there,
)
from cluster_support.kubelet import mount_bundle  # noqa: E402
from kubernetes.client import ApiClient, ApiException, CoreV1Api, CustomObjectsApi, V1Namespace, V1Node, V1ObjectMeta  # noqa: E402
from kubernetes.config import new_client_from_config  # noqa: E402

READS, BETWEEN = 100, 0.1  # seconds
IN_TIME = 1.0  # seconds
PATIENCE = 180.0  # seconds
NEIGHBOUR = "neighbour"
TIERCEL = str(Path(sys.executable).with_name("tiercel"))


class AlertFile:
    """The names of files in alerts, each with the moment at which it could be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.moments: dict[str, float] = {}
        self.alerts = 0
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, name: str, what: str) -> float:
        end = time.monotonic() + PATIENCE
        while name not in self.moments:
            if time.monotonic() > end:
                raise BenchError(f"no {what} within {PATIENCE:.0f} s")
            time.sleep(0.01)
        return self.moments[name]

    def _read(self) -> None:
        while not self._path.exists():
            time.sleep(0.01)
        with self._path.open("rb") as file:
            while True:
                if not (line := file.readline()).endswith(b"\n"):
                    file.seek(-len(line), 1)
                    time.sleep(0.005)
                    continue
                self.alerts += 1
                name = json.loads(line)["output_fields"].get("fd.name")
                if name:
                    self.moments.setdefault(name, time.monotonic())


@dataclass(slots=True)
class Peaks:
    """The most memory in bytes that each process has had with all of its children together."""

    agent: int = 0
    operator: int = 0


@contextmanager
def measured(agent: int, operator: int) -> Iterator[Peaks]:
    peaks, ended = Peaks(), threading.Event()

    def sample() -> None:
        while not ended.wait(0.2):
            peaks.agent = max(peaks.agent, memory(agent))
            peaks.operator = max(peaks.operator, memory(operator))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()


class Cluster:
    """What users do at the API server."""

    def __init__(self, api: ApiClient) -> None:
        self.api = api
        self._objects: Any = CustomObjectsApi(api)

    def make_namespace(self, name: str) -> None:
        unless_there(lambda: CoreV1Api(self.api).create_namespace(V1Namespace(metadata=V1ObjectMeta(name=name))))

    def create(self, body: dict[str, Any]) -> bool:
        """Whether the API server takes it."""
        try:
            self._objects.create_namespaced_custom_object(*API, body["metadata"]["namespace"], "securityrules", body)
        except ApiException:
            return False
        return True

    def conditions(self, namespace: str) -> dict[str, int]:
        """How many SecurityRules of a namespace have which condition that isn't as it should be."""
        counts: dict[str, int] = {}
        for item in self._objects.list_namespaced_custom_object(*API, namespace, "securityrules")["items"]:
            for each in (item.get("status") or {}).get("conditions") or ():
                if (each["status"] == "True") == (each["type"] == "DetectionDegraded"):
                    key = f"{each['type']}={each['status']} {each['reason']}"
                    counts[key] = counts.get(key, 0) + 1
        return counts


def main(arguments_: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bench.hostile", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="these tenants, not all")
    options = parser.parse_args(arguments_)
    binaries = find_binaries()
    if binaries is None:
        sys.exit("no kube-apiserver and etcd found: run scripts/setup-control-plane")
    with tempfile.TemporaryDirectory(prefix="tiercel-bench.") as name, ExitStack() as stack:
        try:
            _run(stack, binaries, Path(name), options.only)
        except BenchError as error:
            for log in Path(name).glob("*.log"):
                print(f"{log.name}:", *log.read_text(errors="replace").splitlines()[-20:], sep="\n  ")
            sys.exit(str(error))


def _run(stack: ExitStack, binaries: Path, folder: Path, names: Sequence[str]) -> None:
    (folder / "cluster").mkdir()
    server = stack.enter_context(ControlPlane(binaries, folder / "cluster"))
    kubeconfig = server.kubeconfig_for("admin")
    cluster = Cluster(new_client_from_config(str(kubeconfig)))
    define_custom_resources(cluster.api)
    namespaces = [f"hostile-{name}" for name in names]
    for namespace in (SYSTEM, NEIGHBOUR, *namespaces):
        cluster.make_namespace(namespace)
    unless_there(lambda: CoreV1Api(cluster.api).create_node(V1Node(metadata=V1ObjectMeta(name="bench"))))
    cluster.create(security_rule("watched", SYSTEM, _opens(folder, "watched")))
    made, socket = stack.enter_context(pods([NEIGHBOUR, *namespaces], folder))
    operator = _start(stack, folder / "operator.log", _operator(kubeconfig))
    _mount_for_ever(new_client_from_config(str(kubeconfig)), folder / "bundle")
    _until((folder / "bundle/current").exists, "bundle")
    agent = _start(stack, folder / "agent.log", [TIERCEL, "agent", "-c", str(_config(folder, kubeconfig, socket))])
    _until(lambda: "watching" in (folder / "agent.log").read_text(), "agent that watches")
    alerts = AlertFile(folder / "alerts")
    with measured(agent, operator) as peaks:
        print(f"before: agent {_mebibytes(memory(agent))}, operator {_mebibytes(memory(operator))}", flush=True)
        change = _change(cluster, made[NEIGHBOUR], alerts, folder, "before")
        print(f"a neighbour's rule is in force after {change:.1f} s", flush=True)
        for tenant in tenants(names):
            taken = sum(cluster.create(body) for body in tenant.objects)
            print(f"{tenant.namespace}: {tenant.does}; {taken} of {len(tenant.objects)} objects taken", flush=True)
        change = _change(cluster, made[NEIGHBOUR], alerts, folder, "after")
        print(f"a neighbour's rule is in force after {change:.1f} s (at most 5)", flush=True)
        with _load([made[namespace] for namespace in namespaces], folder):
            _read(folder, alerts)
    for namespace in namespaces:
        print(f"{namespace}: {cluster.conditions(namespace) or 'nothing is told'}")
    print(f"most memory: agent {_mebibytes(peaks.agent)}, operator {_mebibytes(peaks.operator)} (at most 256 MiB)")


def _read(folder: Path, alerts: AlertFile) -> None:
    """Reads the watched file, and tells how soon the alerts came."""
    read: dict[str, float] = {}
    before = alerts.alerts
    for number in range(READS):
        path = folder / f"watched-{number}"
        read[str(path)] = time.monotonic()
        path.touch()
        time.sleep(BETWEEN)
    end = time.monotonic() + PATIENCE
    while not read.keys() <= alerts.moments.keys() and time.monotonic() < end:
        time.sleep(0.1)
    took = sorted(alerts.moments[name] - moment for name, moment in read.items() if name in alerts.moments)
    in_time = sum(seconds <= IN_TIME for seconds in took)
    print(f"{in_time} of {READS} reads alerted within {IN_TIME:.0f} s, {len(took)} at all; slowest {took[-1]:.2f} s")
    print(f"{alerts.alerts - before - len(took)} other alerts meanwhile")


def _change(cluster: Cluster, pod: Pod, alerts: AlertFile, folder: Path, name: str) -> float:
    """Seconds from the creation of a rule until it alerts in its pod."""
    cluster.create(security_rule(name, pod.namespace, _opens(folder, name)))
    begun = time.monotonic()
    number = 0
    while not any(each.startswith(f"{folder}/{name}-") for each in list(alerts.moments)):
        if time.monotonic() > begun + PATIENCE:
            raise BenchError(f"the neighbour's rule isn't in force after {PATIENCE:.0f} s")
        number += 1
        pod.start(["/usr/bin/touch", f"{folder}/{name}-{number}"]).wait()
        time.sleep(0.2)
    return time.monotonic() - begun


@contextmanager
def _load(where: Sequence[Pod], folder: Path) -> Iterator[None]:
    """Each pod starts programs whose arguments are long, one after the other, as fast as a shell can."""
    script = folder / "load.sh"
    script.write_text("while :; do\n" + "".join(f"/bin/true {arguments()}\n" for _ in range(100)) + "done\n")
    shells = [pod.start(["/bin/sh", str(script)]) for pod in where]
    try:
        yield
    finally:
        for shell in shells:
            shell.kill()
            shell.wait()


def _opens(folder: Path, name: str) -> dict[str, Any]:
    condition = f"evt.type in (open, openat) and fd.name startswith {folder}/{name}-"
    return rule(f"Opened {name}", condition, output="%fd.name")


def _operator(kubeconfig: Path) -> list[str]:
    options = ["--no-agents", "--webhook-port", "0", "--health-port", "0"]
    return [TIERCEL, "operator", "--kubeconfig", str(kubeconfig), *options]


def _config(folder: Path, kubeconfig: Path, socket: Path) -> Path:
    path = folder / "tiercel.yaml"
    config = {
        "bundle": str(folder / "bundle/current"),
        "containers": {"sockets": [str(socket)]},
        "kubernetes": {"kubeconfig": str(kubeconfig), "node": "bench"},
        "outputs": {"stdout": {"enabled": False}, "file": {"enabled": True, "path": str(folder / "alerts")}},
        "spool": {"folder": str(folder / "spool")},
    }
    path.write_text(yaml.safe_dump(config))
    return path


def _start(stack: ExitStack, log: Path, command: list[str]) -> int:
    output = stack.enter_context(log.open("wb"))
    return stack.enter_context(running(command, output.fileno(), output.fileno())).pid


def _mount_for_ever(api: ApiClient, folder: Path) -> None:
    """As a kubelet does, though sooner."""

    def mount() -> None:
        while True:
            try:
                mount_bundle(api, folder)
            except Exception:  # the server has ended, or the operator is in the midst of its writes
                time.sleep(1)
            time.sleep(0.3)

    threading.Thread(target=mount, daemon=True).start()


def _until(done: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise BenchError(f"no {what} within {PATIENCE:.0f} s")
        time.sleep(0.1)


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"


if __name__ == "__main__":
    main()
