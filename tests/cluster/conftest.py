"""What several of these tests have: custom resources, an operator, and the rights of an agent."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml
from cluster_support.control_plane import ControlPlane
from cluster_support.custom_resources import SYSTEM, define_custom_resources, unless_there
from cluster_support.objects import create_namespace
from cluster_support.operator_process import Cluster
from cluster_support.waiting import until
from kubernetes.client import ApiClient, ApiException, CoreV1Api, RbacAuthorizationV1Api
from kubernetes.config import new_client_from_config

_RIGHTS_OF_AGENTS = Path(__file__).parents[2] / "config/rbac/agent.yaml"


@pytest.fixture(scope="module")
def custom_resources(control_plane: ControlPlane) -> None:
    """Has the API server know the custom resources, and the operator's namespace."""
    control_plane.start()
    with new_client_from_config(str(control_plane.kubeconfig_for("admin"))) as client:
        define_custom_resources(client)
        unless_there(partial(create_namespace, client, SYSTEM))


@pytest.fixture
def cluster(custom_resources: None, api: ApiClient, kubeconfig: Path, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with an operator that runs. What tests make of custom resources is deleted at the end."""
    cluster = Cluster(api, kubeconfig, tmp_path)
    cluster.start()
    yield cluster
    cluster.stop()
    cluster.clear()
    for log in sorted(tmp_path.glob("operator-*.log")):
        print(log.read_text()[-4000:])


@pytest.fixture(scope="module")
def agent_kubeconfig(control_plane: ControlPlane) -> Path:
    """The kubeconfig of an agent with the rights of config/rbac."""
    control_plane.start()
    with new_client_from_config(str(control_plane.kubeconfig_for("admin"))) as client:
        rbac = RbacAuthorizationV1Api(client)
        role, binding = yaml.safe_load_all(_RIGHTS_OF_AGENTS.read_text())
        rbac.create_cluster_role(role)
        rbac.create_cluster_role_binding(binding)
    kubeconfig = control_plane.kubeconfig_for("agent")
    with new_client_from_config(str(kubeconfig)) as client:
        until(partial(_may_list_pods, client), "rights of the agent")
    return kubeconfig


def _may_list_pods(client: ApiClient) -> bool:
    try:
        CoreV1Api(client).list_pod_for_all_namespaces(limit=1)
    except ApiException:
        return False
    return True
