"""How soon containers are known, and what that takes: real pods of a containerd of its own, and of a real API server.

`make bench-containers`, as root. It borrows the tests' containerd and API server.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

from cluster_support.control_plane import ControlPlane, find_binaries  # noqa: E402
from cluster_support.objects import create_namespace, create_node, create_pod  # noqa: E402
from container_support.runtime import ContainerdServer  # noqa: E402
from kubernetes.config import new_client_from_config  # noqa: E402
from live_support.watching import Watching  # noqa: E402

from tiercel_agent.workloads.settings import WorkloadSettings  # noqa: E402

RUNS, OTHER_PODS = 100, 110
NODE, NAMESPACE = "node", "bench"
RULE = """
- rule: "true"
  desc: a program in a new container
  condition: evt.type = execve and proc.name = true and container.id != host
  output: x
  priority: NOTICE
"""


def main() -> None:
    binaries = find_binaries()
    if binaries is None:
        sys.exit("no kube-apiserver and etcd found: run scripts/setup-control-plane")
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlPlane(binaries, Path(folder)) as api_server,
        ContainerdServer() as containerd,
    ):
        kubeconfig = api_server.kubeconfig_for("admin")
        api = new_client_from_config(str(kubeconfig))
        create_node(api, NODE)
        create_namespace(api, NAMESPACE)
        for number in range(OTHER_PODS):
            create_pod(api, NAMESPACE, f"other-{number}", node=NODE)
        socket = (Path(containerd.address),)
        print(f"{RUNS} containers that run `true`, one after the other; milliseconds, median and 99th percentile\n")
        print("| asked | known after its cgroup was made | alerted after the exec | alerts | with something missing |")
        print("|---|---|---|---|---|")
        for name, settings in (
            ("nobody", WorkloadSettings(())),
            ("containerd", WorkloadSettings(socket)),
            ("containerd, API", WorkloadSettings(socket, kubernetes=True, kubeconfig=kubeconfig, node=NODE)),
        ):
            pod = create_pod(api, NAMESPACE, f"pod-{len(name)}", node=NODE)
            print(f"| {name} | {_measure(containerd, settings, pod.metadata.uid)} |", flush=True)


def _measure(containerd: ContainerdServer, settings: WorkloadSettings, uid: str) -> str:
    made: dict[str, float] = {}
    known: dict[str, float] = {}
    with Watching(RULE, settings) as watching, _noting(watching, made, known):
        delays: list[float] = []
        sandbox = watching.during(lambda: containerd.run_pod("bench", NAMESPACE, uid))
        for number in range(RUNS):

            def run(number: int = number) -> None:
                container = containerd.run_container(sandbox, f"run-{number}", ["/bin/true"])
                containerd.wait_exited(container)
                containerd.remove_container(container)

            seen = len(watching.alerts)
            watching.during(run)
            watching.until(lambda seen=seen: len(watching.alerts) > seen)  # type: ignore[misc]
        delays = [taken - alert.time / 1e9 for taken, alert in zip(watching.taken, watching.alerts, strict=True)]
        missing = sum("tiercel.missing" in alert.output_fields for alert in watching.alerts)
        containerd.remove_pod(sandbox)
        waits = [known[id_] - made[id_] for id_ in known if id_ in made]
        return f"{_figures(waits)} | {_figures(delays)} | {len(watching.alerts)} | {missing}"


@contextmanager
def _noting(watching: Watching, made: dict[str, float], known: dict[str, float]) -> Iterator[None]:
    """Records when containers appear, and when something becomes known about them."""
    inventory = watching.detector.containers.inventory
    appeared, take_news = inventory.appeared, inventory.take_news

    def note_appeared(container: object) -> None:
        made.setdefault(container.id, time.time())  # type: ignore[attr-defined]
        appeared(container)  # type: ignore[arg-type]

    def note_news() -> object:
        changes = take_news()
        for container in changes.containers:
            known.setdefault(container.id, time.time())
        return changes

    inventory.appeared, inventory.take_news = note_appeared, note_news  # type: ignore[method-assign,assignment]
    yield


def _figures(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    at: Callable[[float], str] = lambda part: f"{ordered[int(len(ordered) * part)] * 1000:.1f}"  # noqa: E731
    return f"{at(0.5)}, {at(0.99)}" if ordered else "–"


if __name__ == "__main__":
    main()
