"""``tiercel operator``: the Kubernetes operator, which manages SecurityRules and AlertSinks of the whole cluster."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

import click

from tiercel_engine.units import KIBIBYTE
from tiercel_operator import logs
from tiercel_operator.admission.door import ClientCertificates
from tiercel_operator.admission.service import Endpoint
from tiercel_operator.agents.settings import AgentSettings, telemetry
from tiercel_operator.cluster.budgets import TENANT, TOTAL, budget
from tiercel_operator.main import Settings, run


def _networks(_context: click.Context, _option: click.Parameter, given: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(each)) for each in given)
    except ValueError as error:
        raise click.BadParameter(f"{error} (write one such as 10.1.2.0/24 or fd00::/8)") from None


def _capabilities(_context: click.Context, _option: click.Parameter, given: Sequence[str]) -> tuple[str, ...]:
    """The capabilities as Kubernetes writes them: SYS_RESOURCE for CAP_SYS_RESOURCE."""
    for each in given:
        if not re.fullmatch(r"(CAP_)?[A-Z][A-Z0-9_]*", each):
            raise click.BadParameter(f"{each!r} is no capability (write one such as SYS_RESOURCE)")
    return tuple(dict.fromkeys(each.removeprefix("CAP_") for each in given))


def _sockets(_context: click.Context, _option: click.Parameter, given: Sequence[str]) -> tuple[str, ...]:
    for each in given:
        if not each.startswith("/") or os.path.normpath(each) != each or each == "/":
            raise click.BadParameter(
                f"{each!r} is not the path of a socket (write one such as /run/containerd/containerd.sock)"
            )
    return tuple(given)


@click.command()
@click.option(
    "--namespace",
    default="tiercel-system",
    show_default=True,
    metavar="NAME",
    help="The system namespace, in which the operator and the agents run and whose rules watch the whole cluster.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The kubeconfig for the API server. Not needed inside a pod, where the service account is used.",
)
@click.option("--agents/--no-agents", default=True, show_default=True, help="Whether to run an agent on every node.")
@click.option(
    "--webhook-port",
    type=click.IntRange(0, 65535),
    default=8443,
    show_default=True,
    help="The port of the admission webhook. 0: no webhook.",
)
@click.option(
    "--webhook-url",
    metavar="URL",
    help="The address at which the API server reaches the webhook, if it is not the Service in the cluster. The secret "
    "part of its path is added to it.",
)
@click.option(
    "--webhook-client-ca",
    "client_ca",
    type=click.File(),
    metavar="FILE",
    help="Ask the API server for a client certificate of this authority (PEM). API servers present one only if they "
    "were configured to.",
)
@click.option(
    "--webhook-client-name",
    "client_names",
    multiple=True,
    metavar="NAME",
    help="A common name or DNS name that the client certificate must have. Can be repeated; one of them is enough.",
)
@click.option(
    "--health-port",
    type=click.IntRange(0, 65535),
    default=8081,
    show_default=True,
    help="The port of /healthz and /metrics. 0: neither.",
)
@click.option(
    "--allow-sink-address",
    "allowed",
    multiple=True,
    callback=_networks,
    metavar="CIDR",
    help="A network that AlertSinks of tenants may reach although it isn't public or of Services. Can be repeated.",
)
@click.option(
    "--forbid-sink-address",
    "forbidden",
    multiple=True,
    callback=_networks,
    metavar="CIDR",
    help="A network of Services or a public one that AlertSinks of tenants may not reach. Can be repeated.",
)
@click.option(
    "--service-network",
    "services",
    multiple=True,
    callback=_networks,
    metavar="CIDR",
    help="The network of the cluster's Services, for Kubernetes before 1.33, which doesn't tell it. Can be repeated.",
)
@click.option(
    "--namespace-rules",
    "objects",
    type=click.IntRange(1, TOTAL.objects),
    default=TENANT.objects,
    show_default=True,
    help="The most SecurityRules of a namespace that are in force, but for the system's.",
)
@click.option(
    "--namespace-rules-kib",
    "unpacked",
    type=click.IntRange(1, TOTAL.unpacked // KIBIBYTE),
    default=TENANT.unpacked // KIBIBYTE,
    show_default=True,
    metavar="KIB",
    help="The most KiB of these SecurityRules, without what agents don't use; with it, twice as many.",
)
@click.option(
    "--namespace-rules-compressed-kib",
    "packed",
    type=click.IntRange(1, TOTAL.packed // KIBIBYTE),
    default=TENANT.packed // KIBIBYTE,
    show_default=True,
    metavar="KIB",
    help="The most KiB of these SecurityRules when they are compressed.",
)
@click.option(
    "--namespace-cpu-percent",
    "cpu_percent",
    type=click.IntRange(1, 100),
    metavar="PERCENT",
    help="How many percent of a processor's time the rules of a namespace may take on each node, but for the system's. "
    "Usually 10.",
)
@click.option(
    "--namespaces-cpu-percent",
    "all_cpu_percent",
    type=click.IntRange(1, 100),
    metavar="PERCENT",
    help="The same for the rules of all such namespaces together. Usually 30.",
)
@click.option(
    "--namespace-alerts",
    "alerts_per_second",
    type=click.IntRange(1, 1_000_000),
    metavar="NUMBER",
    help="How many alerts in a second the rules of a namespace may raise on each node, but for the system's. "
    "Usually 200.",
)
@click.option(
    "--agent-capability",
    "capabilities",
    multiple=True,
    callback=_capabilities,
    metavar="NAME",
    help="A further capability for the agents, such as SYS_RESOURCE for kernels before 5.11. Can be repeated.",
)
@click.option(
    "--agent-socket",
    "sockets",
    multiple=True,
    callback=_sockets,
    metavar="PATH",
    help="The socket of a container runtime on the nodes, if it is not at a usual path. Can be repeated.",
)
def operator(
    *,
    namespace: str,
    kubeconfig: Path | None,
    agents: bool,
    webhook_port: int,
    webhook_url: str | None,
    client_ca: TextIO | None,
    client_names: tuple[str, ...],
    health_port: int,
    allowed: tuple[str, ...],
    forbidden: tuple[str, ...],
    services: tuple[str, ...],
    objects: int,
    unpacked: int,
    packed: int,
    cpu_percent: int | None,
    all_cpu_percent: int | None,
    alerts_per_second: int | None,
    capabilities: tuple[str, ...],
    sockets: tuple[str, ...],
) -> None:
    """Run the Kubernetes operator of a cluster.

    It checks SecurityRules and AlertSinks, passes them to the agents on the nodes, and reports their state. Several
    operators may run at the same time: one of them works, and another takes over when it is gone.
    """
    logs.set_up()
    host = urlsplit(webhook_url).hostname if webhook_url else None
    endpoint = Endpoint(
        port=webhook_port,
        url=webhook_url,
        names=(host,) if host else (),
        clients=_client_certificates(client_ca, client_names),
    )
    namespace_budget = {
        "cpu_percent": cpu_percent,
        "all_cpu_percent": all_cpu_percent,
        "alerts_per_second": alerts_per_second,
    }
    settings = AgentSettings(
        namespace=namespace,
        allowed_addresses=allowed,
        forbidden_addresses=forbidden,
        service_networks=services,
        extra_capabilities=capabilities,
        extra_sockets=sockets,
        namespace_budget={key: number for key, number in namespace_budget.items() if number is not None},
    )
    run(
        Settings(
            namespace,
            kubeconfig,
            endpoint if webhook_port else None,
            _with_environment(settings) if agents else None,
            health_port or None,
            budget(objects, unpacked * KIBIBYTE, packed * KIBIBYTE),
        )
    )


def _client_certificates(file: TextIO | None, names: tuple[str, ...]) -> ClientCertificates | None:
    if file is None:
        if names:
            raise click.UsageError("--webhook-client-name needs --webhook-client-ca")
        return None
    authority = file.read()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=authority)
    except (ssl.SSLError, TypeError, ValueError):
        raise click.BadParameter("it has no certificate in PEM", param_hint="--webhook-client-ca") from None
    return ClientCertificates(authority, names)


def _with_environment(settings: AgentSettings) -> AgentSettings:
    """The settings with those of the environment: the agents' image, its pull policy, and variables of telemetry."""
    return replace(
        settings,
        image=os.environ.get("TIERCEL_AGENT_IMAGE") or settings.image,
        pull_policy=os.environ.get("TIERCEL_AGENT_PULL_POLICY") or settings.pull_policy,
        environment=telemetry(os.environ),
    )
