"""The webhook at a real API server: what `kubectl apply` says of a bad rule, and that nothing is blocked without it."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_support.custom_resources import API, alert_sink, security_rule
from cluster_support.waiting import DEADLINE, until
from kubernetes.client import AdmissionregistrationV1Api, ApiClient, ApiException, CoreV1Api, CustomObjectsApi

from tiercel_engine.rules.objects import RuleObject
from tiercel_operator.admission.certificates import Certificates, make
from tiercel_operator.admission.configuration import EXEMPTION, webhook_configuration
from tiercel_operator.admission.door import new_token
from tiercel_operator.admission.webhook import Webhook
from tiercel_operator.workers.pool import WorkerPool
from tiercel_operator.workers.slots import FairSlots

RULE = {"rule": "r", "desc": "d", "condition": "evt.type = open", "output": "o", "priority": "NOTICE"}
BAD = {**RULE, "condition": "evt.type = open and proc.nmae = x"}
TOLD = [
    "rule r: there is no field proc.nmae (did you mean proc.name?)",
    "    condition: evt.type = open and proc.nmae = x",
    "                                   ^~~~~~~~~",
]


class WebhookCluster:
    """A webhook outside of the cluster that the API server is told of."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self.namespace = namespace
        self.certificates = make(["127.0.0.1"])
        self.trusted = self.certificates.ca
        self._token = new_token()
        self._workers = WorkerPool(["tiercel_operator.admission.review"])
        self._api = api
        self._objects: Any = CustomObjectsApi(api)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.webhook = Webhook(tuple, self._workers, FairSlots(2), self._fresh, tokens=[self._token])
        self.port = self._run(self.webhook.start("127.0.0.1", 0, self.certificates))
        AdmissionregistrationV1Api(api).create_validating_webhook_configuration(self.configuration())
        self.until_it_is_asked()

    def configuration(self) -> dict[str, Any]:
        url = f"https://127.0.0.1:{self.port}/validate"
        return webhook_configuration("tiercel-system", self.trusted, self._token, url)

    def until_it_is_asked(self) -> None:
        """The API server hears of a configuration a moment after it is made, as of any change."""
        until(lambda: self.refusal("probe", BAD, dry_run=True), "webhook")

    def rotate(self, certificates: Certificates) -> None:
        self.trusted = certificates.ca + self.certificates.ca
        self.certificates = certificates
        client = AdmissionregistrationV1Api(self._api)
        client.patch_validating_webhook_configuration("tiercel", self.configuration())

        async def use() -> None:
            self.webhook.use(certificates)

        self._run(use())

    def stop(self) -> None:
        self._run(self.webhook.stop())

    def close(self) -> None:
        AdmissionregistrationV1Api(self._api).delete_validating_webhook_configuration("tiercel")
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._workers.close()

    def create(self, name: str, *items: Any, kind: str = "SecurityRule", dry_run: bool = False, **spec: Any) -> None:
        if kind == "AlertSink":
            body = alert_sink(name, self.namespace, **spec)
        else:
            body = security_rule(name, self.namespace, *items, **spec)
        more: dict[str, Any] = {"dry_run": "All"} if dry_run else {}
        self._objects.create_namespaced_custom_object(*API, self.namespace, f"{kind.lower()}s", body, **more)

    def refusal(self, name: str, *items: Any, **how: Any) -> str:
        """What the API server says against it, "" if nothing."""
        try:
            self.create(name, *items, **how)
        except ApiException as error:
            if error.status != 422:
                raise
            return str(yaml.safe_load(error.body)["message"])
        return ""

    def names(self) -> list[str]:
        listed = self._objects.list_namespaced_custom_object(*API, self.namespace, "securityrules")
        return [item["metadata"]["name"] for item in listed["items"]]

    def patch(self, name: str, change: dict[str, Any]) -> None:
        self._objects.patch_namespaced_custom_object(*API, self.namespace, "securityrules", name, change)

    def delete(self, name: str) -> None:
        self._objects.delete_namespaced_custom_object(*API, self.namespace, "securityrules", name)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE)

    async def _fresh(self, _namespace: str) -> list[RuleObject]:
        listed = await asyncio.to_thread(partial(self._objects.list_cluster_custom_object, *API, "securityrules"))
        items = [(each["metadata"], each["spec"]) for each in listed["items"]]
        return [RuleObject(metadata["namespace"], metadata["name"], spec) for metadata, spec in items]


@pytest.fixture
def cluster(custom_resources: None, api: ApiClient, namespace: str) -> Iterator[WebhookCluster]:
    cluster = WebhookCluster(api, namespace)
    yield cluster
    cluster.close()


