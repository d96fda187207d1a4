"""The rules that come with the agent, and what runtimes do all day."""

from __future__ import annotations

from pathlib import Path

from container_support.machine import IMAGE, binary
from container_support.names import unique_name
from container_support.podman import Podman
from container_support.runtime import ContainerdServer
from container_support.watching import Watch

from tiercel_agent.evaluation.rule_set import default_rules


def _rules() -> str:
    """The default rules, told where the runtimes under test lie: not where packages put them."""
    texts = [path.read_text() for path in sorted(default_rules().glob("*.yaml"))]
    for name, programs in {
        "oci_runtime_paths": ["runc"],
        "container_runtime_paths": ["runc", "containerd", "containerd-shim-runc-v2"],
    }.items():
        items = ", ".join(str(Path(binary(program)).resolve()) for program in programs)
        texts.append(f"- list: {name}\n  items: [{items}]\n  override: {{items: append}}\n")
    return "\n".join(texts)


def test_a_pod_that_starts_is_probed_and_ends_raises_nothing(
    containerd: ContainerdServer,
    watch: Watch,
    tmp_path: Path,
) -> None:
    watching = watch(_rules(), containerd.address)

    def live() -> None:
        sandbox = containerd.run_pod("web", "shop")
        mounts = [(str(tmp_path), "/data", False)]
        container = containerd.create_container(sandbox, "main", IMAGE, ["sleep", "1000000"], mounts=mounts)
        containerd.start_container(container)
        assert containerd.exec_sync(container, ["cat", "/etc/hostname"])[0] == 0
        containerd.stop_container(container)
        containerd.remove_pod(sandbox)

    watching.during(live)
    assert [alert.output for alert in watching.alerts] == []


def test_other_containers_raise_nothing_either(
    containerd: ContainerdServer,
    podman: Podman,
    watch: Watch,
) -> None:
    watching = watch(_rules(), containerd.address)
    name = unique_name()
    watching.during(lambda: containerd.ctr_run(name, ["cat", "/etc/hostname"]))
    watching.during(lambda: podman.run(name, ["cat", "/etc/hostname"]))
    assert [alert.output for alert in watching.alerts] == []


def test_what_is_meant_by_it_does(containerd: ContainerdServer, watch: Watch) -> None:
    watching = watch(_rules(), containerd.address)
    sandbox = containerd.run_pod("web", "shop")
    container = watching.during(lambda: containerd.run_container(sandbox, "main", ["cat", "/etc/shadow"]))
    watching.until(lambda: watching.alerts)
    assert {
        (alert.output_fields["k8s.pod.name"], alert.output_fields["container.id"]) for alert in watching.alerts
    } == {("web", container[:12])}
    containerd.remove_pod(sandbox)
