"""What config/ has kustomize make: that a real API server takes it, and that nobody gets more rights than they need."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_support.control_plane import ControlPlane
from kubernetes.client import VersionApi

from tiercel_engine.rule_tests import read_tests, run
from tiercel_engine.rules import load, read_rules
from tiercel_operator.agents.config import agent_config_map
from tiercel_operator.agents.daemonset import daemonset
from tiercel_operator.agents.policies import POLICIES_SINCE, agent_policies
from tiercel_operator.agents.settings import AgentSettings
from tiercel_operator.bundle_config_maps import MOST_PARTS, config_map_name
from tiercel_operator.sinks.checks import sink_errors
from tiercel_operator.sinks.config import sinks_secret

CONFIG = Path(__file__).parents[2] / "config"
SYSTEM = "tiercel-system"
DEADLINE = 60.0  # seconds until a test gives up; nothing is ever waited out
NEWER = {
    "PodDisruptionBudget": (1, 21),
    "ValidatingAdmissionPolicy": (1, 30),
    "ValidatingAdmissionPolicyBinding": (1, 30),
}
"""Since when servers know what isn't as old as the rest, in the version that is used."""
ROLES = ("Role", "ClusterRole")
Kubectl = Callable[..., subprocess.CompletedProcess[str]]
Manifest = dict[str, Any]


def kustomize(folder: Path) -> list[Manifest]:
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("no kubectl on the PATH")
    made = subprocess.run([program, "kustomize", str(folder)], text=True, capture_output=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    return list(yaml.safe_load_all(made.stdout))


@pytest.fixture(scope="module")
def base() -> list[Manifest]:
    return kustomize(CONFIG)


def one(manifests: Sequence[Manifest], kind: str, name: str) -> Manifest:
    (manifest,) = [each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name]
    return manifest


def pod_specs(manifests: Sequence[Manifest]) -> list[Manifest]:
    return [each["spec"]["template"]["spec"] for each in manifests if "template" in each.get("spec", {})]


def operator_container(manifests: Sequence[Manifest]) -> Manifest:
    (container,) = one(manifests, "Deployment", "tiercel-operator")["spec"]["template"]["spec"]["containers"]
    return dict(container)


def environment(container: Manifest) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container["env"]}


@pytest.fixture(scope="module")
def version(control_plane: ControlPlane) -> tuple[int, int]:
    from kubernetes.config import new_client_from_config

    control_plane.start()
    with new_client_from_config(str(control_plane.kubeconfig_for("admin"))) as client:
        told = VersionApi(client).get_code()
    return int(told.major), int(told.minor.rstrip("+"))


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane, base: list[Manifest]) -> Kubectl:
    """Runs kubectl, as the admin if nobody else is named, where Tiercel's namespace and kinds are."""
    control_plane.start()

    def execute(*arguments: str, user: str = "admin", text: str = "") -> subprocess.CompletedProcess[str]:
        command = ["kubectl", "--kubeconfig", str(control_plane.kubeconfig_for(user)), *arguments]
        return subprocess.run(command, input=text, text=True, capture_output=True, timeout=60, check=False)

    needed = [each for each in base if each["kind"] in ("Namespace", "CustomResourceDefinition")]
    # older servers don't know rules in CEL
    made = execute("apply", "--validate=false", "-f", "-", text=yaml.safe_dump_all(needed))
    assert made.returncode == 0, made.stderr
    return execute


def until(done: Callable[[], subprocess.CompletedProcess[str]]) -> None:
    deadline = time.monotonic() + DEADLINE
    while (last := done()).returncode != 0:
        assert time.monotonic() < deadline, last.stderr
        time.sleep(0.05)