def kubectl(kubeconfig: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = ["kubectl", f"--kubeconfig={kubeconfig}", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=DEADLINE, check=False)


def applied(kubeconfig: Path, body: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    return kubectl(kubeconfig, "apply", "--validate=false", "-f", "-", *options, stdin=yaml.safe_dump(body))


@pytest.mark.parametrize("options", [(), ("--dry-run=server",), ("--server-side",)], ids=" ".join)
def test_kubectl_tells_what_is_wrong_and_where(
    cluster: WebhookCluster, kubeconfig: Path, options: tuple[str, ...]
) -> None:
    result = applied(kubeconfig, security_rule("bad", cluster.namespace, BAD), *options)
    assert result.returncode == 1
    lines = result.stderr.rstrip().split("\n")
    assert lines[0].endswith(f'"validate.tiercel.dev" denied the request: {TOLD[0]}')
    assert lines[1:] == TOLD[1:]
    assert cluster.names() == []
    good = applied(kubeconfig, security_rule("good", cluster.namespace, RULE), *options)
    assert (good.returncode, good.stderr) == (0, "")


def test_an_update_is_checked_and_a_repair_is_let_in(cluster: WebhookCluster, kubeconfig: Path) -> None:
    assert applied(kubeconfig, security_rule("a", cluster.namespace, RULE)).returncode == 0
    assert TOLD[0] in applied(kubeconfig, security_rule("a", cluster.namespace, BAD)).stderr
    assert applied(kubeconfig, security_rule("a", cluster.namespace, {**RULE, "priority": "ERROR"})).returncode == 0


def test_rules_may_follow_their_macros_at_once(cluster: WebhookCluster, kubeconfig: Path) -> None:
    macro = {"macro": "opened", "condition": "evt.type = open"}
    bodies = [security_rule("m", cluster.namespace, macro)]
    bodies += [
        security_rule(f"r{at}", cluster.namespace, {**RULE, "rule": f"r{at}", "condition": "opened"}) for at in "123"
    ]
    result = kubectl(kubeconfig, "apply", "--validate=false", "-f", "-", stdin=yaml.safe_dump_all(bodies))
    assert (result.returncode, result.stderr) == (0, "")
    assert cluster.names() == ["m", "r1", "r2", "r3"]


def test_kubectl_warns_of_what_breaks(cluster: WebhookCluster, kubeconfig: Path) -> None:
    macro = {"macro": "opened", "condition": "evt.type = open"}
    cluster.create("m", macro)
    cluster.create("r", {**RULE, "condition": "opened"})

    async def known() -> None:
        cluster.webhook._others = lambda: (
            RuleObject(cluster.namespace, "r", {"rules": [{**RULE, "condition": "opened"}]}),
        )

    cluster._run(known())
    result = applied(kubeconfig, security_rule("m", cluster.namespace, {**macro, "macro": "other"}))
    assert result.returncode == 0
    assert f"Warning: this breaks SecurityRule {cluster.namespace}/r: rule r: there is no macro opened" in result.stderr


def test_failing_tests_are_refused(cluster: WebhookCluster) -> None:
    tests = [{"name": "t", "event": {"evt.type": "connect"}, "expect": ["r"]}]
    assert "test t fails: r did not match" in cluster.refusal("a", RULE, tests=tests)


def test_sinks_are_checked(cluster: WebhookCluster) -> None:
    refused = cluster.refusal("s", kind="AlertSink", file={"path": "/etc/cron.d/x"})
    assert "spec.file: a sink of this namespace can't touch the node" in refused
    assert cluster.refusal("s", kind="AlertSink", http={"url": "https://alerts.example.com/"}) == ""


def test_without_the_webhook_nothing_is_blocked(cluster: WebhookCluster) -> None:
    cluster.stop()
    assert cluster.refusal("bad", BAD) == ""
    assert cluster.names() == ["bad"]


def test_what_was_stored_unchecked_is_no_trap(cluster: WebhookCluster, api: ApiClient) -> None:
    CoreV1Api(api).patch_namespace(cluster.namespace, {"metadata": {"labels": {EXEMPTION: "disabled"}}})
    until(lambda: not cluster.refusal("bad", BAD, dry_run=True), "exemption of the namespace")
    cluster.create("bad", BAD)
    CoreV1Api(api).patch_namespace(cluster.namespace, {"metadata": {"labels": {EXEMPTION: None}}})
    cluster.until_it_is_asked()
    cluster.patch("bad", {"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/x"]}})
    with pytest.raises(ApiException, match=r"no field proc\.nmae"):
        cluster.patch("bad", {"spec": {"rules": [BAD, {**BAD, "rule": "more"}]}})
    cluster.patch("bad", {"spec": {"suspend": True}})
    cluster.delete("bad")
    assert cluster.names() == ["bad"]
    cluster.patch("bad", {"metadata": {"finalizers": None}})
    assert cluster.names() == []


def test_certificates_change_while_it_serves(cluster: WebhookCluster) -> None:
    cluster.rotate(make(["127.0.0.1"]))
    cluster.until_it_is_asked()
    assert TOLD[0] in cluster.refusal("bad", BAD)


def test_the_configuration_says_all_that_the_server_adds(cluster: WebhookCluster, api: ApiClient) -> None:
    """So that whoever compares what is there with what should be finds no difference."""
    stored = AdmissionregistrationV1Api(api).read_validating_webhook_configuration("tiercel")
    assert api.sanitize_for_serialization(stored)["webhooks"] == cluster.configuration()["webhooks"]
