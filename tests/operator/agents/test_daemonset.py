"""What the operator has run on every node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tiercel_agent.config import read_config
from tiercel_agent.config.model import NamespaceBudget
from tiercel_agent.context.accounts import FIRST_ROOT
from tiercel_agent.workloads.runtimes.model import DEFAULT_SOCKETS
from tiercel_cli.operator import operator
from tiercel_engine.resources.sink_config import FILE
from tiercel_operator.agents.config import agent_config, agent_config_map
from tiercel_operator.agents.daemonset import daemonset
from tiercel_operator.agents.settings import AgentSettings, telemetry
from tiercel_operator.agents.watch import LOOK
from tiercel_operator.bundle_config_maps import MOST_PARTS, config_map_name
from tiercel_operator.sinks.config import SECRET

HERE = Path(__file__).parents[3]
SETTINGS = AgentSettings()


def pod(settings: AgentSettings = SETTINGS) -> dict[str, Any]:
    spec: dict[str, Any] = daemonset(settings, MOST_PARTS)["spec"]["template"]["spec"]
    return spec


def container(settings: AgentSettings = SETTINGS) -> dict[str, Any]:
    (only,) = pod(settings)["containers"]
    return dict(only)


def read(tmp_path: Path, settings: AgentSettings) -> Any:
    path = tmp_path / "tiercel.yaml"
    path.write_text(agent_config(settings))
    result = read_config(path)
    assert (result.errors, result.warnings) == ((), ())
    assert result.config is not None
    return result.config


def test_it_is_not_privileged_and_has_the_capabilities_of_the_systemd_unit() -> None:
    context = container()["securityContext"]
    unit = (HERE / "config/systemd/tiercel.service").read_text()
    (granted,) = [line for line in unit.splitlines() if line.startswith("CapabilityBoundingSet=")]
    assert context["privileged"] is False
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"]["drop"] == ["ALL"]
    # On a host without a cluster there are no tenants, for whose sinks it would start a process of another user.
    of_both, for_tenants = context["capabilities"]["add"][:-2], context["capabilities"]["add"][-2:]
    assert [f"CAP_{name}" for name in of_both] == granted.partition("=")[2].split()
    assert for_tenants == ["SETUID", "SETGID"]


def test_its_silence_is_known_within_15_seconds() -> None:
    """Even if it falls silent just after it has answered: by the kubelet, which tells the operator only then."""
    probe = container()["readinessProbe"]
    assert probe["httpGet"]["path"] == "/healthz"
    assert probe["failureThreshold"] * probe["periodSeconds"] + probe["timeoutSeconds"] + LOOK < 14


def test_it_runs_on_each_node_that_it_can_watch() -> None:
    """A mixed cluster has agents on all nodes, whatever their processors and their taints."""
    spec = pod()
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64", "arm64"]}]}
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert spec["tolerations"] == [{"operator": "Exists"}]


@pytest.mark.parametrize("name", ["Dockerfile.agent", "Dockerfile.operator"])
def test_images_are_of_whatever_architecture_they_are_built_for(name: str) -> None:
    text = (HERE / "images" / name).read_text()
    bases = [line.split()[1:] for line in text.splitlines() if line.startswith("FROM")]
    assert bases
    assert not [base for base in bases if base[0].startswith("--platform")]
    assert "amd64" not in text
    assert "x86_64" not in text


def test_of_the_node_one_folder_can_be_written_and_nothing_else_is_made_there() -> None:
    mounts = {mount["name"]: mount for mount in container()["volumeMounts"]}
    folders = {volume["name"]: volume["hostPath"] for volume in pod()["volumes"] if "hostPath" in volume}
    assert folders.pop("storage") == {"path": "/var/lib/tiercel", "type": "DirectoryOrCreate"}
    assert mounts["storage"] == {"name": "storage", "mountPath": "/var/lib/tiercel"}
    assert {folder["path"] for folder in folders.values()} == {"/sys/fs/cgroup", "/sys/kernel/tracing"}
    assert {folder["type"] for folder in folders.values()} == {"Directory"}  # the only type that makes no folder
    assert all(mounts[name]["readOnly"] for name in folders)
    assert pod()["hostPID"] is True
    assert "hostNetwork" not in pod()
    assert "hostIPC" not in pod()


def test_every_node_has_one_whatever_its_taints() -> None:
    assert pod()["tolerations"] == [{"operator": "Exists"}]
    assert pod()["priorityClassName"] == "system-node-critical"
    assert daemonset(SETTINGS, MOST_PARTS)["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": "10%"}


def test_the_bundle_is_all_config_maps_that_the_operator_may_make_and_none_is_needed() -> None:
    (bundle,) = [volume for volume in pod()["volumes"] if volume["name"] == "bundle"]
    assert bundle["projected"]["sources"] == [
        {"configMap": {"name": config_map_name(number), "optional": True}} for number in range(MOST_PARTS)
    ]


def test_the_agent_takes_its_configuration_from_where_it_is_mounted(tmp_path: Path) -> None:
    config = read(tmp_path, SETTINGS)
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert str(config.bundle) == mounts["bundle"]
    assert container()["args"][-1] == f"{mounts['config']}/tiercel.yaml"
    assert agent_config_map(SETTINGS)["data"] == {"tiercel.yaml": agent_config(SETTINGS)}
    assert (config.json, config.workloads.kubernetes) == (True, True)


def test_sinks_are_read_where_their_secret_is_mounted_and_what_waits_is_kept_on_the_node(tmp_path: Path) -> None:
    config = read(tmp_path, SETTINGS)
    mounts = {mount["name"]: mount for mount in container()["volumeMounts"]}
    (volume,) = [volume for volume in pod()["volumes"] if volume["name"] == "sinks"]
    assert volume["secret"] == {"secretName": SECRET, "optional": True, "defaultMode": 0o400}
    assert str(config.sinks_file) == f"{mounts['sinks']['mountPath']}/{FILE}"
    assert "subPath" not in mounts["sinks"]  # it would stay what it was
    assert config.spool.folder.is_relative_to(mounts["storage"]["mountPath"])
    assert config.programs.folder.is_relative_to(mounts["storage"]["mountPath"])


def test_prometheus_finds_the_agents(tmp_path: Path) -> None:
    port = read(tmp_path, SETTINGS).metrics_port
    annotations = daemonset(SETTINGS, 1)["spec"]["template"]["metadata"]["annotations"]
    assert container()["ports"] == [{"name": "http", "containerPort": port}]
    assert (annotations["prometheus.io/scrape"], annotations["prometheus.io/port"]) == ("true", str(port))


def test_admins_say_what_tenants_sinks_reach(tmp_path: Path) -> None:
    assert "egress" not in agent_config(SETTINGS)
    settings = replace(
        SETTINGS,
        allowed_addresses=("169.254.20.0/24",),
        forbidden_addresses=("10.0.0.0/8", "fd00::/8"),
        service_networks=("10.96.0.0/12",),
    )
    egress = read(tmp_path, settings).egress
    assert [str(each) for each in egress.services] == ["10.96.0.0/12"]
    assert [str(each) for each in egress.allow] == ["169.254.20.0/24"]
    assert [str(each) for each in egress.forbid] == ["10.0.0.0/8", "fd00::/8"]


def test_admins_say_what_rules_of_namespaces_may_take(tmp_path: Path) -> None:
    assert read(tmp_path, SETTINGS).namespace_budget == NamespaceBudget()
    settings = replace(SETTINGS, namespace_budget={"cpu_percent": 5, "alerts_per_second": 7})
    assert read(tmp_path, settings).namespace_budget == replace(NamespaceBudget(), namespace_cpu=0.05, alerts=7)


def test_a_network_that_is_none_is_refused_before_anything_is_done() -> None:
    for option in ("--allow-sink-address", "--forbid-sink-address", "--service-network"):
        done = CliRunner().invoke(operator, [option, "10.0.0.0/8", option, "10.0.0.1/8"])
        assert done.exit_code == 2
        assert "10.0.0.1/8 has host bits set (write one such as 10.1.2.0/24" in done.output


@pytest.fixture
def operated(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AgentSettings]:
    """The agents that an operator with these options would run."""

    def settings(*options: str) -> AgentSettings:
        runs: list[Any] = []
        monkeypatch.setattr("tiercel_cli.operator.run", runs.append)
        done = CliRunner().invoke(operator, [*options])
        assert done.exit_code == 0, done.output
        (run,) = runs
        assert isinstance(run.agents, AgentSettings)
        return run.agents

    return settings


def test_agents_of_old_kernels_get_the_capability_that_they_need(operated: Callable[..., AgentSettings]) -> None:
    usual = container(operated())["securityContext"]["capabilities"]["add"]
    for name in ("SYS_RESOURCE", "CAP_SYS_RESOURCE"):
        given = container(operated("--agent-capability", name))["securityContext"]["capabilities"]["add"]
        assert given == [*usual, "SYS_RESOURCE"]


def test_other_sockets_of_runtimes_are_an_option(operated: Callable[..., AgentSettings], tmp_path: Path) -> None:
    settings = operated("--agent-socket", "/run/other.sock", "--agent-socket", "/var/lib/b/run/c.sock")
    sockets = [str(path) for path in read(tmp_path, settings).workloads.sockets]
    assert sockets[-2:] == [f"{FIRST_ROOT}/run/other.sock", f"{FIRST_ROOT}/var/lib/b/run/c.sock"]
    assert pod(settings)["volumes"] == pod()["volumes"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--agent-capability", "sys_resource"),
        ("--agent-capability", "SYS_RESOURCE,BPF"),
        ("--agent-socket", "run/a.sock"),
        ("--agent-socket", "/run/../etc/a.sock"),
    ],
)
def test_what_agents_cannot_be_given_is_refused_before_anything_is_done(option: str, value: str) -> None:
    done = CliRunner().invoke(operator, [option, value])
    assert done.exit_code == 2
    assert f"{value!r} is no" in done.output


def test_runtimes_are_asked_at_the_node_s_own_sockets(tmp_path: Path) -> None:
    """By way of the node's first process, whose root is the node's: the pod has the node's process ids."""
    config = read(tmp_path, SETTINGS)
    assert [str(path) for path in config.workloads.sockets] == [f"{FIRST_ROOT}{path}" for path in DEFAULT_SOCKETS]
    assert pod()["hostPID"] is True


