"""What several commands take and answer with."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click

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


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def read_duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """A duration in seconds; a callback of click's options."""
    if value is None:
        return None
    match = _DURATION.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no duration: write 500ms, 10s, 2m or 1h")
    return float(match[1]) * _UNITS[match[2]]
