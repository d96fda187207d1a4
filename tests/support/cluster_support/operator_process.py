"""The operator as a process of its own, beside a real API server, and the cluster as its users see it."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiClient, ApiException, CoreV1Api, CustomObjectsApi

from cluster_support.custom_resources import API, SYSTEM, alert_sink, security_rule, unless_there
from cluster_support.waiting import until
from tiercel_engine.api_group import API_VERSION
from tiercel_engine.rules.bundle import INDEX, Bundle, part_name, unpack


class Cluster:
    """What a user sees of the cluster, and the operator process."""

    def __init__(self, api: ApiClient, kubeconfig: Path, folder: Path) -> None:
        self._objects: Any = CustomObjectsApi(api)
        self._core = CoreV1Api(api)
        self._kubeconfig = kubeconfig
        self._folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.api = api

    def start(self) -> subprocess.Popen[bytes]:
        log = (self._folder / f"operator-{len(self.processes)}.log").open("wb")
        command = [str(Path(sys.executable).with_name("tiercel")), "operator", "--kubeconfig", str(self._kubeconfig)]
        command += ["--no-agents", "--webhook-port", "0", "--health-port", "0"]
        self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return self.processes[-1]

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(30)

    def apply(self, name: str, namespace: str, *items: dict[str, Any], **spec: Any) -> dict[str, Any]:
        body = security_rule(name, namespace, *items, **spec)
        try:
            return dict(self._objects.create_namespaced_custom_object(*API, namespace, "securityrules", body))
        except ApiException as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
        return dict(self._objects.patch_namespaced_custom_object(*API, namespace, "securityrules", name, body))

    def apply_sink(self, name: str, namespace: str, **spec: Any) -> None:
        body = alert_sink(name, namespace, **spec)
        self._objects.create_namespaced_custom_object(*API, namespace, "alertsinks", body)

    def sink_reason(self, name: str, namespace: str) -> str:
        """Why a sink is in order, or isn't."""
        sink = self._objects.get_namespaced_custom_object(*API, namespace, "alertsinks", name)
        conditions = (sink.get("status") or {}).get("conditions") or ()
        return next((each["reason"] for each in conditions if each["type"] == "Valid"), "")

    def secrets_of_sinks(self) -> dict[str, dict[str, str]]:
        """The secrets of the sinks that agents get, by the sink."""
        try:
            secret = self._core.read_namespaced_secret("tiercel-sinks", SYSTEM)
        except ApiException:
            return {}
        content = yaml.safe_load(base64.b64decode(secret.data["sinks.json"]))
        return {f"{each['namespace']}/{each['name']}": each["secrets"] for each in content["sinks"]}

    def clear(self) -> None:
        """Deletes all objects of the custom resources."""
        for plural in ("securityrules", "alertsinks"):
            for item in self._objects.list_cluster_custom_object(*API, plural)["items"]:
                where = item["metadata"]
                self._objects.delete_namespaced_custom_object(*API, where["namespace"], plural, where["name"])
        for item in self._objects.list_cluster_custom_object(*API, "nodeagents")["items"]:
            self._objects.delete_cluster_custom_object(*API, "nodeagents", item["metadata"]["name"])

    def delete(self, name: str, namespace: str) -> None:
        self._objects.delete_namespaced_custom_object(*API, namespace, "securityrules", name)

    def read(self, name: str, namespace: str) -> dict[str, Any]:
        body: dict[str, Any] = self._objects.get_namespaced_custom_object(*API, namespace, "securityrules", name)
        return body

    def conditions(self, name: str, namespace: str) -> dict[str, tuple[str, str]]:
        """Status and reason by type, once they are of what was applied last."""
        rule = self.read(name, namespace)
        status = rule.get("status") or {}
        if status.get("observedGeneration") != rule["metadata"]["generation"]:
            return {}
        return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}

    def settled(self, name: str, namespace: str, type_: str, reason: str) -> dict[str, Any]:
        """The status once a condition has a reason."""
        until(lambda: self.conditions(name, namespace).get(type_, ("", ""))[1] == reason, f"{type_}: {reason}")
        status: dict[str, Any] = self.read(name, namespace)["status"]
        return status

    def bundle(self) -> tuple[str, set[str]]:
        """Hash and objects of the bundle that agents get."""
        parts: dict[str, bytes] = {}
        index: dict[str, Any] = {}
        for config_map in self._core.list_namespaced_config_map(SYSTEM).items:
            parts |= {name: base64.b64decode(data) for name, data in (config_map.binary_data or {}).items()}
            if INDEX in (config_map.data or {}):
                index = yaml.safe_load(config_map.data[INDEX])
        if not index:
            return "", set()
        bundle = Bundle(index["hash"], tuple(parts[part_name(number)] for number in range(index["parts"])))
        return bundle.hash, {f"{each.namespace}/{each.name}" for each in unpack(bundle)}

    def report(self, node: str, bundle: str, **status: Any) -> None:
        """What the agent of a node would say."""
        body = {"apiVersion": API_VERSION, "kind": "NodeAgent", "metadata": {"name": node}}
        unless_there(partial(self._objects.create_cluster_custom_object, *API, "nodeagents", body))
        self._objects.patch_cluster_custom_object_status(
            *API, "nodeagents", node, {"status": {"bundle": bundle, **status}}
        )
