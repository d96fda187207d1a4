"""Tenants' sinks as the agent opens them: in a real process of their own, which tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

import tiercel_agent
from tiercel_agent.delivery.tenants.tenant_sinks import TenantSinks
from tiercel_agent.sinks.model import Place, Sink, SinkSettings
from tiercel_agent.sinks.network.deadline import LONGEST
from tiercel_agent.sinks.network.egress_policy import EgressPolicy

LOOPBACK = EgressPolicy(allow=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
"""What tests may reach that nobody else can."""
NOTHING_BESIDES = EgressPolicy()


def open_tenants(settings: SinkSettings, policy: EgressPolicy = LOOPBACK, longest: float = LONGEST) -> Sink:
    """A tenant's sink, within a policy. Raises BadSink."""
    need_another_user()
    return _shared(policy, longest).open(settings)


@contextmanager
def alone(policy: EgressPolicy = LOOPBACK, **options: Any) -> Iterator[TenantSinks]:
    """A process for one test."""
    need_another_user()
    sinks = TenantSinks(Place("node-1"), lambda: policy, **options)
    try:
        yield sinks
    finally:
        sinks.end()


def need_another_user() -> None:
    """Skips the test where the process would be another user's, who can't read this checkout."""
    if os.geteuid() != 0:
        return
    for path in (Path(sys.executable).resolve(), Path(sys.prefix), Path(tiercel_agent.__path__[0])):
        for folder in (path, *path.parents):
            if not folder.stat().st_mode & 0o001:
                pytest.skip(f"another user can't read {folder}, as the process of tenants' sinks must")


@cache
def _shared(policy: EgressPolicy, longest: float) -> TenantSinks:
    return TenantSinks(Place("node-1"), lambda: policy, longest=longest)
