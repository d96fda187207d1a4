"""The agent as a process of its own: rules from a mounted bundle, and a NodeAgent that tells of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from agent_support.http_receiver import Answer, HttpReceiver
from cluster_support.control_plane import ControlPlane
from cluster_support.custom_resources import API, rule
from cluster_support.waiting import until
from kubernetes.client import ApiClient, ApiException, CoreV1Api, CustomObjectsApi

from tiercel_engine.resources.sink_config import write_sinks
from tiercel_engine.rules.bundle import files_of, pack
from tiercel_engine.rules.objects import RuleObject

Mount = Callable[..., str]


def objects(*rules: dict[str, Any], namespace: str = "tiercel-system") -> list[RuleObject]:
    return [RuleObject(namespace, "rules", {"rules": list(rules)})]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bundle"


@pytest.fixture
def mount(folder: Path, tmp_path: Path) -> Mount:
    """Swaps the bundle as the kubelet does: all files are links through one that is renamed into place."""
    folder.mkdir()
    count = iter(range(1000))

    def swap(rules: list[RuleObject], most: int = 700_000, without: str = "") -> str:
        bundle = pack(rules, most)
        data = folder / f"..{next(count)}"
        data.mkdir()
        for name, content in files_of(bundle).items():
            if name != without:
                (data / name).write_bytes(content)
        (tmp_path / "link").symlink_to(data.name)
        os.rename(tmp_path / "link", folder / "..data")
        for name in files_of(bundle):
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(f"..data/{name}")
        return bundle.hash

    return swap


@pytest.fixture
def start(
    agent_kubeconfig: Path,
    folder: Path,
    tmp_path: Path,
    namespace: str,
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    if os.geteuid() != 0 or not Path("/sys/kernel/btf/vmlinux").exists():
        pytest.skip("an agent needs root and eBPF")
    processes: list[subprocess.Popen[bytes]] = []
    config = tmp_path / "tiercel.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "bundle": str(folder),
                "kubernetes": {"kubeconfig": str(agent_kubeconfig), "node": namespace},
                "sinks": str(tmp_path / "sinks.json"),
                "spool": {"folder": str(tmp_path / "spool")},
                "outputs": {
                    "stdout": {"enabled": False},
                    "file": {"path": str(tmp_path / "alerts.jsonl")},
                    "events": {"enabled": True},
                },
            }
        )
    )

    def begin() -> subprocess.Popen[bytes]:
        log = (tmp_path / "agent.log").open("ab")
        command = [str(Path(sys.executable).with_name("tiercel")), "agent", "--config", str(config)]
        processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return processes[-1]

    yield begin
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait(30)
    print((tmp_path / "agent.log").read_text()[-3000:])


@pytest.fixture
def told(custom_resources: None, api: ApiClient, namespace: str) -> Callable[[], dict[str, Any]]:
    """The status of the node's NodeAgent."""

    def read() -> dict[str, Any]:
        try:
            node_agent: Any = CustomObjectsApi(api).get_cluster_custom_object(*API, "nodeagents", namespace)
        except ApiException:
            return {}
        status: dict[str, Any] = node_agent.get("status") or {}
        return status

    return read


@pytest.fixture
def reasons(api: ApiClient, namespace: str) -> Callable[[], list[str]]:
    """Of the Events on the node."""

    def read() -> list[str]:
        events = CoreV1Api(api).list_event_for_all_namespaces(field_selector=f"involvedObject.name={namespace}")
        return [event.reason for event in events.items]

    return read


