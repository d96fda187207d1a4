"""``tiercel operator``: SecurityRules and what becomes of them, for the whole cluster."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import click

from tiercel_operator import logs
from tiercel_operator.admission_service import Endpoint
from tiercel_operator.daemonset import AgentSettings, telemetry
from tiercel_operator.main import Settings, run


@click.command()
@click.option(
    "--namespace",
    default="tiercel-system",
    show_default=True,
    metavar="NAME",
    help="The namespace of the system's rules.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The way to the API server. In a pod the service account is.",
)
@click.option("--agents/--no-agents", default=True, show_default=True, help="Whether to run an agent on every node.")
@click.option(
    "--webhook-port",
    type=click.IntRange(0, 65535),
    default=8443,
    show_default=True,
    help="Where the API server asks about what is applied. 0: nowhere.",
)
@click.option(
    "--webhook-url",
    metavar="URL",
    help="The address by which the API server reaches this operator, if that isn't the Service in the cluster.",
)
@click.option(
    "--health-port",
    type=click.IntRange(0, 65535),
    default=8081,
    show_default=True,
    help="Where /healthz and /metrics are. 0: nowhere.",
)
def operator(
    *,
    namespace: str,
    kubeconfig: Path | None,
    agents: bool,
    webhook_port: int,
    webhook_url: str | None,
    health_port: int,
) -> None:
    """Run the operator: it checks SecurityRules, hands them to the nodes' agents, and tells what they do.

    Several may run: one of them works, and another takes over when that one is gone.
    """
    logs.set_up()
    host = urlsplit(webhook_url).hostname if webhook_url else None
    endpoint = Endpoint(port=webhook_port, url=webhook_url, names=(host,) if host else ())
    run(
        Settings(
            namespace,
            kubeconfig,
            endpoint if webhook_port else None,
            _agent_settings(namespace) if agents else None,
            health_port or None,
        )
    )


def _agent_settings(namespace: str) -> AgentSettings:
    """What the operator's Deployment says of the agents: their image, and where telemetry goes."""
    settings = AgentSettings(namespace=namespace)
    return replace(
        settings,
        image=os.environ.get("TIERCEL_AGENT_IMAGE") or settings.image,
        pull_policy=os.environ.get("TIERCEL_AGENT_PULL_POLICY") or settings.pull_policy,
        environment=telemetry(os.environ),
    )
