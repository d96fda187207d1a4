"""A Kubernetes API server for each module of tests, which changes what is there for all; for each test a namespace."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes.client import ApiClient
from kubernetes.config import new_client_from_config

from cluster_support.control_plane import ControlPlane, find_binaries
from cluster_support.objects import create_namespace

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no kube-apiserver and etcd found: run scripts/setup-control-plane")
    # not tmp_path_factory, which would keep etcd's files, a hundred megabytes, for three runs
    with (
        tempfile.TemporaryDirectory(prefix="tiercel-control-plane.") as folder,
        ControlPlane(binaries, Path(folder)) as running,
    ):
        yield running


@pytest.fixture
def kubeconfig(control_plane: ControlPlane) -> Path:
    """The admin's, of a server that runs, also after a test that took it away."""
    control_plane.start()
    return control_plane.kubeconfig_for("admin")


@pytest.fixture
def api(kubeconfig: Path) -> Iterator[ApiClient]:
    """A client with the admin's rights, which is what the helpers in `objects` take."""
    with new_client_from_config(str(kubeconfig)) as client:
        yield client


@pytest.fixture
def namespace(api: ApiClient) -> str:
    """A fresh one. It isn't deleted, which no controller would finish: the next test has another name."""
    name = f"test-{next(_numbers)}"
    create_namespace(api, name)
    return name
