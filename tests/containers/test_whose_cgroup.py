"""Which container an alert names, whatever cgroups are called and whoever moves between them."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from container_support.machine import IMAGE
from container_support.names import unique_name
from container_support.runc import runc_run
from container_support.runtime import OTHER_NAMESPACE, ContainerdServer
from container_support.watching import Watch

from tiercel_agent.context.cgroups import mount_point
from tiercel_agent.warning import describe

READ_SHADOW = """
- rule: shadow
  desc: a test
  condition: evt.type in (open, openat, openat2) and fd.name = /etc/shadow and proc.name = cat and container.id != host
  output: "%container.id %container.full_id %container.image.repository:%container.image.tag"
  priority: WARNING
"""


@contextmanager
def cgroup(path: str) -> Iterator[Path]:
    """A version 2 cgroup of that path, with those above it; none of them afterwards."""
    root = mount_point()
    if root is None:
        pytest.skip("needs version 2 control groups")
    made = Path(f"{root}{path}")
    missing = [folder for folder in (made, *made.parents) if not folder.exists()]
    made.mkdir(parents=True, exist_ok=True)
    try:
        yield made
    finally:
        for folder in missing:
            folder.rmdir()


def cat_in(group: Path) -> None:
    """A process that moves into a cgroup and reads the file."""
    subprocess.run(
        ["sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec cat /etc/shadow', group], check=True, stdout=subprocess.DEVNULL
    )


def test_a_container_of_another_namespace_of_containerd(containerd: ContainerdServer, watch: Watch) -> None:
    watching = watch(READ_SHADOW, containerd.address)
    name = unique_name("job")
    watching.during(lambda: containerd.ctr_run(name, ["cat", "/etc/shadow"], namespace=OTHER_NAMESPACE))
    watching.until(lambda: watching.of("shadow"))
    assert [alert.output for alert in watching.of("shadow")] == [f"{name[:12]} {name} {IMAGE}"]


def test_a_container_of_runc_alone_is_none_of_the_host(
    containerd: ContainerdServer, watch: Watch, tmp_path: Path
) -> None:
    watching = watch(READ_SHADOW, containerd.address)
    name = unique_name("runc")
    status, output = watching.during(lambda: runc_run(tmp_path, name, ["cat", "/etc/shadow"]))
    assert (status, output) == (0, "root:*:19000:0:99999:7:::\n")
    watching.until(lambda: watching.of("shadow"))
    assert [alert.output for alert in watching.of("shadow")] == [f"unknown:{name[:12]} unknown:{name} <NA>:<NA>"]


@pytest.mark.parametrize("place", ["/cri-containerd-{id}.scope", "/kubepods/burstable/pod{uid}/{id}"])
def test_a_cgroup_that_is_named_like_another_containers(containerd: ContainerdServer, watch: Watch, place: str) -> None:
    """Neither that container nor its pod is blamed."""
    uid = str(uuid.uuid4())
    sandbox = containerd.run_pod("web-1", "shop", uid)
    victim = containerd.run_container(sandbox, "main", ["sleep", "1000000"])
    watching = watch(READ_SHADOW, containerd.address)
    with cgroup(place.format(id=victim, uid=uid)) as group:
        watching.during(lambda: cat_in(group))
        watching.until(lambda: watching.of("shadow"))
        told = [describe(warning) for warning in watching.detector.current_warnings()]
    (alert,) = watching.of("shadow")
    assert alert.output_fields["container.id"] == f"unknown:{victim[:12]}"
    assert alert.output_fields["tiercel.missing"] == "container"
    assert not any(value for name, value in alert.output_fields.items() if name.startswith("k8s.pod"))
    assert any(line.startswith("containers that no runtime vouches for") and victim[:12] in line for line in told)
    containerd.remove_pod(sandbox)


def test_a_container_that_moves_into_anothers_cgroup_is_still_itself(
    containerd: ContainerdServer, watch: Watch, tmp_path: Path
) -> None:
    watching = watch(READ_SHADOW, containerd.address)
    victims = containerd.run_pod("web-1", "shop")
    victim = watching.during(lambda: containerd.run_container(victims, "main", ["sleep", "1000000"]))
    attackers = containerd.run_pod("job-1", "other")
    command = ["sh", "-c", "while ! [ -e /data/go ]; do sleep 0.01; done; exec cat /etc/shadow"]
    attacker = watching.during(
        lambda: containerd.run_container(attackers, "main", command, mounts=[(str(tmp_path), "/data", True)])
    )
    found = list(Path(mount_point() or "/none").glob(f"**/{victim}/cgroup.procs"))
    if not found:
        pytest.skip("needs version 2 control groups")
    found[0].write_text(str(containerd.container_pid(attacker)))
    (tmp_path / "go").touch()
    watching.until(lambda: watching.of("shadow"))
    (alert,) = watching.of("shadow")
    assert (alert.output_fields["container.id"], alert.output_fields["k8s.pod.name"]) == (attacker[:12], "job-1")
    for sandbox in (victims, attackers):
        containerd.remove_pod(sandbox)
