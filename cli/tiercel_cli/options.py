"""What several commands take and answer with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from tiercel_engine.units import parse_duration

CANNOT_WATCH = 3
"""Exit status: this machine can't be watched."""

rules_option = click.option(
    "-r",
    "--rules",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="A rules file, or a folder of them; repeat for more. Without it, the rules that come with Tiercel.",
)


def workload_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where to ask for containers and pods: what they give goes to ``found_here``."""
    path = click.Path(path_type=Path)
    for option in (
        click.option("--node", default="", metavar="NAME", help="This node's name in the cluster."),
        click.option(
            "--kubeconfig",
            type=path,
            metavar="FILE",
            help="Learn of this node's pods from the API server that FILE tells. In a pod that is done without it.",
        ),
        click.option(
            "--socket",
            "sockets",
            type=path,
            multiple=True,
            metavar="PATH",
            help="The socket of a container runtime; repeat for more. Default: where they usually are.",
        ),
    ):
        command = option(command)
    return command


def read_duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """The option's duration in seconds, None if it isn't given. A callback for click, which raises BadParameter."""
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
