"""``tiercel fields``: lists the fields that conditions and outputs may use."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase

import click
import orjson

from tiercel_engine.fields import Argument, ArgumentKind, Field, Multiplicity, Stage, documented, lookup, similar
from tiercel_engine.printable import printable

_TESTED_IN = {Stage.KERNEL: "kernel", Stage.PROCESS: "process", Stage.USER: "user space"}


def matching(pattern: str) -> list[Field]:
    """The fields whose names match the pattern: a glob for the whole name if it has ``*`` or ``?``, else a part of it.

    The name of a family's member that is not listed itself (``k8s.pod.label.app``) gives that field.
    """
    pattern = pattern.lower()
    if any(character in pattern for character in "*?"):
        return [field for field in documented() if fnmatchcase(field.name, pattern)]
    matches = [field for field in documented() if pattern in field.name]
    member = None if matches else lookup(pattern)
    return [member] if member else matches


_LETTERS = {ArgumentKind.INDEX: "n", ArgumentKind.KEY: "name", ArgumentKind.GLOB: "n or glob"}


def usage(field: Field) -> str:
    """The name with its argument: ``proc.aname[n]`` if it is required, ``proc.aname ([n])`` if it is optional."""
    letter = _LETTERS[field.argument_kind]
    match field.argument:
        case Argument.NONE:
            return field.name
        case Argument.OPTIONAL:
            return f"{field.name} ([{letter}])"
        case Argument.REQUIRED:
            return f"{field.name}[{letter}]"


def type_of(field: Field) -> str:
    """The type with its multiplicity: ``string``, ``any of string``, ``list of string``."""
    match field.multiplicity:
        case Multiplicity.ONE:
            return field.type.value
        case Multiplicity.ANY:
            return f"any of {field.type.value}"
        case Multiplicity.LIST:
            return f"list of {field.type.value}"


def row(field: Field) -> tuple[str, str, str, str, str]:
    """The cells of a field's line in the list."""
    sources = ",".join(sorted(field.sources))
    return usage(field), type_of(field), sources, _TESTED_IN[field.stage], field.meaning


_HEADINGS = ("FIELD", "TYPE", "SOURCES", "TESTED IN", "MEANING")


def _print_plain(fields: list[Field]) -> None:
    rows = [_HEADINGS, *(row(field) for field in fields)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(_HEADINGS) - 1)]
    for cells in rows:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)), cells[-1]]))


def _print_table(fields: list[Field]) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415  (needed on a terminal only: importing rich takes a tenth of a second)
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading, style in zip(_HEADINGS, ("bold", "cyan", "dim", "green", ""), strict=True):
        table.add_column(heading.capitalize(), style=style, overflow="fold")
    for field in fields:
        table.add_row(*(Text(cell) for cell in row(field)))
    Console().print(table)


def _json(field: Field) -> dict[str, object]:
    return {
        "name": field.name,
        "type": field.type.value,
        "multiplicity": field.multiplicity.value,
        "argument": field.argument.value,
        "argument_kind": None if field.argument is Argument.NONE else field.argument_kind.value,
        "sources": sorted(field.sources),
        "tested_in": _TESTED_IN[field.stage],
        "meaning": field.meaning,
    }


@click.command()
@click.argument("pattern", default="")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def fields(pattern: str, as_json: bool) -> None:
    """List the fields that conditions and outputs may use.

    PATTERN is a part of the name, or a glob for the whole name: 'proc.a*'.

    "Tested in" says what a condition on the field costs. kernel: the kernel itself drops events that don't match.
    process: tested once for each process. user space: tested for each event.
    """
    matches = matching(pattern)
    if as_json:
        click.echo(orjson.dumps([_json(field) for field in matches], option=orjson.OPT_INDENT_2).decode())
    elif matches and sys.stdout.isatty():
        _print_table(matches)
    elif matches:
        _print_plain(matches)
    if not matches:
        suggestions = similar(pattern)
        hint = f" Did you mean {' or '.join(suggestions)}?" if suggestions else ""
        click.echo(f"No field matches {printable(pattern)!r}.{hint}", err=True)
        raise SystemExit(1)
