"""The page of the command line, from the definitions of its commands."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import click

from reference_pages.markdown import code, prose, table
from tiercel_agent.sinks.urls import FORMS
from tiercel_cli.main import main

_SINKS = """### Sinks as URLs

What `--sink` takes, and `outputs.urls` in the agent's configuration. `tiercel detect --sink help` prints it.

```text
{forms}
```"""


def page() -> str:
    context = click.Context(main, info_name="tiercel")
    sections = ["# Command line", _described(main)]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        sections += [f"## tiercel {name}", *_command(command, click.Context(command, context, info_name=name))]
        if name == "detect":
            sections.append(_SINKS.format(forms=FORMS.rstrip()))
    return "\n\n".join(sections)


def _command(command: click.Command, context: click.Context) -> Iterable[str]:
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```"
    yield _described(command)
    options = [option for option in command.params if isinstance(option, click.Option)]
    yield table(("Option", "Meaning"), (_option(option) for option in options))


def _described(command: click.Command) -> str:
    """The paragraphs of the help; one that begins with click's mark of lines to be kept is a block of text."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(
        f"```text\n{kept}\n```" if (kept := text.removeprefix("\b\n")) != text else prose(text) for text in paragraphs
    )


def _option(option: click.Option) -> tuple[str, str]:
    names = ", ".join(code(name) for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" {code(_value(option))}"
    notes = [prose(option.help or "")]
    if option.show_default and not option.is_flag:
        notes.append(f"Default: {code(str(option.default))}.")
    if option.required:
        notes.append("Required.")
    return names + value, " ".join(notes)


def _value(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return option.type.name.upper()
