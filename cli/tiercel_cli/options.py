"""Options and exit statuses that several commands share."""

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
    help="A rules file, or a folder of rules files. Can be repeated. Default: the rules that come with Tiercel.",
)


def workload_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that say where to ask about containers and pods. Their values are passed to ``found_here``."""
    path = click.Path(path_type=Path)
    for option in (
        click.option("--node", default="", metavar="NAME", help="The name of this node in the cluster."),
        click.option(
            "--kubeconfig",
            type=path,
            metavar="FILE",
            help="Ask the API server of this kubeconfig about the pods of this node. Not needed inside a pod.",
        ),
        click.option(
            "--socket",
            "sockets",
            type=path,
            multiple=True,
            metavar="PATH",
            help="The socket of a container runtime. Can be repeated. Default: the usual sockets.",
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
