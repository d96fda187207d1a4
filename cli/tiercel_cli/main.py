"""The entry point: the command group `tiercel`, which imports the module of a subcommand only when it runs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from tiercel_engine import __version__

SUMMARIES: Mapping[str, str] = {
    "detect": "Watch this machine's system calls and print alerts.",
    "agent": "Run the node agent as a service, with a configuration file.",
    "operator": "Run the Kubernetes operator of a cluster.",
    "lint": "Check rules files.",
    "explain": "Show where each test of a rule is made, and what the rule costs.",
    "replay": "Evaluate recorded events against rules, without a kernel.",
    "test": "Run the tests that SecurityRule manifests carry.",
    "fields": "List the fields that conditions and outputs may use.",
    "convert": "Turn a Falco rules file into a SecurityRule manifest.",
}
"""The subcommands in the order of the help. The module `tiercel_cli.<name>` has the click command `<name>`."""


class LazyGroup(click.Group):
    """A group that imports a subcommand's module only when it is needed, and no module for its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in SUMMARIES:
            return None
        command = getattr(import_module(f"tiercel_cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))

    def invoke(self, ctx: click.Context) -> Any:
        _open_standard_streams()
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has closed the pipe (`| head`): exit with the status of a process that SIGPIPE ends.
            _leave_nothing_to_flush()
            ctx.exit(128 + signal.SIGPIPE)
        except OSError as error:
            # Commands report errors of their own files. This one is about standard output, for example on a full disk.
            _leave_nothing_to_flush()
            click.echo(
                f"Error: {ascii(error.filename) if error.filename else 'standard output'}: {error.strerror}", err=True
            )
            ctx.exit(1)
        return result


def _open_standard_streams() -> None:
    """Opens /dev/null for standard streams that the caller closed, so that no other file gets their descriptors."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _leave_nothing_to_flush() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tiercel", message="%(prog)s %(version)s")
def main() -> None:
    """Runtime threat detection with Falco's rules, filtered in the kernel by eBPF.

    \b
    Exit status:
      0  done
      1  errors in the input
      2  wrong usage
      3  this machine can't be watched
    """