def test_another_user_in_the_container_reads_nothing_that_is_mounted() -> None:
    """The process of tenants' sinks is one. Where all of a pod's containers are root's, so is the account's token."""
    modes = {}
    for volume in pod()["volumes"]:
        for kind in ("configMap", "secret", "projected"):
            if kind in volume:
                modes[volume["name"]] = volume[kind]["defaultMode"]
    assert modes == dict.fromkeys(("config", "bundle", "sinks"), 0o400)
    assert [each["securityContext"]["runAsUser"] for each in pod()["containers"]] == [0]


def test_another_configuration_restarts_agents_and_another_bundle_does_not() -> None:
    other = replace(SETTINGS, extra_sockets=("/run/other.sock",))
    assert daemonset(SETTINGS, MOST_PARTS) == daemonset(AgentSettings(), MOST_PARTS)
    assert daemonset(other, MOST_PARTS)["spec"]["template"] != daemonset(SETTINGS, MOST_PARTS)["spec"]["template"]


@pytest.mark.parametrize(("version", "by_field"), [((1, 20), False), ((1, 29), False), ((1, 30), True), ((2, 0), True)])
def test_app_armor_is_told_as_the_server_knows_it(version: tuple[int, int], by_field: bool) -> None:
    settings = replace(SETTINGS, kubernetes=version)
    annotations = daemonset(settings, MOST_PARTS)["spec"]["template"]["metadata"]["annotations"]
    assert ("appArmorProfile" in container(settings)["securityContext"]) is by_field
    assert ("container.apparmor.security.beta.kubernetes.io/agent" in annotations) is not by_field


