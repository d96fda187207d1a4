"""The page of fields, from the engine's registry."""

from __future__ import annotations

from itertools import groupby

from reference_pages.markdown import code, prose, table
from tiercel_cli.fields import row
from tiercel_engine.fields import Field, documented

_HEAD = """# Fields

These are the fields that conditions and outputs may name. `tiercel fields` prints the same list, and
`tiercel fields PATTERN` a part of it.

*Tested in* says where a condition on the field is decided first, and so what it costs:

- `kernel`: the kernel decides when the system call returns. A call that doesn't match goes no further.
- `process`: user space decides once for each process, until something that the answer depends on changes.
- `user space`: the kernel has to hand over each call for which the rest of the condition may hold.

`[name]` or `[n]` behind a field is an argument. Where it stands in parentheses, the field may be used without it."""


def page() -> str:
    sections = [_HEAD]
    for prefix, members in groupby(documented(), key=_prefix):
        sections += [f"## {prefix}", _table(list(members))]
    return "\n\n".join(sections)


def _prefix(field: Field) -> str:
    return field.name.partition(".")[0]


def _table(fields: list[Field]) -> str:
    rows = []
    for field in fields:
        name, kind, _, tested, meaning = row(field)
        rows.append((code(name), kind, tested, prose(meaning)))
    return table(("Field", "Type", "Tested in", "Meaning"), rows)
