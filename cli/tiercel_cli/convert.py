"""`tiercel convert`: converts Falco rules files to SecurityRule manifests."""

from __future__ import annotations

import re
import sys

import click

from tiercel_engine.diagnostics import render
from tiercel_engine.printable import printable
from tiercel_engine.rules import load, read_rules
from tiercel_engine.rules.documents.manifest import is_scoped, manifest_name, to_manifest

LARGE_OBJECT = 1_000_000
"""The size in bytes from which a warning is given: etcd takes at most 1.5 MB in one request."""

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_COMMENT = re.compile(r"(?m)(?:^|[ \t])#")


def _read_namespace(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not _NAMESPACE.fullmatch(value):
        raise click.BadParameter(f"{value!a} is no namespace: at most 63 of a to z, 0 to 9 and, within, -")
    return value


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "-n",
    "--namespace",
    default="tiercel-system",
    show_default=True,
    callback=_read_namespace,
    help="The namespace of the SecurityRules.",
)
def convert(paths: tuple[str, ...], namespace: str) -> None:
    """Turn Falco rules files into SecurityRule manifests, one for each file.

    The files are checked together, in the order given. If a file has errors, nothing is converted and the exit status
    is 1. Comments are not carried over.
    """
    files, unread = read_rules(paths)
    loaded = load(files)
    errors = (*unread, *loaded.errors)
    if errors:
        for error in errors:
            click.echo(render(error, colour=sys.stderr.isatty()), err=True)
        sys.exit(1)
    names: set[str] = set()
    for file in files:
        if is_scoped(file):
            raise click.ClickException(
                f"{printable(file.name)} is a SecurityRule already, and says where it watches: apply it as it is"
            )
        name = _unused(manifest_name(file.name), names)
        names.add(name)
        manifest = to_manifest(file, name, namespace)
        if _COMMENT.search(file.text):
            click.echo(f"{printable(file.name)}: comments are not carried over", err=True)
        size = len(manifest.encode())
        if size > LARGE_OBJECT:
            message = f"the object has {size / 1e6:.1f} MB, and etcd takes at most 1.5 MB: split the file"
            click.echo(f"{printable(file.name)}: warning: {message}", err=True)
        click.echo(f"---\n{manifest}" if len(files) > 1 else manifest, nl=False)


def _unused(name: str, used: set[str]) -> str:
    """The name, with a number after it if it is already used."""
    numbered, count = name, 1
    while numbered in used:
        count += 1
        numbered = f"{name[:58]}-{count}"
    return numbered
