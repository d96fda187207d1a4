"""One deployment for all tests of a run."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import Kubectl, deployed, local
from kubernetes.config import new_client_from_config

_numbers = itertools.count(os.getpid() * 100)


@pytest.fixture(scope="session")
def runs_local() -> bool:
    return os.environ.get("TIERCEL_E2E_AGENT") == "local"


@pytest.fixture(scope="session")
def kubectl(runs_local: bool) -> Iterator[Kubectl]:
    kubeconfig = os.environ.get("KUBECONFIG")
    if not kubeconfig:
        pytest.skip("KUBECONFIG names no cluster")
    if runs_local and os.geteuid() != 0:
        pytest.skip("a local agent needs root")
    kubectl = Kubectl(Path(kubeconfig))
    with new_client_from_config(kubeconfig) as api, local(kubectl, api) if runs_local else deployed(kubectl):
        yield kubectl


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    name = f"tiercel-e2e-{next(_numbers)}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "securityrules", "--all", "-n", name)
    kubectl("delete", "namespace", name, "--wait=false")
