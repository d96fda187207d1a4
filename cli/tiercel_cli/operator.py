"""``tiercel operator``: SecurityRules and what becomes of them, for the whole cluster."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

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
def operator(namespace: str, kubeconfig: Path | None) -> None:
    """Run the operator: it checks SecurityRules, hands them to the nodes' agents, and tells what they do.

    Several may run: one of them works, and another takes over when that one is gone.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # it says of every event that it was noted
    run(Settings(namespace, kubeconfig))