@pytest.fixture(scope="module")
def operator(kubectl: Kubectl, base: list[Manifest]) -> Kubectl:
    """Runs kubectl as the operator, with the rights that the manifests give it."""
    rights = [each for each in base if each["kind"].removesuffix("Binding") in ROLES]
    mine = [each for each in rights if each["metadata"]["name"] == "tiercel-operator"]
    made = kubectl("apply", "-f", "-", text=yaml.safe_dump_all(mine))
    assert made.returncode == 0, made.stderr

    def execute(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return kubectl(*arguments, user="operator", text=text)

    until(lambda: execute("get", "nodes"))
    until(lambda: execute("auth", "can-i", "get", "configmap/tiercel-agent", "-n", SYSTEM))
    return execute


@pytest.mark.parametrize("folder", [CONFIG, CONFIG / "overlays/imported-images"], ids=["base", "imported-images"])
def test_the_server_takes_all_that_it_knows(kubectl: Kubectl, folder: Path, version: tuple[int, int]) -> None:
    known = [each for each in kustomize(folder) if NEWER.get(each["kind"], (0, 0)) <= version]
    for definitions in (True, False):
        some = [each for each in known if (each["kind"] == "CustomResourceDefinition") is definitions]
        options = ["--validate=false"] if definitions else ["--validate=true"]
        tried = kubectl("apply", "--dry-run=server", *options, "-f", "-", text=yaml.safe_dump_all(some))
        assert tried.returncode == 0, tried.stderr
        assert len(tried.stdout.splitlines()) == len(some)


def test_the_server_takes_the_samples(kubectl: Kubectl) -> None:
    tried = kubectl("apply", "--dry-run=server", "--validate=false", "-f", str(CONFIG / "samples"))
    assert tried.returncode == 0, tried.stderr
    assert len(tried.stdout.splitlines()) == 14


def test_the_samples_are_good_and_pass_their_own_tests() -> None:
    manifests = (CONFIG / "samples").iterdir()
    files, unread = read_rules([each for each in manifests if "kind: SecurityRule" in each.read_text()])
    loaded, tests = load(files), read_tests(files)
    assert (unread, loaded.errors, loaded.warnings, tests.errors) == ((), (), (), ())
    outcomes = run(tests, loaded.rules)
    assert len(outcomes) == 5
    assert [outcome.test.name for outcome in outcomes if not outcome.passed] == []


def test_the_samples_of_sinks_are_in_order() -> None:
    bodies = [body for path in (CONFIG / "samples").iterdir() for body in yaml.safe_load_all(path.read_text())]
    sinks = {body["metadata"]["name"]: body for body in bodies if body["kind"] == "AlertSink"}
    errors = {name: sink_errors(body["spec"], body["metadata"]["namespace"]) for name, body in sinks.items()}
    assert sinks
    assert errors == dict.fromkeys(sinks, ())


def test_the_operator_may_make_what_it_makes_by_name_and_nothing_else(
    operator: Kubectl, version: tuple[int, int]
) -> None:
    settings = AgentSettings(kubernetes=version)
    apply = ("apply", "--server-side", "--field-manager=tiercel-operator", "-f", "-")
    made = [daemonset(settings, MOST_PARTS), agent_config_map(settings)]
    made.append(sinks_secret(b"", SYSTEM, None))
    for number in range(MOST_PARTS):
        metadata = {"name": config_map_name(number), "namespace": SYSTEM}
        made.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    if version >= POLICIES_SINCE:
        made.extend(agent_policies(settings))
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "tiercel"},
    }
    for body in (*made, webhook):
        done = operator(*apply, "--dry-run=server", text=yaml.safe_dump(body))
        assert done.returncode == 0, done.stderr
        other = {**body, "metadata": {**body["metadata"], "name": "other"}}
        refused = operator(*apply, "--dry-run=server", text=yaml.safe_dump(other))
        assert "forbidden" in refused.stderr


@pytest.mark.parametrize(
    "question",
    [
        ("create", "pods", "-n", SYSTEM),
        ("get", "secrets", "-n", SYSTEM),
        ("get", "secrets", "-n", "default"),
        ("create", "clusterrolebindings"),
        ("escalate", "clusterroles"),
        ("impersonate", "users"),
        ("patch", "securityrules", "-n", "default"),
        ("patch", "nodeagents", "--subresource=status"),
    ],
    ids=" ".join,
)
def test_the_operator_may_not(operator: Kubectl, question: tuple[str, ...]) -> None:
    assert operator("auth", "can-i", *question).stdout.strip() == "no"


