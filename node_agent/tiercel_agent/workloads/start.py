"""Makes the inventory of this machine together with its sources."""

from __future__ import annotations

from collections.abc import Callable

from tiercel_agent.workloads.inventory import ClusterSource, Finder, Inventory, News
from tiercel_agent.workloads.runtimes.model import is_there
from tiercel_agent.workloads.settings import WorkloadSettings


def start_inventory(settings: WorkloadSettings) -> Inventory:
    """The inventory. The API server is asked from now on, if the settings name one; runtimes are if one of the sockets
    exists. Raises NoCluster."""

    # These modules need more memory than all the rest of the agent, so they are imported only where they are used.
    def finder(report: Callable[[News], None]) -> Finder:
        from tiercel_agent.workloads.runtimes.finder import ContainerFinder  # noqa: PLC0415

        return ContainerFinder(settings.sockets, settings.annotations, report)

    def cluster(report: Callable[[News], None]) -> ClusterSource:
        from tiercel_agent.workloads.cluster.cluster import Cluster  # noqa: PLC0415

        return Cluster(settings.kubeconfig, settings.node, settings.annotations, report)

    inventory = Inventory(
        finder if settings.sockets else None, cluster if settings.kubernetes else None, patience=settings.patience
    )
    if any(map(is_there, settings.sockets)):
        inventory.start()
    return inventory