def test_settings_are_where_they_belong() -> None:
    settings = replace(
        SETTINGS,
        image="registry.example/agent:1",
        pull_policy="Never",
        namespace="elsewhere",
        node_selector={"pool": "a"},
        tolerations=({"key": "gpu", "operator": "Exists"},),
        priority_class="high",
        extra_capabilities=("SYS_RESOURCE",),
        seccomp="RuntimeDefault",
    )
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "tiercel-operator", "uid": "1"}
    for made in (daemonset(settings, 1, owner), agent_config_map(settings, owner)):
        assert made["metadata"]["namespace"] == "elsewhere"
        assert made["metadata"]["ownerReferences"] == [owner]
    agent = container(settings)
    assert (agent["image"], agent["imagePullPolicy"]) == ("registry.example/agent:1", "Never")
    assert agent["securityContext"]["capabilities"]["add"][-1] == "SYS_RESOURCE"
    assert agent["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(settings)["nodeSelector"] == {"pool": "a"}
    assert pod(settings)["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert pod(settings)["priorityClassName"] == "high"


def test_agents_get_what_the_operator_is_told_of_telemetry_but_no_secret() -> None:
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=secret",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.crt",
        "OTEL_SERVICE_NAME": "operator",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://user:secret@collector:4318",
        "PATH": "/bin",
    }
    settings = AgentSettings(environment=telemetry(told))
    (container,) = daemonset(settings, 1)["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each.get("value") for each in container["env"]} == {
        "NODE_NAME": None,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
    }