@pytest.mark.parametrize(
    "question",
    [
        ("list", "securityrules", "-A"),
        ("patch", "securityrules", "-n", "default", "--subresource=status"),
        ("delete", "nodeagents"),
        ("create", "events", "-n", "default"),
        ("create", "leases", "-n", SYSTEM),
        ("update", "leases/tiercel-operator", "-n", SYSTEM),
        ("get", "secrets/tiercel-webhook", "-n", SYSTEM),
    ],
    ids=" ".join,
)
def test_the_operator_may(operator: Kubectl, question: tuple[str, ...]) -> None:
    assert operator("auth", "can-i", *question).stdout.strip() == "yes"


def rules(manifests: Sequence[Manifest]) -> Iterator[Manifest]:
    return (rule for each in manifests if each["kind"] in ROLES for rule in each["rules"])


def test_no_role_has_wildcards_or_rights_that_make_more_of_themselves(base: list[Manifest]) -> None:
    every_rule = list(rules(base))
    assert every_rule
    for rule in every_rule:
        for key in ("apiGroups", "resources", "verbs", "nonResourceURLs", "resourceNames"):
            assert not any("*" in each for each in rule.get(key, ()))
        assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
        assert "rbac.authorization.k8s.io" not in rule["apiGroups"]


def test_roles_are_bound_to_the_own_accounts_alone(base: list[Manifest]) -> None:
    accounts = {each["metadata"]["name"] for each in base if each["kind"] == "ServiceAccount"}
    own = {(each["kind"], each["metadata"]["name"]) for each in base if each["kind"] in ROLES}
    bindings = [each for each in base if each["kind"].endswith("RoleBinding")]
    assert {(each["roleRef"]["kind"], each["roleRef"]["name"]) for each in bindings} == own
    for binding in bindings:
        (subject,) = binding["subjects"]
        assert (subject["kind"], subject["namespace"]) == ("ServiceAccount", SYSTEM)
        assert subject["name"] == binding["metadata"]["name"]
        assert subject["name"] in accounts


def test_the_operator_is_restricted_by_the_pod_security_standards(base: list[Manifest]) -> None:
    (pod,) = pod_specs(base)
    assert not {"hostPID", "hostNetwork", "hostIPC"} & pod.keys()
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert all(set(volume) == {"name", "emptyDir"} for volume in pod["volumes"])
    assert operator_container(base)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_operator_and_agents_are_of_one_name_and_version(base: list[Manifest]) -> None:
    imported = kustomize(CONFIG / "overlays/imported-images")
    own = operator_container(base)
    agent = AgentSettings()
    assert environment(own)["TIERCEL_AGENT_IMAGE"] == agent.image
    assert environment(own)["TIERCEL_AGENT_PULL_POLICY"] == agent.pull_policy
    assert own["image"] == agent.image.replace("/agent:", "/operator:")
    own = operator_container(imported)
    assert (own["image"], own["imagePullPolicy"]) == ("tiercel/operator:dev", "Never")
    assert environment(own)["TIERCEL_AGENT_IMAGE"] == "tiercel/agent:dev"
    assert environment(own)["TIERCEL_AGENT_PULL_POLICY"] == "Never"
    assert environment(own).keys() == environment(operator_container(base)).keys()


def test_the_service_and_the_budget_are_the_operator_s(base: list[Manifest]) -> None:
    template = one(base, "Deployment", "tiercel-operator")["spec"]["template"]
    labels = template["metadata"]["labels"]
    service = one(base, "Service", "tiercel-webhook")["spec"]
    assert one(base, "Deployment", "tiercel-operator")["spec"]["selector"]["matchLabels"] == labels
    assert one(base, "PodDisruptionBudget", "tiercel-operator")["spec"]["selector"]["matchLabels"] == labels
    assert service["selector"] == labels
    (port,) = service["ports"]
    ports = {each["name"]: each["containerPort"] for each in operator_container(base)["ports"]}
    assert (port["port"], ports[port["targetPort"]]) == (443, 8443)
    assert daemonset(AgentSettings(), MOST_PARTS)["spec"]["selector"]["matchLabels"] != labels
