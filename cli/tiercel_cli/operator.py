"""``tiercel operator``: SecurityRules and what becomes of them, for the whole cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

import click

from tiercel_operator import logs
from tiercel_operator.admission.service import Endpoint
from tiercel_operator.agents.settings import AgentSettings, telemetry
from tiercel_operator.main import Settings, run


def _networks(_context: click.Context, _option: click.Parameter, given: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(each)) for each in given)
    except ValueError as error:
        raise click.BadParameter(f"{error} (write such as 10.1.2.0/24 or fd00::/8)") from None


def _capabilities(_context: click.Context, _option: click.Parameter, given: Sequence[str]) -> tuple[str, ...]:
    """As Kubernetes writes them: SYS_RESOURCE for CAP_SYS_RESOURCE."""
    for each in given:
        if not re.fullmatch(r"(CAP_)?[A-Z][A-Z0-9_]*", each):
            raise click.BadParameter(f"{each!r} is no capability (write such as SYS_RESOURCE)")
    return tuple(dict.fromkeys(each.removeprefix("CAP_") for each in given))


def _sockets(_context: click.Context, _option: click.Parameter, given: Sequence[str]) -> tuple[str, ...]:
    for each in given:
        if not each.startswith("/") or os.path.normpath(each) != each or each == "/":
            raise click.BadParameter(f"{each!r} is no path of a socket (write such as /run/containerd/containerd.sock)")
    return tuple(given)


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
@click.option(
    "--allow-sink-address",
    "allowed",
    multiple=True,
    callback=_networks,
    metavar="CIDR",
    help="A network that tenants' AlertSinks may reach although it is the node's or link-local. May be repeated.",
)
@click.option(
    "--forbid-sink-address",
    "forbidden",
    multiple=True,
    callback=_networks,
    metavar="CIDR",
    help="A network that tenants' AlertSinks may not reach. May be repeated.",
)
@click.option(
    "--agent-capability",
    "capabilities",
    multiple=True,
    callback=_capabilities,
    metavar="NAME",
    help="A capability that agents get besides their own: SYS_RESOURCE for kernels before 5.11. May be repeated.",
)
@click.option(
    "--agent-socket",
    "sockets",
    multiple=True,
    callback=_sockets,
    metavar="PATH",
    help="A runtime's socket on the nodes that isn't where it usually is. May be repeated.",
)
def operator(
    *,
    namespace: str,
    kubeconfig: Path | None,
    agents: bool,
    webhook_port: int,
    webhook_url: str | None,
    health_port: int,
    allowed: tuple[str, ...],
    forbidden: tuple[str, ...],
    capabilities: tuple[str, ...],
    sockets: tuple[str, ...],
) -> None:
    """Run the operator: it checks SecurityRules, hands them to the nodes' agents, and tells what they do.

    Several may run: one of them works, and another takes over when that one is gone.
    """
    logs.set_up()
    host = urlsplit(webhook_url).hostname if webhook_url else None
    endpoint = Endpoint(port=webhook_port, url=webhook_url, names=(host,) if host else ())
    settings = AgentSettings(
        namespace=namespace,
        allowed_addresses=allowed,
        forbidden_addresses=forbidden,
        extra_capabilities=capabilities,
        extra_sockets=sockets,
    )
    run(
        Settings(
            namespace,
            kubeconfig,
            endpoint if webhook_port else None,
            _with_environment(settings) if agents else None,
            health_port or None,
        )
    )


def _with_environment(settings: AgentSettings) -> AgentSettings:
    """What the environment of the operator's Deployment says of the agents: their image, and where telemetry goes."""
    return replace(
        settings,
        image=os.environ.get("TIERCEL_AGENT_IMAGE") or settings.image,
        pull_policy=os.environ.get("TIERCEL_AGENT_PULL_POLICY") or settings.pull_policy,
        environment=telemetry(os.environ),
    )
