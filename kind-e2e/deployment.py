"""Tiercel on the cluster that KUBECONFIG names: deployed as users do it, or as processes of this machine."""

from __future__ import annotations

import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cluster_support.kubelet import SYSTEM, mount_bundle, mount_sinks
from kubernetes.client import ApiClient

from tiercel_engine.api_group import API_GROUP

ROOT = Path(__file__).resolve().parents[1]
DEADLINE = 240.0  # seconds until a test gives up: images start, the kubelet mounts ConfigMaps once a minute
_TIERCEL = str(Path(sys.executable).with_name("tiercel"))
_HOST = "127.0.0.1"


def until(done: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + DEADLINE
    while not (result := done()):
        assert time.monotonic() < end, f"no {what} within {DEADLINE:.0f} seconds"
        time.sleep(0.5)
    return result


@dataclass(frozen=True)
class Kubectl:
    kubeconfig: Path

    def __call__(
        self, *arguments: str, text: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done

    def read(self, *arguments: str) -> dict[str, Any]:
        """An object; {} if there is none."""
        done = self("get", *arguments, "-o", "json", "--ignore-not-body")
        body: dict[str, Any] = yaml.safe_load(done.stdout) or {}
        return body

    def apply(self, text: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        # older servers don't know rules in CEL, which newer ones check by themselves
        return self("apply", "--validate=false", "-f", "-", text=text, check=check)


@contextmanager
def deployed(kubectl: Kubectl) -> Iterator[None]:
    """By the manifests, with images that the nodes have."""
    kubectl("apply", "--validate=false", "-k", str(ROOT / "config/overlays/imported-images"))
    kubectl("rollout", "status", "deployment/tiercel-operator", "-n", SYSTEM, f"--timeout={DEADLINE:.0f}s")
    until(lambda: kubectl.read("daemonset", "tiercel-agent", "-n", SYSTEM), "DaemonSet of the agents")
    kubectl("rollout", "status", "daemonset/tiercel-agent", "-n", SYSTEM, f"--timeout={DEADLINE:.0f}s")
    yield


@contextmanager
def local(kubectl: Kubectl, api: ApiClient) -> Iterator[None]:
    """As processes of this machine, whose node goes by its name."""
    node = platform.node().lower()
    for path in sorted((ROOT / "crds").glob(f"{API_GROUP}_*.yaml")):
        kubectl.apply(path.read_text())
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}
    kubectl.apply(yaml.safe_dump(namespace))
    if not kubectl.read("node", node):
        kubectl.apply(yaml.safe_dump({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tiercel-e2e.")))
        port = _free_port()
        command = [_TIERCEL, "operator", "--kubeconfig", str(kubectl.kubeconfig), "--no-agents", "--health-port", "0"]
        command += ["--webhook-port", str(port), "--webhook-url", f"https://{_HOST}:{port}/validate"]
        stack.enter_context(_running(command, folder / "operator.log"))
        stop = threading.Event()
        mounting = threading.Thread(target=_mount, args=(api, folder, stop), daemon=True)
        mounting.start()
        stack.callback(stop.set)
        config = folder / "tiercel.yaml"
        kubernetes = {"kubeconfig": str(kubectl.kubeconfig), "node": node}
        outputs = {"events": {"enabled": True}}
        settings = {
            "bundle": str(folder / "bundle/current"),
            "kubernetes": kubernetes,
            "outputs": outputs,
            "sinks": str(folder / "sinks/current/sinks.json"),
            "spool": {"folder": str(folder / "spool")},
        }
        config.write_text(yaml.safe_dump(settings))
        stack.enter_context(_running([_TIERCEL, "agent", "--config", str(config)], folder / "agent.log"))
        yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)
            print(log.read_text(errors="replace")[-3000:])


def _mount(api: ApiClient, folder: Path, stop: threading.Event) -> None:
    while not stop.wait(0.5):
        mount_bundle(api, folder / "bundle")
        mount_sinks(api, folder / "sinks")