def test_an_agent_runs_the_bundle_follows_it_and_tells(
    start: Callable[[], subprocess.Popen[bytes]],
    mount: Mount,
    told: Callable[[], dict[str, Any]],
    reasons: Callable[[], list[str]],
    tmp_path: Path,
) -> None:
    process = start()
    until(lambda: told().get("conditions"), "status without a bundle")
    assert told()["conditions"][0]["reason"] == "NoBundle"

    secret = tmp_path / "secret"
    secret.write_text("x")
    seen = rule("Secret read", f"evt.type in (open, openat) and fd.name = {secret}")
    first = mount(objects(seen, rule("Bad", "proc.nmae = x")), most=100)
    until(lambda: told().get("bundle") == first, "first bundle")
    status = told()
    assert (status["rules"], status["conditions"][0]["reason"]) == (1, "Running")
    (refused,) = status["refused"]
    assert refused["rule"] == "tiercel-system/rules"
    assert refused["reason"] == "rule Bad: there is no field proc.nmae (did you mean proc.name?)"
    subprocess.run(["cat", secret], check=True, capture_output=True)
    alerts = tmp_path / "alerts.jsonl"
    until(lambda: alerts.exists() and "Secret read" in alerts.read_text(), "alert")
    until(lambda: "SecretRead" in reasons(), "Event on the node")

    # what isn't whole is no bundle: the one before stays
    mount(objects(rule("Other"), seen), without="bundle.json")
    second = mount(objects(seen, rule("Second")))
    until(lambda: told().get("bundle") == second, "second bundle")
    assert (told()["rules"], process.poll()) == (2, None)
    shutil.rmtree(tmp_path / "bundle" / "..data", ignore_errors=True)


def test_a_restart_needs_no_api(
    start: Callable[[], subprocess.Popen[bytes]],
    mount: Mount,
    told: Callable[[], dict[str, Any]],
    control_plane: ControlPlane,
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    hash_ = mount(objects(rule("Secret read", f"evt.type in (open, openat) and fd.name = {secret}")))
    control_plane.stop()
    try:
        start()
        alerts = tmp_path / "alerts.jsonl"

        def alerted() -> bool:
            subprocess.run(["cat", secret], check=True, capture_output=True)
            return alerts.exists() and "Secret read" in alerts.read_text()

        until(alerted, "alert without an API server")
    finally:
        control_plane.start()
    until(lambda: told().get("bundle") == hash_, "report once the API server is back")


def test_alerts_outlive_an_agent_that_is_killed_while_their_sink_is_down(
    start: Callable[[], subprocess.Popen[bytes]],
    mount: Mount,
    told: Callable[[], dict[str, Any]],
    namespace: str,
    tmp_path: Path,
) -> None:
    with HttpReceiver([Answer(503, {"Retry-After": "0"})] * 1000) as receiver:
        entry = {
            "namespace": "tiercel-system",
            "name": "pager",
            "generation": 3,
            "spec": {"http": {"urlFrom": {"secretRef": {"name": "pager", "key": "url"}}}, "match": {"rules": ["Sec*"]}},
            "secrets": {"pager/url": f"{receiver.url}/alerts"},
        }
        sinks = tmp_path / "sinks.json"
        sinks.write_bytes(write_sinks([entry]))
        secret = tmp_path / "secret"
        secret.write_text("x")
        mount(objects(rule("Secret read", f"evt.type in (open, openat) and fd.name = {secret}")))

        def report() -> dict[str, Any]:
            reports: list[dict[str, Any]] = told().get("sinks") or []
            return reports[0] if reports else {}

        process = start()
        until(lambda: "lastReport" in told() and told()["conditions"][0]["reason"] == "Running", "agent that runs")
        subprocess.run(["cat", secret], check=True, capture_output=True)
        first = until(lambda: orjson.loads(receiver.one().body), "attempt")
        until(lambda: report().get("failing"), "report of the failure")
        assert report()["generation"] == 3
        assert report()["lastError"]["node"] == namespace
        assert "503" in report()["lastError"]["message"]
        process.kill()
        process.wait(30)

        receiver.answers.clear()
        receiver.all()
        entry["test"] = {"id": "try", "node": namespace}
        sinks.write_bytes(write_sinks([entry]))
        start()
        again = orjson.loads(receiver.one().body)
        assert (again["rule"], again["uuid"]) == ("Secret read", first["uuid"])
        assert orjson.loads(receiver.one().body)["rule"] == "Tiercel: test alert"
        until(lambda: (report().get("test") or {}).get("milliseconds") is not None, "report of the test")
        until(lambda: (report()["failing"], report()["delivered"]) == (False, 2), "report of what was delivered")
