"""A Kubernetes API server for each module of tests, which changes what is there for all; for each test a namespace.

Every run of pytest imports this module, on emulated processors too: so what takes long to import is imported when it
is used.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from cluster_support.control_plane import ControlPlane

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    from cluster_support.control_plane import ControlPlane, find_binaries

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
    from kubernetes.config import new_client_from_config

    with new_client_from_config(str(kubeconfig)) as client:
        yield client


@pytest.fixture
def namespace(api: ApiClient) -> str:
    """A fresh one. It isn't deleted, which no controller would finish: the next test has another name."""
    from cluster_support.objects import create_namespace

    name = f"test-{next(_numbers)}"
    create_namespace(api, name)
    return name
